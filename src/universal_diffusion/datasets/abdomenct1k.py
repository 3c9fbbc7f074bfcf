"""AbdomenCT-1K, supervised benchmark: `SubtaskN/{TrainImage/train_0001_0000,TrainMask/train_0001}.nii.gz`."""

from pathlib import Path

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.pairs import PairReader


def reader(entry: Entry, root: Path) -> PairReader:
    """The reader of both subtasks, whose equal file names get theirs in front: "Subtask1_train_0001"."""
    files = layout.joined(
        {f"{masks.parent.name}_{name}": pair for name, pair in _subtask(masks).items()}
        for subtask in layout.folders(root, r"Subtask\d")
        for masks in [subtask / "TrainMask"]
        if masks.is_dir()
    )
    layout.require(files, root, "Subtask1/TrainMask/train_0001.nii.gz and TrainImage/train_0001_0000.nii.gz beside it")
    return PairReader(entry, files)


def _subtask(masks: Path) -> dict[str, tuple[Path, Path]]:
    return layout.pairs(masks, masks.parent / "TrainImage", lambda name: f"{name}_0000")
