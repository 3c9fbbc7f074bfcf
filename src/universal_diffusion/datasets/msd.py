"""Medical Segmentation Decathlon: `TaskNN_Name/{imagesTr,labelsTr}/<case>.nii.gz`; imagesTs has no labels."""

import re
from pathlib import Path

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.pairs import PairReader


def reader(entry: Entry, root: Path) -> PairReader:
    """The reader of one task; folders of other tasks below `root` are passed over."""
    number = entry.key.removeprefix("msd")
    tasks = [labels.parent for labels in layout.folders(root, "labelsTr")]
    wanted = [
        task for task in tasks if (re.findall(r"Task(\d+)_", str(task.relative_to(root))) or [number])[-1] == number
    ]
    files = layout.joined(layout.pairs(task / "labelsTr", task / "imagesTr") for task in wanted)
    layout.require(files, root, f"Task{number}_*/labelsTr/*.nii.gz and imagesTr/ beside it")
    return PairReader(entry, files)
