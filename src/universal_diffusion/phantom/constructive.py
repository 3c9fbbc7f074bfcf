"""Solids made of solids: unions, intersections, differences, and surfaces moved or rippled."""

from dataclasses import dataclass

import numpy as np

from universal_diffusion.phantom.shapes import Points, Shape

BODY_MM = np.array([[-180.0, -140.0, -250.0], [180.0, 140.0, 315.0]])


class Union:
    """Several solids as one; `blend` (mm) rounds the creases between them (polynomial smooth minimum)."""

    def __init__(self, *shapes: Shape, blend: float = 0.0):
        self.shapes, self.blend = shapes, np.float32(blend)
        self.bounds = np.stack(
            [np.min([s.bounds[0] for s in shapes], axis=0), np.max([s.bounds[1] for s in shapes], axis=0)]
        )

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside)."""
        result = self.shapes[0].distance(points)
        for shape in self.shapes[1:]:
            result = smooth_minimum(result, shape.distance(points), self.blend)
        return result


def smooth_minimum(first: np.ndarray, second: np.ndarray, blend: np.float32) -> np.ndarray:
    """Minimum whose crease is rounded over `blend` mm."""
    if not blend:
        return np.minimum(first, second)
    overlap = np.maximum(blend - np.abs(first - second), 0) / blend
    return np.minimum(first, second) - overlap * overlap * blend / np.float32(4)


class Common:
    """What all the solids share."""

    def __init__(self, *shapes: Shape, blend: float = 0.0):
        self.shapes, self.blend = shapes, np.float32(blend)
        self.bounds = np.stack(
            [np.max([s.bounds[0] for s in shapes], axis=0), np.min([s.bounds[1] for s in shapes], axis=0)]
        )

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside)."""
        result = self.shapes[0].distance(points)
        for shape in self.shapes[1:]:
            result = -smooth_minimum(-result, -shape.distance(points), self.blend)
        return result


@dataclass(frozen=True)
class Without:
    """The first solid minus the second."""

    shape: Shape
    removed: Shape

    @property
    def bounds(self) -> np.ndarray:
        """Box of the first solid."""
        return self.shape.bounds

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside)."""
        return np.maximum(self.shape.distance(points), -self.removed.distance(points))


@dataclass(frozen=True)
class Grown:
    """The solid with its surface moved outwards by `by` mm (inwards when negative)."""

    shape: Shape
    by: float

    @property
    def bounds(self) -> np.ndarray:
        """The solid's box, widened when it grows."""
        return self.shape.bounds + max(self.by, 0) * np.array([[-1.0], [1.0]])

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside)."""
        return self.shape.distance(points) - np.float32(self.by)


@dataclass(frozen=True)
class Wavy:
    """The solid with a smooth ripple of `amplitude` mm and `wavelength` mm on its surface."""

    shape: Shape
    amplitude: float
    wavelength: float
    phases: tuple[float, float, float]

    @property
    def bounds(self) -> np.ndarray:
        """The solid's box, widened by the ripple."""
        return self.shape.bounds + self.amplitude * np.array([[-1.0], [1.0]])

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative inside)."""
        wave = np.float32(2 * np.pi / self.wavelength)
        ripple = np.float32(self.amplitude)
        for coordinate, phase in zip(points.coordinates, self.phases, strict=True):
            ripple = ripple * np.sin(wave * coordinate + np.float32(phase))
        return self.shape.distance(points) + ripple


def inside(shape: Shape, depth: float, step: float = 6.0) -> np.ndarray:
    """Points (n, 3) in mm of a regular lattice in the body that lie at least `depth` mm below the shape's surface."""
    bounds = np.clip(shape.bounds, *BODY_MM)
    axes = tuple(np.arange(low, high, step, dtype=np.float32) for low, high in bounds.T)
    mesh = np.meshgrid(*axes, indexing="ij")
    deep = shape.distance(Points(axes, tuple(mesh), 0.0)) < -depth
    return np.stack([coordinate[deep] for coordinate in mesh], axis=1)
