"""One loop, and the trainings built on it: mask auto-encoder, image auto-encoder, denoiser."""
