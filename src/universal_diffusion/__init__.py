"""Open, reproducible study of guided latent diffusion for universal medical image segmentation."""

__version__ = "0.1.0"
