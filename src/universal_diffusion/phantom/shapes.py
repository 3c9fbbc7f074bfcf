"""The geometry of the phantom: closed forms whose signed distance (mm, negative inside) is evaluated on local boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.interpolate import make_interp_spline

FAR = np.float32(1e3)
REACH_MM = 8.0  # distances are kept true up to this far outside a tube; beyond it they read FAR


@dataclass(frozen=True)
class Points:
    """Voxel centres of a box.

    Attributes:
        axes: nominal coordinates (mm) along each array axis.
        coordinates: three arrays (X, Y, Z) of the same coordinates as the shapes see them, after the patient's warp.
        margin: by how much (mm) the two may differ.
    """

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    coordinates: tuple[np.ndarray, np.ndarray, np.ndarray]
    margin: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        return self.coordinates[0].shape

    def window(self, bounds: np.ndarray) -> tuple[slice, slice, slice]:
        """Array slices covering `bounds` ((2, 3) mm: low and high corner), possibly empty."""
        low, high = bounds[0] - self.margin, bounds[1] + self.margin
        return tuple(
            slice(int(np.searchsorted(axis, low[i])), int(np.searchsorted(axis, high[i], "right")))
            for i, axis in enumerate(self.axes)
        )

    def crop(self, window: tuple[slice, slice, slice]) -> "Points":
        """The points of a window."""
        axes = tuple(axis[cut] for axis, cut in zip(self.axes, window, strict=True))
        return Points(axes, tuple(c[window] for c in self.coordinates), self.margin)


class Shape(Protocol):
    """A solid. `bounds` is its (2, 3) box in mm; `distance` the signed distance at points, float32 of their shape."""

    bounds: np.ndarray

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside)."""


def rotation(degrees: Sequence[float]) -> np.ndarray:
    """3 x 3 matrix of rotations about x, then y, then z."""
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


class Ellipsoid:
    """A (super)ellipsoid; `power`, a multiple of one half, is 2 for the ellipsoid; larger ones approach a box."""

    def __init__(
        self, centre: Sequence[float], radii: Sequence[float], turn: Sequence[float] = (0, 0, 0), power: float = 2.0
    ):
        self.centre, self.radii, self.power = np.asarray(centre, float), np.asarray(radii, float), power
        self.axes = rotation(turn)
        reach = np.abs(self.axes) @ self.radii if power > 2 else np.sqrt(self.axes**2 @ self.radii**2)
        self.bounds = np.stack([self.centre - reach, self.centre + reach])

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside)."""
        x, y, z = (c - np.float32(o) for c, o in zip(points.coordinates, self.centre, strict=True))
        radii = self.radii.astype(np.float32)
        along = [
            np.abs(direction[0] * x + direction[1] * y + direction[2] * z) / radius
            for direction, radius in zip(self.axes.T.astype(np.float32), radii, strict=True)
        ]
        return _superelliptic(along, radii, self.power)


def _superelliptic(along: Sequence[np.ndarray], radii: Sequence[np.ndarray], power: float) -> np.ndarray:
    """First-order distance (k - 1) / |grad k| to the surface k = (sum along^power)^(1/power) = 1, `along` >= 0."""
    if power == 2:
        scaled = np.sqrt(sum(a * a for a in along) + np.float32(1e-9))
        slope = sum((a / radius) ** 2 for a, radius in zip(along, radii, strict=True))
        return (scaled - 1) * scaled / np.sqrt(slope + np.float32(1e-12))
    scaled = sum(_power(a, power) for a in along) ** np.float32(1 / power) + np.float32(1e-4)
    slope = sum((_power(a / scaled, power - 1) / radius) ** 2 for a, radius in zip(along, radii, strict=True))
    return (scaled - 1) / np.sqrt(slope + np.float32(1e-8))


def _power(base: np.ndarray, exponent: float) -> np.ndarray:
    """Non-negative `base` to a positive multiple of one half, by square roots and products."""
    result = np.sqrt(base) if exponent % 1 else np.ones_like(base)
    for _ in range(int(exponent)):
        result = result * base
    return result


class Tube:
    """A tube of varying radius along a polyline: capsules between successive points."""

    def __init__(self, line: np.ndarray, radii: np.ndarray):
        self.line = np.asarray(line, np.float32)
        self.radii = np.broadcast_to(np.asarray(radii, np.float32), len(self.line))
        self.bounds = np.stack(
            [(self.line - self.radii[:, None]).min(axis=0), (self.line + self.radii[:, None]).max(axis=0)]
        )

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside), true within REACH_MM of the surface, FAR beyond."""
        result = np.full(points.shape, FAR, np.float32)
        for start, end, first, last in zip(self.line, self.line[1:], self.radii, self.radii[1:], strict=False):
            reach = max(first, last) + REACH_MM
            window = points.window(np.stack([np.minimum(start, end) - reach, np.maximum(start, end) + reach]))
            near = result[window]
            if near.size:
                np.minimum(near, _capsule(points.crop(window), start, end, first, last), out=near)
        return result


def _capsule(points: Points, start: np.ndarray, end: np.ndarray, first: float, last: float) -> np.ndarray:
    axis = end - start
    offsets = [c - o for c, o in zip(points.coordinates, start, strict=True)]
    along = sum(a * o for a, o in zip(axis, offsets, strict=True)) / max(float(axis @ axis), 1e-6)
    along = np.clip(along, 0, 1).astype(np.float32)
    squared = sum((o - along * a) ** 2 for a, o in zip(axis, offsets, strict=True))
    return np.sqrt(squared) - (first + along * (last - first))


def curve(knots: Sequence[Sequence[float]], step: float = 8.0) -> np.ndarray:
    """A smooth line through knots (m rows of x, y, z and e.g. radius), sampled about every `step` mm."""
    knots = np.asarray(knots, float)
    lengths = np.r_[0, np.cumsum(np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1))]
    spline = make_interp_spline(lengths, knots, k=min(3, len(knots) - 1))
    return spline(np.linspace(0, lengths[-1], max(2, round(lengths[-1] / step) + 1)))


def tube(knots: Sequence[Sequence[float]], step: float = 8.0) -> Tube:
    """The tube through knots (x, y, z, radius) in mm."""
    line = curve(knots, step)
    return Tube(line[:, :3], np.maximum(line[:, 3], 0.5))


@dataclass(frozen=True)
class Plane:
    """The half-space `normal . p < offset` (unit normal)."""

    normal: tuple[float, float, float]
    offset: float
    bounds = np.array([[-np.inf] * 3, [np.inf] * 3])

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside)."""
        parts = (np.float32(n) * c for n, c in zip(self.normal, points.coordinates, strict=True))
        return sum(parts) - np.float32(self.offset)


class Column:
    """An upright solid with superelliptic sections, open above and below.

    Args:
        heights: z (mm, rising) of the knots between which the section is interpolated.
        half_widths, half_depths, middles: half axes along x and y and the y of the centre (mm) at each knot.
        power: exponent of the sections, 2 for ellipses.
    """

    def __init__(self, heights, half_widths, half_depths, middles, power: float = 2.5):
        self.heights, self.power = heights, power
        self.half_widths, self.half_depths, self.middles = half_widths, half_depths, middles
        wide, near, far = np.max(half_widths), np.min(middles - half_depths), np.max(middles + half_depths)
        self.bounds = np.array([[-wide, near, -np.inf], [wide, far, np.inf]])

    def section(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half width, half depth and middle (mm, float32) at heights `z`."""
        knots = self.half_widths, self.half_depths, self.middles
        return tuple(np.interp(z, self.heights, knot).astype(np.float32) for knot in knots)

    def wider(self, by: float) -> "Column":
        """The column with `by` mm added all round."""
        return Column(self.heights, self.half_widths + by, self.half_depths + by, self.middles, self.power)

    def scaled_radius(self, points: Points) -> np.ndarray:
        """Radius in units of the section's boundary: 0 on the axis, 1 on the surface."""
        along, _ = self._scaled(points)
        return sum(_power(a, self.power) for a in along) ** np.float32(1 / self.power)

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside), measured in the axial plane."""
        return _superelliptic(*self._scaled(points), self.power)

    def _scaled(self, points: Points) -> tuple[list[np.ndarray], list[np.ndarray]]:
        half_width, half_depth, middle = self.section(points.axes[2])
        x, y, _ = points.coordinates
        return [np.abs(x) / half_width, np.abs(y - middle) / half_depth], [half_width, half_depth]
