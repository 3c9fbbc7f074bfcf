"""The phantom's CT scanner: a patient and a protocol give Hounsfield units and the true labels.

Partial volume: a part that fills the share clip(1/2 - distance / voxel, 0, 1) of a voxel contributes that share of its
Hounsfield units; the voxel carries the part's labels when the share exceeds one half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from universal_diffusion.phantom.parts import Part
from universal_diffusion.phantom.patient import Patient
from universal_diffusion.phantom.shapes import Points
from universal_diffusion.phantom.tissues import TISSUES, Phase
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.targets import bits

Region = Literal["abdomen", "chest_abdomen", "abdomen_pelvis", "whole"]
REGIONS_MM = {  # z of the first and last slice; 0 is the disc between the third and fourth lumbar vertebrae
    "abdomen": (-40.0, 240.0),
    "chest_abdomen": (-5.0, 330.0),
    "abdomen_pelvis": (-240.0, 235.0),
    "whole": (-240.0, 330.0),
}
TEXTURE_MM = 4.5  # grain of the tissues' own texture
NOISE_PIXELS = (0.7, 0.7, 0.3)  # grain of the quantum noise, voxels
NOISE_HU = (8.0, 25.0)  # standard deviation after smoothing in the middle of the body, from scan to scan
RIM_NOISE = 0.65  # of the middle's, at the rim of the body


@dataclass(frozen=True)
class Protocol:
    """How a scan is taken: `matrix` x `matrix` pixels over `field_of_view_mm`, slices every `slice_spacing_mm`."""

    matrix: int
    field_of_view_mm: float
    slice_spacing_mm: float
    region: Region
    phase: Phase


@dataclass(frozen=True)
class Scan:
    """A CT with the truth about it.

    Attributes:
        image: (X, Y, Z) int16 Hounsfield units in RAS order.
        affine: 4 x 4 diagonal, voxel indices to RAS millimetres.
        labels: (X, Y, Z) uint32 bits of all targets present.
    """

    image: np.ndarray
    affine: np.ndarray
    labels: np.ndarray


def scan(patient: Patient, protocol: Protocol, study_seed: int) -> Scan:
    """Take a CT of a patient: the same three arguments give the same bytes."""
    axes, affine = _grid(patient, protocol)
    points = patient.pose.seen_at(axes)
    image, texture, labels = _paint(patient, protocol, points)
    random = numpy_generator(study_seed, "scan", patient.name, protocol)
    image = gaussian_filter(image, (0.45, 0.45, 0.2), truncate=3.0)
    grain = [TEXTURE_MM / step for step in np.diag(affine)[:3]]
    image += texture * _correlated(random, points.shape, grain)
    image += _noise_level(points, random.uniform(*NOISE_HU)) * _correlated(random, points.shape, NOISE_PIXELS)
    return Scan(np.clip(np.rint(image), -1024, 3071).astype(np.int16), affine, labels)


def _grid(patient: Patient, protocol: Protocol) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    pixel, thickness = protocol.field_of_view_mm / protocol.matrix, protocol.slice_spacing_mm
    low, high = (patient.pose.size[2] * z for z in REGIONS_MM[protocol.region])
    slices = int((high - low) // thickness) + 1
    half = (protocol.matrix - 1) / 2 * pixel
    affine = np.diag([pixel, pixel, thickness, 1.0])
    affine[:3, 3] = -half, -half, low
    in_plane = (np.arange(protocol.matrix) * pixel - half).astype(np.float32)
    return (in_plane, in_plane, (low + np.arange(slices) * thickness).astype(np.float32)), affine


def _paint(patient: Patient, protocol: Protocol, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noiseless HU, amplitude of texture, and label bits."""
    image = np.full(points.shape, TISSUES["air"].plain, np.float32)
    texture = np.zeros(points.shape, np.float32)
    labels = np.zeros(points.shape, np.uint32)
    spacing = [float(axis[1] - axis[0]) if len(axis) > 1 else protocol.slice_spacing_mm for axis in points.axes]
    voxel = np.float32(np.prod(spacing) ** (1 / 3))
    for part in patient.parts:
        bounds = part.shape.bounds + voxel / 2 * np.array([[-1.0], [1.0]])
        window = points.window(bounds)
        if image[window].size:
            share = np.clip(np.float32(0.5) - part.shape.distance(points.crop(window)) / voxel, 0, 1)
            hounsfield = patient.hounsfield(part.tissue, protocol.phase)
            _blend(part, share, hounsfield, image[window], texture[window], labels[window])
    return image, texture, labels


def _blend(
    part: Part, share: np.ndarray, hounsfield: float, image: np.ndarray, texture: np.ndarray, labels: np.ndarray
) -> None:
    """Paint one part into views of its window."""
    if part.within:
        share = share * ((labels & bits(part.within)) != 0)
    image += share * (np.float32(hounsfield) - image)
    texture += share * (np.float32(TISSUES[part.tissue].texture) - texture)
    inside = share > 0.5
    own = bits(part.labels)
    labels[inside] = (labels[inside] & bits(part.within)) | own


def _correlated(random: np.random.Generator, shape: tuple[int, int, int], sigma: Sequence[float]) -> np.ndarray:
    """Gaussian noise of unit variance, correlated over `sigma` voxels along each axis."""
    noise = gaussian_filter(random.standard_normal(shape, np.float32), sigma, truncate=3.0)
    return noise / noise.std()


def _noise_level(points: Points, middle: float) -> np.ndarray:
    """Standard deviation of the noise: `middle` HU where the rays cross most body."""
    x, y = (axis.reshape(shape) for axis, shape in zip(points.axes[:2], [(-1, 1, 1), (1, -1, 1)], strict=True))
    radius = np.minimum(reduce(np.hypot, (x / 170, y / 120)), 1)
    return np.float32(middle) - np.float32(middle * (1 - RIM_NOISE)) * radius
