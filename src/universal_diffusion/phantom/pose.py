"""How a body lies in the scanner: its proportions, the curve of its spine, and where and how turned it lies."""

from dataclasses import dataclass, replace

import numpy as np

from universal_diffusion.phantom.shapes import Points

WAVELENGTHS_MM = np.array([[310.0, 240.0, 270.0], [230.0, 290.0, 200.0], [260.0, 210.0, 330.0]])
CURVE_MM = 480.0  # wavelength of the spine's lateral curve
EVERYTHING_MM = 450.0


@dataclass(frozen=True)
class Pose:
    """From template coordinates t to the scanner's p = R (size * (t + curve(t_z) e_x)) + shift, but for the warp.

    Attributes:
        size: (3,) scale of the body along x, y, z against the template.
        roll: turn about z (radians).
        shift: (2,) position along x and y (mm).
        curve: amplitude (mm) and phase of the spine's lateral curve.
        warp: (3, 3) amplitudes (mm) and (3, 3) phases of sines, see `seen_at`.
    """

    size: np.ndarray
    roll: float
    shift: np.ndarray
    curve: tuple[float, float]
    warp: tuple[np.ndarray, np.ndarray]

    def lean(self, z: np.ndarray) -> np.ndarray:
        """Lateral curve (mm) at height z of the template."""
        amplitude, phase = self.curve
        return amplitude * np.sin(2 * np.pi * z / CURVE_MM + phase)

    def seen_at(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> "PosedPoints":
        """Where voxel centres at RAS mm `axes` lie in the template.

        Template coordinate i = c_i + sum over j of a_ij sin(2 pi p_j / (w_ij size_j) + f_ij), c the pose undone.
        """
        axes = tuple((axis / s).astype(np.float32) for axis, s in zip(axes, self.size, strict=True))
        (sx, sy, _), cosine, sine = self.size, np.cos(self.roll), np.sin(self.roll)
        x, y, z = (a.reshape([-1 if k == j else 1 for k in range(3)]) for j, a in enumerate(axes))
        right, front = sx * x - self.shift[0], sy * y - self.shift[1]
        straight = (cosine * right + sine * front) / sx - self.lean(z), (cosine * front - sine * right) / sy, z
        amplitudes, phases = self.warp
        mesh = []
        for i, coordinate in enumerate(straight):
            for j, axis in enumerate((x, y, z)):
                wave = amplitudes[i, j] * np.sin(2 * np.pi * axis / WAVELENGTHS_MM[i, j] + phases[i, j])
                coordinate = coordinate + wave.astype(np.float32)
            mesh.append(coordinate.astype(np.float32))
        return PosedPoints(axes, tuple(mesh), float(np.abs(amplitudes).sum(axis=1).max()), self)


@dataclass(frozen=True)
class PosedPoints(Points):
    """Points whose nominal axes are the scanner's, in units of the body's size."""

    pose: Pose

    def window(self, bounds: np.ndarray) -> tuple[slice, slice, slice]:
        """Array slices covering `bounds` ((2, 3) mm in the template), possibly empty."""
        pose = self.pose
        low, high = np.clip(bounds, -EVERYTHING_MM, EVERYTHING_MM)
        if np.any(low >= high):
            return (slice(0, 0),) * 3
        (x, y, z), (half_x, half_y, half_z) = (low + high) / 2, (high - low) / 2
        cosine, sine = np.cos(pose.roll), np.sin(pose.roll)
        ratio = pose.size[1] / pose.size[0]
        x += pose.lean(z)
        half_x += min(half_z * 2 * np.pi / CURVE_MM, 2) * pose.curve[0]
        centre = (cosine * x - sine * ratio * y + pose.shift[0] / pose.size[0],)
        centre += (cosine * y + sine / ratio * x + pose.shift[1] / pose.size[1], z)
        half = (cosine * half_x + abs(sine) * ratio * half_y, cosine * half_y + abs(sine) / ratio * half_x, half_z)
        return tuple(
            slice(
                int(np.searchsorted(axis, c - h - self.margin)),
                int(np.searchsorted(axis, c + h + self.margin, "right")),
            )
            for axis, c, h in zip(self.axes, centre, half, strict=True)
        )

    def crop(self, window: tuple[slice, slice, slice]) -> "PosedPoints":
        """The points of a window."""
        axes = tuple(axis[cut] for axis, cut in zip(self.axes, window, strict=True))
        return replace(self, axes=axes, coordinates=tuple(c[window] for c in self.coordinates))
