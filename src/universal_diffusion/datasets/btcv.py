"""BTCV abdomen: `RawData/Training/{img/img0001.nii.gz,label/label0001.nii.gz}`; `RawData/Testing` has no labels."""

from pathlib import Path

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.pairs import PairReader


def reader(entry: Entry, root: Path) -> PairReader:
    """The reader of BTCV; cases are named by their image, e.g. "img0001"."""
    found = layout.joined(
        layout.pairs(labels, labels.parent / "img", lambda name: name.replace("label", "img"))
        for labels in layout.folders(root, "label")
    )
    layout.require(found, root, "RawData/Training/label/label0001.nii.gz and img/img0001.nii.gz beside it")
    return PairReader(entry, {layout.stem(image): (image, label) for image, label in found.values()})
