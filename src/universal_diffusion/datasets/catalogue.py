"""Reads `catalogue.yaml`: where each dataset comes from, what its labels mean, and how it differs from the paper's."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml

from universal_diffusion.errors import InputError
from universal_diffusion.targets import all_targets, target

# A label that merges both sides, which `sides.py` tells apart, and the targets it stands for.
MERGED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "kidneys": ("right kidney", "left kidney"),
        "adrenal glands": ("right adrenal gland", "left adrenal gland"),
    }
)


@dataclass(frozen=True)
class Archive:
    """One published file.

    Attributes:
        name: file name (with folders where the layout has them) below the dataset's archive folder.
        urls: addresses in mirror order: http(s), or "synapse:<id>" (a Synapse file), "gdrive:<id>" (a Google Drive
            file), "nbia:<collection>" (every series of a TCIA collection, as a folder `name`).
        sha256, md5, bytes: what is known of its content; None where nothing is published.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None
    md5: str | None
    bytes: int | None


@dataclass(frozen=True)
class Entry:
    """One source of the catalogue.

    Attributes:
        key: the source key, e.g. "msd03".
        dataset: the row of Table 1 it belongs to, e.g. "msd".
        title: its full name.
        dataset_title: the row's name.
        reason: why the public set differs from the printed row, or why it is used; "" where there is nothing to say.
        cases: labelled CTs in the public release of this source.
        licence, page: as the owners state them.
        credential: environment variable with the access token its download needs, or None.
        password: the password of the archive that its owners publish, or None.
        archives: the published files.
        labels: native code -> names of the targets (or `MERGED` labels) its voxels belong to; code 0 is background.
        structures: for a file or folder per structure: regular expression of its lower-case name -> the same, the
            structure itself (which the file annotates) before those it lies in (which it only shows a part of).
        not_mapped: regular expression of names that are no target -> why.
    """

    key: str
    dataset: str
    title: str
    dataset_title: str
    reason: str
    cases: int
    licence: str
    page: str
    credential: str | None
    password: str | None
    archives: tuple[Archive, ...]
    labels: Mapping[int, tuple[str, ...]]
    structures: Mapping[str, tuple[str, ...]]
    not_mapped: Mapping[str, str]

    @property
    def annotated(self) -> tuple[str, ...]:
        """Names of the targets that the source annotates (somewhere, if it names structures one by one), by id."""
        return in_order(name for names in (*self.labels.values(), *self.structures.values()) for name in names)

    def structure_targets(self, structure: str) -> tuple[str, ...] | None:
        """Targets of a structure's file or folder; () if it is known to be none, None if the name is unknown."""
        name = structure.lower()
        for pattern, names in self.structures.items():
            if re.fullmatch(pattern, name):
                return names
        return () if any(re.fullmatch(pattern, name) for pattern in self.not_mapped) else None


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The named targets once each, by id, merged labels replaced by their two sides."""
    sides = {side for name in names for side in MERGED.get(name, (name,))}
    return tuple(known.name for known in all_targets() if known.name in sides)


def sources() -> tuple[str, ...]:
    """All source keys, in the catalogue's order."""
    return tuple(_entries())


def entry(source: str) -> Entry:
    """The catalogue entry of a source key; an InputError names the nearest keys if there is none."""
    if source in _entries():
        return _entries()[source]
    nearest = difflib.get_close_matches(source, sources(), n=3, cutoff=0.4)
    raise InputError(
        f"source {source!r}",
        "is not in the dataset catalogue",
        f"nearest: {', '.join(nearest)}" if nearest else f"known: {', '.join(sources())}",
    )


@cache
def _entries() -> dict[str, Entry]:
    text = files("universal_diffusion.datasets").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return {key: _entry(key, fields, content["datasets"]) for key, fields in content["sources"].items()}


def _entry(key: str, fields: Mapping, datasets: Mapping) -> Entry:
    row = datasets[fields["dataset"]]
    return Entry(
        key=key,
        dataset=fields["dataset"],
        title=fields["title"],
        dataset_title=row["title"],
        reason=row["reason"] or "",
        cases=fields["cases"],
        licence=row["licence"],
        page=row["page"],
        credential=fields.get("credential"),
        password=fields.get("password"),
        archives=tuple(archive for item in fields["archives"] for archive in _archives(item)),
        labels=_target_table(fields.get("labels", {})),
        structures=_target_table(fields.get("structures", {})),
        not_mapped=MappingProxyType(fields.get("not_mapped", {})),
    )


def _archives(item: Mapping) -> Iterable[Archive]:
    """One archive, or one per number of its `numbers` ranges."""
    ranges = [map(int, text.split("-")) for text in item.get("numbers", ["0-0"])]
    for number in (n for first, last in ranges for n in range(first, last + 1)):
        yield Archive(
            name=item["name"].format(n=number),
            urls=tuple(url.format(n=number) for url in item["urls"]),
            sha256=item.get("sha256"),
            md5=item.get("md5"),
            bytes=item.get("bytes"),
        )


def _target_table(table: Mapping) -> Mapping:
    """A read-only copy of the table; an unknown target name in it is an InputError."""
    checked = {
        key: tuple(name if name in MERGED else target(name).name for name in names) for key, names in table.items()
    }
    return MappingProxyType(checked)
