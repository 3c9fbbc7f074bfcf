"""What is missing on this machine for a study: `universal-diffusion doctor`."""
