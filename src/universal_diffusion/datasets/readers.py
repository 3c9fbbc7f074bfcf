"""From a source key to the reader of its native layout, and the choice of some of its cases."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

from universal_diffusion.datasets import (
    abdomenct1k,
    amos,
    btcv,
    chaos,
    ircadb,
    kits23,
    msd,
    pancreas_ct,
    totalsegmentator,
    word,
)
from universal_diffusion.datasets.base import Reader
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.own import reader as own
from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.errors import InputError

LAYOUTS: Mapping[str, Callable[[Entry, Path], Reader]] = {
    "msd": msd.reader,
    "btcv": btcv.reader,
    "kits23": kits23.reader,
    "pancreas_ct": pancreas_ct.reader,
    "abdomenct1k": abdomenct1k.reader,
    "amos": amos.reader,
    "word": word.reader,
    "ircadb": ircadb.reader,
    "chaos": chaos.reader,
    "totalsegmentator": totalsegmentator.reader,
}


def reader(source: str, root: Path) -> Reader:
    """The reader of a source in its unpacked native tree: its layout's, or that of a dataset with a description.

    Raises:
        InputError: for an unknown source, a missing folder, or one that holds no labelled CT in that layout.
    """
    known = entry_of(source, Path(root))
    if not Path(root).is_dir():
        raise InputError(root, "is no folder", f"give the folder into which {source} was unpacked")
    return LAYOUTS.get(known.dataset, own.reader)(known, Path(root))


def chosen_cases(source: str, found: tuple[str, ...], wanted: tuple[str, ...], key: str = "cases") -> tuple[str, ...]:
    """Those of the cases `found` that the configuration names under `key`: all if it names none.

    Raises:
        InputError: for a wanted case that was not found, with the nearest names.
    """
    for case in wanted:
        if case not in found:
            nearest = difflib.get_close_matches(case, found, n=3, cutoff=0.4) or found[:3]
            raise InputError(
                f"sources.{source}.{key}", f"names {case!r}, which was not found", f"nearest: {', '.join(nearest)}"
            )
    return tuple(case for case in found if not wanted or case in wanted)
