"""Reads `catalogue.yaml`: where each dataset comes from, what its labels mean, and how it differs from the paper's."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from urllib.parse import parse_qsl, urlsplit

import yaml

from universal_diffusion.errors import InputError
from universal_diffusion.targets import all_targets, target

SECRETS = ("token", "secret", "password", "credential", "signature", "auth", "key")  # in names of a query's fields
# A label that merges both sides, which `sides.py` tells apart, and the targets it stands for.
MERGED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "kidneys": ("right kidney", "left kidney"),
        "adrenal glands": ("right adrenal gland", "left adrenal gland"),
    }
)


@dataclass(frozen=True)
class Address:
    """Where one mirror serves an archive: a plain http(s) address, or one of a `service` of the catalogue."""

    url: str
    service: str | None = None

    def __post_init__(self):
        """Addresses stand in messages, logs and records. Raises InputError for one that holds a secret."""
        parts = urlsplit(self.url)
        keys = [key.lower() for key, _ in parse_qsl(parts.query, keep_blank_values=True)]
        if "@" in parts.netloc or any(word in key for key in keys for word in SECRETS):
            where = f"address at {parts.netloc.rpartition('@')[2]}{parts.path}"
            remedy = "leave it out: credentials are taken from the environment alone"
            raise InputError(where, "holds a password, token or signature", remedy)


@dataclass(frozen=True)
class Archive:
    """One published file, or one collection of DICOM series (service "nbia"), which becomes a folder.

    Attributes:
        name: file name (with folders where the layout has them) below the dataset's archive folder.
        addresses: in mirror order.
        sha256, md5, bytes: what is known of its content; None where nothing is published.
        about_gb: its size as people who had it tell it, where no exact one is published; None where nobody does.
        without: patients of a collection that are not fetched.
    """

    name: str
    addresses: tuple[Address, ...]
    sha256: str | None = None
    md5: str | None = None
    bytes: int | None = None
    about_gb: float | None = None
    without: tuple[str, ...] = ()

    @property
    def is_collection(self) -> bool:
        """Whether it is a folder of series rather than a file."""
        return any(address.service == "nbia" for address in self.addresses)

    @property
    def hash(self) -> tuple[str, str] | None:
        """Algorithm and digest of the strongest published hash."""
        return next(((kind, getattr(self, kind)) for kind in ("sha256", "md5") if getattr(self, kind)), None)


@dataclass(frozen=True)
class Entry:
    """One source of the catalogue, or an own dataset (`own/description.py`), which is a dataset by itself.

    Attributes:
        key: the source key, e.g. "msd03".
        dataset: the row of Table 1 it belongs to, e.g. "msd".
        title: its full name.
        dataset_title: the row's name.
        reason: why the public set differs from the printed row, or why it is used; "" where there is nothing to say.
        cases: labelled CTs in the public release of this source, None for an own dataset.
        licence, page, citation: as the owners state them.
        credential: environment variable with the access token its download needs, or None.
        password: the password of the archive that its owners publish, or None.
        archives: the published files.
        labels: native code -> names of the targets (or `MERGED` labels) its voxels belong to; code 0 is background.
        structures: for a file or folder per structure: regular expression of its lower-case name -> the same, the
            structure itself (which the file annotates) before those it lies in (which it only shows a part of).
        not_mapped: regular expression of names that are no target -> why.
        contents: folder of the native tree -> the hash of its slices (`preparation/contents.py`) that a copy must have,
            None where only its own is recorded.
        slices: folder of the native tree -> slices of the scan in it.
    """

    key: str
    dataset: str
    title: str
    dataset_title: str
    reason: str
    cases: int | None
    licence: str
    page: str
    credential: str | None
    password: str | None
    archives: tuple[Archive, ...]
    labels: Mapping[int, tuple[str, ...]]
    structures: Mapping[str, tuple[str, ...]]
    not_mapped: Mapping[str, str]
    citation: str = ""
    contents: Mapping[str, str | None] = field(default_factory=dict)
    slices: Mapping[str, int] = field(default_factory=dict)

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
    known = f"nearest: {', '.join(nearest)}" if nearest else f"known: {', '.join(sources())}"
    raise InputError(
        f"source {source!r}",
        "is not in the dataset catalogue",
        f"{known}; a dataset of your own needs a dataset.yaml in its folder (docs/own-dataset.md)",
    )


def dataset_of(source: str) -> str:
    """The dataset (row of Table 1) of a source; an own dataset, which the catalogue does not list, is one by itself."""
    return _entries()[source].dataset if source in _entries() else source


@cache
def _entries() -> dict[str, Entry]:
    text = files("universal_diffusion.datasets").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return {key: _entry(key, fields, content) for key, fields in content["sources"].items()}


def _entry(key: str, fields: Mapping, content: Mapping) -> Entry:
    row = content["datasets"][fields["dataset"]]
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
        archives=tuple(archive for item in fields["archives"] for archive in _archives(item, content["services"])),
        labels=_target_table(fields.get("labels", {})),
        structures=_target_table(fields.get("structures", {})),
        not_mapped=MappingProxyType(fields.get("not_mapped", {})),
        citation=row["citation"],
        contents=MappingProxyType(fields.get("contents", {})),
        slices=MappingProxyType(fields.get("slices", {})),
    )


def _archives(item: Mapping, services: Mapping[str, list[str]]) -> Iterable[Archive]:
    """One archive, or one per number of its `numbers` ranges."""
    ranges = [map(int, text.split("-")) for text in item.get("numbers", ["0-0"])]
    known = {key: item[key] for key in ("sha256", "md5", "bytes", "about_gb") if key in item}
    for number in (n for first, last in ranges for n in range(first, last + 1)):
        yield Archive(
            name=item["name"].format(n=number),
            addresses=tuple(place for url in item["urls"] for place in _addresses(url.format(n=number), services)),
            without=tuple(item.get("without", ())),
            **known,
        )


def _addresses(url: str, services: Mapping[str, list[str]]) -> Iterable[Address]:
    """The address, or those at which its service (`service:id`) serves the file of that id."""
    service, _, identifier = url.partition(":")
    if service in services:
        return [Address(template.format(id=identifier), service) for template in services[service]]
    return [Address(url)]


def _target_table(table: Mapping) -> Mapping:
    """A read-only copy of the table; an unknown target name in it is an InputError."""
    checked = {
        key: tuple(name if name in MERGED else target(name).name for name in names) for key, names in table.items()
    }
    return MappingProxyType(checked)
