"""A tiny cohort: elliptic bodies with lungs above and a pelvis below, a liver, and a tumour in some."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid, Volume, write_volume

SPACING_MM = (5.0, 5.0, 6.0)


def body(slices: range, centre=(32.0, 30.0), size: float = 1.0) -> np.ndarray:
    """(64, 64, Z) image with lungs above slice 20, a spine, and a bony pelvis below slice 6."""
    x, y = np.mgrid[:64, :64]
    u, v = (x - centre[0]) / (20 * size), (y - centre[1]) / (14 * size)
    image = np.zeros((64, 64, len(slices)), np.float32)
    for index, z in enumerate(slices):
        inside = u**2 + v**2 < 1 - 0.004 * abs(z - 14)
        image[inside, index] = 0.5
        sides = (abs(abs(u) - 0.45) < 0.25) & (abs(v) < 0.4)
        if z > 20:
            image[sides, index] = 0
        if z < 6:
            image[sides, index] = 1
        image[(u**2 + (v + 0.6) ** 2 < 0.02) & inside, index] = 1
    return image


def liver(slices: range, centre=(32.0, 30.0), size: float = 1.0) -> np.ndarray:
    """The body's liver: an ellipsoid on one side around slice 15, boolean (64, 64, Z)."""
    x, y, z = np.mgrid[:64, :64, slices.start : slices.stop]
    u, v = (x - centre[0]) / (20 * size), (y - centre[1]) / (14 * size)
    return ((u - 0.4) / 0.35) ** 2 + (v / 0.5) ** 2 + ((z - 15) / 5) ** 2 < 1


def case(
    name: str, slices: range, annotated=("liver",), tumour: bool = False, centre=(32.0, 30.0), size: float = 1.0
) -> Volume:
    """A volume of source msd03 whose native grid is the harmonised one, flipped and shifted by some millimetres."""
    image, organ = body(slices, centre, size), liver(slices, centre, size)
    image[organ] = 0.7
    labels = np.where(organ, target("liver").bit, np.uint32(0))
    if tumour:
        core = liver(slices, centre, size / 2)
        labels[core & organ] |= target("liver tumor").bit
    affine = np.diag([*SPACING_MM, 1.0])
    flipped = np.diag([-SPACING_MM[0], *SPACING_MM[1:], 1.0])
    flipped[0, 3] = SPACING_MM[0] * 63
    return Volume(
        source="msd03",
        case=name,
        annotated=annotated,
        fingerprint=name,
        image=image,
        labels=labels,
        grid=Grid(image.shape, affine),
        native_labels=labels[::-1].copy(),
        native_grid=Grid(image.shape, flipped),
    )


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Volume]:
    """`case` for the tests."""
    return case


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Path, Path]:
    """Directory of volumes and splits.csv: four training cases, one for validation, one for testing."""
    both = ("liver", "liver tumor")
    volumes = {
        "a": ("train", case("a", range(0, 40), both, tumour=True)),
        "b": ("train", case("b", range(4, 30), both, centre=(30.0, 31.0), size=1.1)),
        "c": ("train", case("c", range(8, 40), centre=(33.0, 29.0), size=0.95)),
        "d": ("train", case("d", range(2, 34), both, tumour=True)),
        "v": ("validation", case("v", range(5, 33), both, tumour=True, centre=(31.0, 30.0), size=1.05)),
        "t": ("test", case("t", range(3, 28), ("liver", "spleen"), centre=(34.0, 31.0))),
    }
    folder = tmp_path / "volumes"
    for name, (_, volume) in volumes.items():
        write_volume(folder / f"{name}.h5", volume)
    rows = [SplitRow("msd03", "msd", name, name, part, "") for name, (part, _) in volumes.items()]
    write_splits(tmp_path / "splits.csv", rows)
    return folder, tmp_path / "splits.csv"
