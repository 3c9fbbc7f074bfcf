"""Finds the cases of an own dataset by the two path patterns of its `dataset.yaml`."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from universal_diffusion.datasets.base import natural_key
from universal_diffusion.datasets.own.description import DESCRIPTION, Description, read, refuse_first
from universal_diffusion.datasets.own.patterns import NIFTI, filled, literal_length, names_by
from universal_diffusion.errors import InputError

NAMED = 5  # cases or files that a message lists
LABEL_MAP = ""  # stands for the structure where one mask holds all labels


@dataclass(frozen=True)
class CaseFiles:
    """A case: `image` is a file or a folder of DICOM slices; `masks` are by structure, or one `LABEL_MAP`."""

    image: PurePosixPath
    masks: Mapping[str, PurePosixPath]


@dataclass(frozen=True)
class Found:
    """What lies below a folder: `cases` naturally sorted, `files` of them all, NIfTI files that are `unused`."""

    cases: Mapping[str, CaseFiles]
    files: tuple[PurePosixPath, ...]
    unused: tuple[PurePosixPath, ...]
    problems: tuple[InputError, ...]


def files(folder: Path) -> list[Path]:
    """The files of the dataset in a folder, relative to it and sorted: description, scans, masks, and nothing else.

    Raises:
        InputError: for a wrong description, and for scans and masks that do not come in pairs.
    """
    found = find(folder, read(folder))
    refuse_first(found.problems, folder)
    return [Path(path) for path in (PurePosixPath(DESCRIPTION), *found.files)]


def find(folder: Path, description: Description) -> Found:
    """The cases below `folder` (links followed, hidden files passed over), and what is wrong with their files."""
    depth = max(description.images.count("/") + 1, description.masks.count("/"))
    below, folders = _tree(folder, depth)
    images, masks = {}, defaultdict(dict)
    image_name, mask_name = names_by(description.images), names_by(description.masks)
    image_first = literal_length(description.images) >= literal_length(description.masks)
    is_nifti = description.images.endswith(NIFTI)
    for path in below:
        as_image = image_name.fullmatch(str(path)) if is_nifti else None
        as_mask = mask_name.fullmatch(str(path))
        if as_image and (image_first or not as_mask):
            images[as_image["case"]] = path
        elif as_mask:
            masks[as_mask["case"]][as_mask.groupdict().get("structure", LABEL_MAP)] = path
    if not is_nifti:
        filled_folders = {path.parent for path in below}
        images = {
            m["case"]: path for path in folders if path in filled_folders and (m := image_name.fullmatch(str(path)))
        }
    both = sorted(images.keys() & masks.keys(), key=natural_key)
    cases = {case: CaseFiles(images[case], dict(sorted(masks[case].items()))) for case in both}
    used = sorted({path for case in cases.values() for path in case.masks.values()} | _image_files(cases, below))
    matched = {*images.values(), *(path for group in masks.values() for path in group.values())}
    unused = tuple(path for path in below if path.name.endswith(NIFTI) and path not in matched)
    problems = [*_unpaired(folder, description, images, masks, below), *_gone(folder, used)]
    return Found(cases, tuple(used), unused, tuple(problems))


def _tree(folder: Path, depth: int) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """Visible files and folders below a folder, down to `depth` folders, relative to it, sorted."""
    below, folders = [], []
    for root, names, file_names in os.walk(folder, followlinks=True, onerror=_refuse):
        here = PurePosixPath(Path(root).relative_to(folder))
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "__MACOSX")
        folders += [here / name for name in names]
        below += [here / name for name in file_names if not name.startswith(".")]
        if len(here.parts) >= depth:
            names.clear()
    return sorted(below), sorted(folders)


def _refuse(error: OSError) -> None:
    raise InputError(error.filename, f"cannot be read ({error.strerror})", "make it readable") from None


def _image_files(cases: Mapping[str, CaseFiles], below: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """The scans' files: each itself, or those directly in its folder of slices."""
    images = {case.image for case in cases.values()}
    return {path for path in below if path in images or path.parent in images}


def _unpaired(
    folder: Path, description: Description, images: Mapping, masks: Mapping, below: list[PurePosixPath]
) -> Iterable[InputError]:
    for key, pattern, matched in (("images", description.images, images), ("masks", description.masks, masks)):
        if not matched:
            remedy = f"correct `{key}` in {DESCRIPTION}, or move the files"
            yield InputError(folder, f"holds nothing at {pattern}, but {_listed(below) or 'no file at all'}", remedy)
    if not images or not masks:
        return
    for case in _alone(images, masks):
        place = filled(description.masks, case)
        yield InputError(folder / images[case], f"has no mask at {place}", "add the mask, or move the scan away")
    for case in _alone(masks, images):
        mask = next(iter(masks[case].values()))
        place = filled(description.images, case)
        place += "" if place.endswith(NIFTI) else ", a folder with DICOM files in it"
        yield InputError(folder / mask, f"has no scan at {place}", "add the scan, or move the mask away")
    for case in description.not_annotated:
        if case not in images:
            yield InputError(
                folder / DESCRIPTION,
                f"names {case!r} under not_annotated, which is no case",
                f"take one of {_listed(sorted(images, key=natural_key))}",
            )


def _gone(folder: Path, paths: Iterable[PurePosixPath]) -> Iterable[InputError]:
    for path in paths:
        if not (folder / path).exists():
            yield InputError(folder / path, "is a link to a file that is gone", "put it back, or take the link away")


def _alone(names: Collection[str], others: Collection[str]) -> list[str]:
    return sorted(set(names) - set(others), key=natural_key)


def _listed(items: Iterable[object]) -> str:
    texts = [str(item) for item in items if str(item) != DESCRIPTION]
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more
