"""KiTS 2023: `dataset/case_00000/{imaging,segmentation}.nii.gz`, both with axis codes I, P, L."""

from pathlib import Path

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.pairs import PairReader
from universal_diffusion.errors import InputError


def reader(entry: Entry, root: Path) -> PairReader:
    """The reader of KiTS 2023; case folders without a segmentation (the hidden test cases) are passed over."""
    files = layout.joined(_case(folder) for folder in layout.folders(root, r"case_\d{5}"))
    layout.require(files, root, "dataset/case_00000/segmentation.nii.gz and imaging.nii.gz beside it")
    return PairReader(entry, files)


def _case(folder: Path) -> dict[str, tuple[Path, Path]]:
    image, label = folder / "imaging.nii.gz", folder / "segmentation.nii.gz"
    if not label.is_file():
        return {}
    if not image.is_file():
        raise InputError(label, f"has no scan at {image}", "complete the download, or take the folder away")
    return {folder.name: (image, label)}
