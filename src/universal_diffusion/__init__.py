"""Open, reproducible study of guided latent diffusion for universal medical image segmentation."""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["Segmenter", "__version__"]


def __getattr__(name: str):
    """`Segmenter`, whose module imports torch, is imported when somebody asks for it.

    By name, because every step of the study runs this file: an import statement would make all of them depend on it.
    """
    if name != "Segmenter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("universal_diffusion.segmentation.segmenter").Segmenter
