"""`dataset.yaml`, in which the user of a dataset says where scans and masks lie and what the label codes mean.

It is read and checked here as text; `cases.py` finds the files, `reader.py` reads them.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from universal_diffusion.datasets.catalogue import MERGED, Entry, in_order
from universal_diffusion.datasets.own.patterns import CASE, IMAGES, MASKS, STRUCTURE, pattern_problem
from universal_diffusion.datasets.own.text import UnreadableText, load, shown
from universal_diffusion.errors import InputError
from universal_diffusion.targets import all_targets, target

DESCRIPTION = "dataset.yaml"
KEYS = ("title", "licence", "images", "masks", "labels", "not_a_target", "not_annotated")
LAST_CODE = 65535
GUIDE = "docs/own-dataset.md shows how"


@dataclass(frozen=True)
class Description:
    """A checked `dataset.yaml`.

    Attributes:
        title, licence: as Table 1 prints them; None where not given.
        images, masks: paths below the folder, with `{case}` (and in `masks` perhaps `{structure}`) for their names.
        labels: label code (or structure) -> targets or merged labels of its voxels: what it is, then what holds it.
        not_a_target: codes (or structures) that are known and count as background.
        not_annotated: case -> targets that were not looked for in it; () confirms that all were.
    """

    title: str | None
    licence: str | None
    images: str
    masks: str
    labels: Mapping[int | str, tuple[str, ...]]
    not_a_target: tuple[int | str, ...]
    not_annotated: Mapping[str, tuple[str, ...]]

    @property
    def by_structure(self) -> bool:
        """Whether each structure has a mask file of its own, rather than a code in a label map."""
        return STRUCTURE in self.masks

    def entry(self, source: str) -> Entry:
        """What the catalogue would say of it, under the key that a configuration gives it."""
        names = MappingProxyType({_key(name): targets for name, targets in self.labels.items()})
        passed = MappingProxyType({_key(name): () for name in self.not_a_target})
        return Entry(
            key=source,
            dataset=source,
            title=self.title or source,
            dataset_title=self.title or source,
            reason="not in the paper: an own dataset of this study",
            cases=None,
            licence=self.licence or "not stated",
            page="",
            credential=None,
            password=None,
            archives=(),
            labels=MappingProxyType({} if self.by_structure else names | passed),
            structures=names if self.by_structure else MappingProxyType({}),
            not_mapped=MappingProxyType(dict.fromkeys(passed, "not a target") if self.by_structure else {}),
        )


def read(folder: Path) -> Description:
    """The description in a folder. Raises InputError for the first problem in it, with the number of the others."""
    description, problems = parse(folder)
    refuse_first(problems, folder)
    return description


def refuse_first(problems: Sequence[InputError], folder: Path) -> None:
    """Raise the first problem, if there is any, and say how to see the others."""
    if problems:
        first, others = problems[0], len(problems) - 1
        see = f" ({others} more: universal-diffusion check-dataset {folder})" if others else ""
        raise InputError(first.where, first.problem, first.remedy + see)


def parse(folder: Path) -> tuple[Description | None, list[InputError]]:
    """The description in a folder, or None and everything that is wrong with it."""
    where = Path(folder) / DESCRIPTION
    if not where.is_file():
        return None, [InputError(folder, f"holds no {DESCRIPTION}", f"write one: {GUIDE}")]
    try:
        content = load(where)
    except (OSError, UnreadableText) as error:
        return None, [InputError(where, f"is no readable YAML ({error})", f"correct it: {GUIDE}")]
    if not isinstance(content, Mapping):
        return None, [InputError(where, f"is {shown(content)}, not a list of keys", f"give at least `labels`: {GUIDE}")]
    parser = _Parser(where, content)
    description = parser.description()
    return (None if parser.problems else description), parser.problems


class _Parser:
    """Reads the sections of one file and notes every problem instead of stopping at the first."""

    def __init__(self, where: Path, content: Mapping):
        self._where, self._content = where, content
        self.problems: list[InputError] = []

    def description(self) -> Description:
        for key in self._content:
            if key not in KEYS:
                near = difflib.get_close_matches(str(key), KEYS, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                self._refuse(shown(key), "is not a known key", f"{hint}allowed: {', '.join(KEYS)}")
        images, masks = self._pattern("images", IMAGES), self._pattern("masks", MASKS)
        if images == masks:
            self._refuse("masks", "are the same files as `images`", "say where each of the two lies")
        labels = self._labels(kind=str if STRUCTURE in masks else int)
        return Description(
            title=self._text("title"),
            licence=self._text("licence"),
            images=images,
            masks=masks,
            labels=labels,
            not_a_target=self._not_a_target(labels, kind=str if STRUCTURE in masks else int),
            not_annotated=self._not_annotated(labels, masks),
        )

    def _refuse(self, key: str, problem: str, remedy: str) -> None:
        self.problems.append(InputError(f"{self._where}, {key}", problem, remedy))

    def _text(self, key: str) -> str | None:
        value = self._content.get(key)
        if value is None or (isinstance(value, str) and value.strip() and value.isprintable()):
            return value
        self._refuse(key, f"is {shown(value)}", "give one line of text, in quotes if it looks like a number")
        return None

    def _pattern(self, key: str, default: str) -> str:
        pattern = self._text(key) or default
        problem = pattern_problem(key, pattern)
        if problem:
            self._refuse(key, f"is {shown(pattern)}, which {problem}", f"give a path such as {default}")
            return default
        return str(PurePosixPath(pattern))

    def _labels(self, kind: type) -> dict[int | str, tuple[str, ...]]:
        """The table of codes (`kind` int) or structures (str)."""
        table = self._content.get("labels")
        if not isinstance(table, Mapping) or not table:
            given = "is missing" if table is None else f"is {shown(table)}"
            self._refuse("labels", given, "give a line per label, e.g. `1: liver`, or `liver: liver` with {structure}")
            return {}
        found = {}
        for code, value in table.items():
            key = f"labels, {shown(code)}"
            names = self._targets(key, value, "name the label in not_a_target")
            if not self._is_code(key, code, kind) or not names:
                continue
            if _plain(code) in found:
                self._refuse(key, "stands twice, in upper and lower case", "keep one: names are compared in lower case")
            found[_plain(code)] = names
        self._check_holders(found)
        return found

    def _is_code(self, key: str, code: object, kind: type) -> bool:
        if kind is str and isinstance(code, str) and code:
            return True
        if kind is int and isinstance(code, int) and not isinstance(code, bool) and 1 <= code <= LAST_CODE:
            return True
        number = f"a whole number from 1 to {LAST_CODE} (0 is background)"
        name = f"the name of a structure, as {STRUCTURE} stands in the file names, as text"
        self._refuse(key, "is no label", f"give {number if kind is int else name}")
        return False

    def _targets(self, key: str, value: object, otherwise: str) -> tuple[str, ...]:
        """Plain names of one target or a list of them; () after a problem, which tells what to do `otherwise`."""
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) for name in names):
            given = "is empty" if value is None else f"is {shown(value)}"
            self._refuse(key, given, f"give a target or a list of them, or {otherwise}")
            return ()
        known = sorted({*MERGED, *(known.name for known in all_targets())})
        plain = [" ".join(name.replace("_", " ").lower().split()) for name in names]
        for name in plain:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
                nearest = f"nearest: {', '.join(near)}" if near else "list them by `universal-diffusion targets`"
                problem = f"names {shown(name)}, which is none of the 29 targets (nor {', '.join(MERGED)})"
                self._refuse(key, problem, f"{nearest}; or {otherwise}")
                return ()
        return tuple(dict.fromkeys(plain))

    def _check_holders(self, labels: Mapping[int | str, tuple[str, ...]]) -> None:
        """A label's further names must be annotated by labels of their own; a lesion must name its annotated organ."""
        annotated = set(in_order(names[0] for names in labels.values()))
        for code, (own, *holders) in labels.items():
            for holder in holders:
                if not set(in_order([holder])) <= annotated:
                    remedy = f"give {holder} a label of its own, or write {own} alone"
                    self._refuse(f"labels, {code}", f"lies in {holder}, which no label shows whole", remedy)
            parents = () if own in MERGED else [name for name in target(own).parents if name in annotated]
            if parents and not set(parents) & set(in_order(holders)):
                organ = next((name for name, sides in MERGED.items() if set(sides) == set(parents)), parents[0])
                problem = f"is {own} alone, so these voxels would count as no {organ}, which is labelled too"
                self._refuse(f"labels, {code}", problem, f"write [{own}, {organ}]")

    def _not_a_target(self, labels: Mapping, kind: type) -> tuple[int | str, ...]:
        value = self._content.get("not_a_target") or []
        if not isinstance(value, list):
            self._refuse("not_a_target", f"is {shown(value)}", "give a list of labels, e.g. [7, 9]")
            return ()
        codes = [_plain(code) for code in value if self._is_code(f"not_a_target, {shown(code)}", code, kind)]
        for code in dict.fromkeys(codes):
            if code in labels:
                self._refuse(f"not_a_target, {code}", "stands under `labels` too", "keep one of the two")
        return tuple(dict.fromkeys(codes))

    def _not_annotated(self, labels: Mapping, masks: str) -> dict[str, tuple[str, ...]]:
        table = self._content.get("not_annotated") or {}
        if not isinstance(table, Mapping):
            self._refuse("not_annotated", f"is {shown(table)}", "give a line per case, e.g. `case_7: [spleen]`")
            return {}
        if table and STRUCTURE in masks:
            self._refuse("not_annotated", "is for label maps", "leave out the file of a structure that was not drawn")
        annotated = set(in_order(names[0] for names in labels.values()))
        found = {}
        for case, value in table.items():
            key = f"not_annotated, {shown(case)}"
            if not isinstance(case, str):
                self._refuse(key, "is no text", f"put the name of the case, {CASE} in the file names, in quotes")
                continue
            found[case] = () if value == [] else in_order(self._targets(key, value, "leave the line out"))
            if labels and not set(found[case]) < annotated:
                known = ", ".join(in_order(annotated))
                self._refuse(key, "must leave some of the labelled targets", f"give some, not all, of {known}")
        return found


def _plain(label: int | str) -> int | str:
    """A code as it is, the name of a structure in lower case."""
    return label if isinstance(label, int) else label.lower()


def _key(label: int | str) -> int | str:
    """A code as it is, the name of a structure as the pattern that `Entry.structure_targets` compares names with."""
    return label if isinstance(label, int) else re.escape(label)
