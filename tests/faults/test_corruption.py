"""Damaged intermediate files: who reads one stops and names it, or makes the same of it; then all is mended."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.faults

BITS = 3  # flipped bits, each in a run of its own


@dataclass(frozen=True)
class Kind:
    """A kind of intermediate file.

    Attributes:
        files: a pattern under results; one of them is damaged.
        reader: an artefact that is made from it.
        output: what is removed for its rule to make it again: the file, or the folder that the rule makes.
        rule: that rule.
    """

    files: str
    reader: str
    output: str
    rule: str


CLIP, WEIGHTS = "pretrained/clip_text.safetensors", "models/mask_clip/weights.safetensors"
CARD = "models/mask_clip/card.json"
PREDICTIONS, ROWS = "predictions/mask_clip/1-of-1", "scores/parts/mask_clip.csv"
KINDS = {
    "archive": Kind("archives/amos/*.zip", "native/amos", "archives/amos", "phantom_archive"),
    "native scan": Kind("native/amos/**/imagesTr/amos_000*.nii.gz", "volumes/amos/1-of-1", "native/amos", "unpack"),
    "native DICOM": Kind("native/ircadb/**/PATIENT_DICOM/image_*", "volumes/ircadb/1-of-1", "native/ircadb", "unpack"),
    "volume": Kind("volumes/ircadb/**/*.h5", "scores/parts/prior_mask.csv", "volumes/ircadb/1-of-1", "harmonise"),
    "pretrained weights": Kind(CLIP, WEIGHTS, CLIP, "pretrained"),
    "weights": Kind(WEIGHTS, PREDICTIONS, WEIGHTS, "denoiser"),
    "model card": Kind(CARD, PREDICTIONS, CARD, "denoiser"),
    "prediction": Kind(f"{PREDICTIONS}/**/*.nii.gz", ROWS, PREDICTIONS, "segment"),
    "splits": Kind("splits.csv", "scores/parts/prior_mask.csv", "splits.csv", "split"),
    "rows of scores": Kind(ROWS, "scores/cases.csv", ROWS, "score"),
    "all scores": Kind("scores/cases.csv", "tables/table2.csv", "scores/cases.csv", "collect"),
}


def damages(content: bytes, random: np.random.Generator) -> dict[str, bytes]:
    """Damaged contents by name."""
    found = {"emptied": b"", "cut in half": content[: len(content) // 2]}
    for number in range(BITS):
        body = bytearray(content)
        body[random.integers(len(body))] ^= 1 << int(random.integers(8))
        found[f"bit {number + 1}"] = bytes(body)
    return found


def spoil(path: Path, content: bytes) -> None:
    """Other bytes under the same date, as a failing disk leaves them."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture(scope="module")
def spoilt(undisturbed, tmp_path_factory):
    """A copy of the finished study, whose files are damaged and mended one after the other."""
    return undisturbed[0].copy(tmp_path_factory.mktemp("spoilt") / "study")


def remedied(line: str, rule: str) -> bool:
    """Whether an error says who makes the file anew; readers of tables do not know by which rule."""
    return f"`{rule}`" in line or "Snakemake remakes them" in line


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_named_or_harmless(spoilt, undisturbed, counted, different, name):
    kind, whole, random, begun = KINDS[name], undisturbed[1], np.random.default_rng(len(name)), time.monotonic()
    path = random.choice(sorted(spoilt.results.glob(kind.files)))
    content, dates = path.read_bytes(), spoilt.dates()
    own, cases = path.relative_to(spoilt.results).as_posix(), damages(content, random)
    detected, named, silent, told = 0, 0, [], []
    for damage, body in cases.items():
        spoil(path, body)
        status, said = spoilt.remake(kind.reader)
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        told.append(f"{name}, {damage}: {errors or status}")
        detected += status != 0
        named += any(path.name in line and remedied(line, kind.rule) for line in errors)
        if status == 0 and set(different(spoilt, whole)) - {own}:
            silent.append(damage)
    spoilt.remove(kind.output)
    status, said = spoilt.remake(kind.reader)
    assert status == 0, said[-3000:]
    assert different(spoilt, whole) == []
    spoilt.redate(dates)
    print(*told, sep="\n")
    counted(
        f"damaged: {name}",
        hurt=kind.files,
        times=len(cases),
        survived=len(cases) - len(silent),
        detected=detected,
        harmless=len(cases) - detected - len(silent),
        silent=len(silent),
        minutes=round((time.monotonic() - begun) / 60, 1),
    )
    assert silent == [], told
    assert named == detected, told
