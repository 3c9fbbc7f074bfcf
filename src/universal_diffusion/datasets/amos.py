"""AMOS 2022: `amos22/{imagesTr,labelsTr,imagesVa,labelsVa}/amos_0001.nii.gz`; ids 501 to 600 are MR."""

import re
from pathlib import Path

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.pairs import PairReader
from universal_diffusion.errors import InputError

LAST_CT = 500


def reader(entry: Entry, root: Path) -> PairReader:
    """The reader of the labelled CTs; MR scans and the unlabelled test part are passed over."""
    found = layout.joined(
        layout.pairs(labels, labels.with_name(labels.name.replace("labels", "images")))
        for labels in layout.folders(root, "labels(Tr|Va)")
    )
    files = {case: pair for case, pair in found.items() if _number(case, pair[1]) <= LAST_CT}
    layout.require(files, root, "amos22/labelsTr/amos_0001.nii.gz and imagesTr/amos_0001.nii.gz, ids up to 500")
    return PairReader(entry, files)


def _number(case: str, label: Path) -> int:
    """The number in a case's name, which tells CT from MR; an InputError for a file of another name."""
    name = re.fullmatch(r"amos_(\d+)", case)
    if name is None:
        raise InputError(label, "is no scan of this dataset, expected amos_0001.nii.gz", "take the file away")
    return int(name[1])
