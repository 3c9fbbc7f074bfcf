"""Whether the disks hold the study: what each step needs, what of it is there, what is free."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from universal_diffusion.costs import disk
from universal_diffusion.costs.amounts import NONE, Range, shown, total
from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.settings import Study
from universal_diffusion.systems import VARIANTS

RECORDS = "benchmarks"


@dataclass(frozen=True)
class Step:
    """What a step writes, where, and how much of it is still to be written; in GB."""

    name: str
    place: Path
    whole: Range
    left: Range


def check_disk(asked: Asked) -> list[Finding]:
    """A line for each step, one for each disk."""
    steps = list(steps_of(asked))
    by_disk = defaultdict(list)
    for step in steps:
        by_disk[_existing(step.place).stat().st_dev].append(step)
    lines = [Finding("disk", f"{step.name:13}{_needed(step)}") for step in steps]
    return lines + [verdict(group, alone=len(by_disk) == 1) for group in by_disk.values()]


def steps_of(asked: Asked) -> Iterator[Step]:
    """The steps that fill the disk, in the order of the workflow."""
    study, results = asked.study, asked.results
    sources = {name: disk.source_disk(name, _rooted(asked), asked.project / RECORDS) for name in study.sources}
    kept = asked.data_root if any(source.origin == "download" for source in study.sources.values()) else results
    missing = [_archives_left(name, sources[name].archives, asked) for name in sources]
    yield Step("archives", kept, total(each.archives for each in sources.values()), total(missing))
    for step, folder in (("unpacked", "native"), ("volumes", "volumes")):
        amounts = {name: getattr(each, step) for name, each in sources.items()}
        left = [amount for name, amount in amounts.items() if not _whole(asked, folder, name)]
        yield Step(step, results, total(amounts.values()), total(left))
    trained = disk.models(study)
    names = [system.key for system in VARIANTS]
    yield Step("models", results, trained, trained * _share_left(results / "models", names, "card.json"))
    made = disk.predictions(study)
    last = f"{study.shards}-of-{study.shards}"
    yield Step("predictions", results, made, made * _share_left(results / "predictions", names, last))
    yield Step("artefacts", results, disk.ARTEFACTS, NONE if (results / "seal.json").exists() else disk.ARTEFACTS)


def _rooted(asked: Asked) -> Study:
    """The study with its data root as seen from anywhere."""
    return replace(asked.study, data_root=str(asked.data_root))


def _archives_left(name: str, size: Range, asked: Asked) -> Range:
    if asked.study.sources[name].origin != "download":
        return NONE if (asked.results / "archives" / name).exists() else size
    there = size_gb(asked.data_root / "downloads" / name)
    if (asked.results / "archives" / name).exists():
        return NONE
    return Range(max(size.low - there, 0), max(size.high - there, 0))


def _whole(asked: Asked, folder: str, name: str) -> bool:
    place = asked.results / folder / name
    if folder == "native":
        return place.exists()
    return all((place / f"{n}-of-{asked.study.shards}").exists() for n in range(1, asked.study.shards + 1))


def _share_left(folder: Path, names: list[str], made: str) -> float:
    return sum(not (folder / name / made).exists() for name in names) / len(names)


def size_gb(folder: Path) -> float:
    """GB of the files below a folder, 0 where there is none."""
    found = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return sum(path.stat().st_size for path in found if path.exists()) / disk.GB


def _needed(step: Step) -> str:
    if step.left == step.whole:
        return f"{step.whole} GB"
    return f"{step.left} GB of {step.whole} still to come" if step.left != NONE else f"there ({step.whole} GB)"


def _existing(place: Path) -> Path:
    """The path, or the folder above it that is there."""
    return next(folder for folder in (place, *place.absolute().parents) if folder.exists())


def verdict(steps: list[Step], alone: bool) -> Finding:
    """Whether the disk that all of the steps write to holds them; `alone` where there is no other."""
    place, needed = _existing(steps[-1].place), total(step.left for step in steps)
    free = shutil.disk_usage(place).free / disk.GB
    of = "" if alone else f" ({', '.join(step.name for step in steps)})"
    text = f"{needed} GB needed, {shown(free)} GB free on the disk of {place}{of}"
    remedy = "make room, or put the folder on another disk by a symbolic link"
    if not os.access(place, os.W_OK):
        return Finding("disk", f"{place} cannot be written", "missing", "change its permissions")
    if free < needed.low:
        return Finding("disk", text, "missing", remedy)
    if free < needed.high:
        return Finding("disk", f"{text}: may not suffice", "note", remedy)
    return Finding("disk", text)
