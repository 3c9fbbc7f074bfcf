"""AMOS 2022: `amos22/{imagesTr,labelsTr,imagesVa,labelsVa}/amos_0001.nii.gz`; ids 501 to 600 are MR."""

from pathlib import Path

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.pairs import PairReader

LAST_CT = 500


def reader(entry: Entry, root: Path) -> PairReader:
    """The reader of the labelled CTs; MR scans and the unlabelled test part are passed over."""
    found = layout.joined(
        layout.pairs(labels, labels.with_name(labels.name.replace("labels", "images")))
        for labels in layout.folders(root, "labels(Tr|Va)")
    )
    files = {case: pair for case, pair in found.items() if int(case.rpartition("_")[2]) <= LAST_CT}
    layout.require(files, root, "amos22/labelsTr/amos_0001.nii.gz and imagesTr/amos_0001.nii.gz, ids up to 500")
    return PairReader(entry, files)
