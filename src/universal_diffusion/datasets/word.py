"""WORD: `WORD-V0.1.0/{imagesTr,labelsTr,imagesVal,labelsVal}/word_0001.nii.gz`; the test part is held out."""

from pathlib import Path

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.pairs import PairReader


def reader(entry: Entry, root: Path) -> PairReader:
    """The reader of the training and validation scans."""
    files = layout.joined(
        layout.pairs(labels, labels.with_name(labels.name.replace("labels", "images")))
        for labels in layout.folders(root, "labels(Tr|Val)")
    )
    layout.require(files, root, "WORD-V0.1.0/labelsTr/word_0001.nii.gz and imagesTr/word_0001.nii.gz")
    return PairReader(entry, files)
