"""The method (paper, section 2): auto-encoders, class-aware denoiser, diffusion, and the bundle that holds them."""
