"""The vocabulary a body is described in: labelled parts of one tissue, and the individual that varies them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from universal_diffusion.phantom.constructive import Wavy
from universal_diffusion.phantom.shapes import Shape, Tube, curve


@dataclass(frozen=True)
class Part:
    """A solid of one tissue, painted over what was painted before.

    Attributes:
        shape: where it is.
        tissue: key of `tissues.TISSUES`.
        labels: targets its voxels carry from then on, instead of those they carried; none clears them.
        within: when given, only voxels that carry one of these targets are painted, and they keep these targets.
    """

    shape: Shape
    tissue: str
    labels: tuple[str, ...] = ()
    within: tuple[str, ...] = ()


class Drift:
    """Where one person's organs lie against the template: a smooth field (mm) that moves neighbours alike.

    Displacement i at p = sum over j of a_ij sin(2 pi p_j / w_ij + f_ij), and along z the breath above the navel.
    """

    def __init__(self, random: np.random.Generator, breath: float):
        self.breath = breath
        self.amplitudes = random.uniform(0.4, 1, (3, 3)) * np.array([[7.0], [5.0], [7.0]])
        self.wavelengths = random.uniform(190, 340, (3, 3))
        self.phases = random.uniform(0, 2 * np.pi, (3, 3))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) moved."""
        waves = self.amplitudes * np.sin(2 * np.pi * points[..., None, :] / self.wavelengths + self.phases)
        moved = points + waves.sum(axis=-1)
        moved[..., 2] += self.breath * np.interp(points[..., 2], [-80, 60], [0, 1])
        return moved


class Individual:
    """One person's variation around the common anatomy; `drift`, where given, moves every organ's place."""

    def __init__(self, random: np.random.Generator, drift: Drift | None = None):
        self.random = random
        self.drift = drift

    def place(self, x: float, y: float, z: float) -> np.ndarray:
        """Where this person has what the template has at a point (mm)."""
        point = np.array([x, y, z], float)
        return self.drift(point) if self.drift else point

    def about(self, value: float, spread: float) -> float:
        """Normal around `value`, cut at two standard deviations."""
        return float(value + spread * np.clip(self.random.standard_normal(), -2, 2))

    def between(self, low: float, high: float) -> float:
        """Uniform."""
        return float(self.random.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.random.random() < probability)

    def choice(self, options: Sequence[str]) -> str:
        """One of the options."""
        return options[int(self.random.integers(len(options)))]

    def point(self, x: float, y: float, z: float, spread: float = 3.0) -> np.ndarray:
        """Where this person has a point (mm), moved by `spread` along each axis."""
        return self.place(self.about(x, spread), self.about(y, spread), self.about(z, spread))

    def radii(self, x: float, y: float, z: float, spread: float = 0.05) -> np.ndarray:
        """Half axes (mm), each varied by the share `spread`."""
        return np.array([x, y, z]) * [self.about(1, spread) for _ in range(3)]

    def direction(self) -> np.ndarray:
        """A unit vector, isotropic."""
        vector = self.random.standard_normal(3)
        return vector / np.linalg.norm(vector)

    def turn(self, x: float = 0, y: float = 0, z: float = 0, spread: float = 6.0) -> tuple[float, float, float]:
        """Rotation angles (degrees) about the axes, each varied by `spread`."""
        return self.about(x, spread), self.about(y, spread), self.about(z, spread)

    def line(self, knots: Sequence[Sequence[float]], spread: float = 2.0, step: float = 8.0) -> np.ndarray:
        """The smooth line (n, 4) through knots (x, y, z, radius), inner knots moved by `spread`, radii by 6 %."""
        varied = np.array(knots, float)
        varied[:, :3] += spread * np.clip(self.random.standard_normal((len(varied), 3)), -2, 2)
        varied[:, 3] *= self.about(1, 0.06)
        if self.drift:
            varied[:, :3] = self.drift(varied[:, :3])
        return curve(varied, step)

    def wavy(self, shape: Shape, amplitude: float, wavelength: float) -> Wavy:
        """The shape with a ripple on its surface."""
        return Wavy(shape, amplitude, wavelength, tuple(self.random.uniform(0, 2 * np.pi, 3)))


def tube_of(line: np.ndarray, grow: float = 0.0) -> Tube:
    """The tube along a line (n, 4) of x, y, z, radius (mm), its radius changed by `grow`."""
    return Tube(line[:, :3], np.maximum(line[:, 3] + grow, 0.5))
