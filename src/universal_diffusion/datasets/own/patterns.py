"""The two path patterns of an own dataset: `images/{case}.nii.gz` and `masks/{case}.nii.gz`."""

import re
from pathlib import PurePosixPath

CASE, STRUCTURE = "{case}", "{structure}"
IMAGES, MASKS = "images/{case}.nii.gz", "masks/{case}.nii.gz"  # where nothing else is said
FIELD = re.compile(r"(\{case\}|\{structure\})")
NIFTI = (".nii", ".nii.gz")
OTHER_FORMATS = (".zip", ".tar", ".gz", ".dcm", ".ima", ".nrrd", ".mha", ".mhd", ".hdr", ".img", ".7z", ".png")


def pattern_problem(key: str, pattern: str) -> str | None:
    """What is wrong with the pattern of `key` ("images" or "masks"), as the end of a sentence, or None."""
    literal = FIELD.sub("", pattern)
    parts = PurePosixPath(pattern).parts
    if CASE not in pattern:
        return f"has no {CASE} where the name of a case stands"
    if set(literal) & set("{}"):
        return f"has other braces than {CASE} and, in masks, {STRUCTURE}"
    if set(literal) & set("*?[]"):
        return f"has a wildcard; {CASE} stands for any name"
    if "\\" in pattern or pattern.startswith("/") or ".." in parts:
        return "is no path below the folder, written with /"
    if key == "images" and STRUCTURE in pattern:
        return f"has {STRUCTURE}, which only masks have"
    if pattern.count(STRUCTURE) > 1 or f"{CASE}{STRUCTURE}" in pattern or f"{STRUCTURE}{CASE}" in pattern:
        return f"has {STRUCTURE} twice or right beside {CASE}, so names cannot be told apart"
    if key == "masks" and not pattern.endswith(NIFTI):
        return "is no NIfTI file (.nii, .nii.gz)"
    if pattern.lower().endswith(OTHER_FORMATS) and not pattern.endswith(NIFTI):
        return "is neither a NIfTI file (.nii, .nii.gz) nor a folder of DICOM files"
    return None


def names_by(pattern: str) -> re.Pattern:
    """The pattern as a regular expression with the groups `case` and `structure`; a name repeats itself."""
    text, seen = "", set()
    for piece in FIELD.split(pattern):
        name = piece.strip("{}")
        if piece not in (CASE, STRUCTURE):
            text += re.escape(piece)
        else:
            text += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
            seen.add(name)
    return re.compile(text)


def filled(pattern: str, case: str) -> str:
    """The path of a case, as a message shows it."""
    return pattern.replace(CASE, case)


def literal_length(pattern: str) -> int:
    """How much of the pattern is fixed: of two that match a file, the one with more is meant."""
    return len(FIELD.sub("", pattern))
