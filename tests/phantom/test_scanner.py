"""The phantom's scanner: geometry, partial volume, Hounsfield units, determinism, and shapes against closed forms."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.phantom.findings import HOSTS
from universal_diffusion.phantom.parts import Part
from universal_diffusion.phantom.patient import Patient, make_patient
from universal_diffusion.phantom.pose import Pose
from universal_diffusion.phantom.scanner import Protocol, scan
from universal_diffusion.phantom.shapes import Column, Ellipsoid, Points, Tube
from universal_diffusion.targets import mask

CENTRE = np.array([3.3, -2.1, 61.7])
STRAIGHT = Pose(np.ones(3), 0.0, np.zeros(2), (0.0, 0.0), (np.zeros((3, 3)), np.zeros((3, 3))))


def points_at(places: np.ndarray) -> Points:
    """Scattered places (n, 3) as the voxels of an (n, 1, 1) box whose nominal axes cover everything."""
    x, y, z = (places[:, k].astype(np.float32).reshape(-1, 1, 1) for k in range(3))
    return Points((np.arange(len(x), dtype=np.float32), np.zeros(1), np.zeros(1)), (x, y, z), 1e4)


def ball(radius: float) -> Patient:
    part = Part(Ellipsoid(CENTRE, (radius,) * 3), "liver", ("liver",))
    return Patient("ball", STRAIGHT, 1.0, (), (part,))


@settings(max_examples=10)
@given(radius=st.floats(20, 60), matrix=st.integers(64, 100))
def test_a_balls_labels_and_densities_have_its_volume(radius, matrix):
    taken = scan(ball(radius), Protocol(matrix, 256.0, 4.0, "abdomen", "plain"), 1)
    voxel = np.prod(np.diag(taken.affine)[:3])
    expected = 4 / 3 * np.pi * radius**3
    assert mask(taken.labels, "liver").sum() * voxel == pytest.approx(expected, rel=0.05)
    axes = (np.arange(n) * taken.affine[k, k] + taken.affine[k, 3] for k, n in enumerate(taken.image.shape))
    near = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij")) - CENTRE.reshape(3, 1, 1, 1), axis=0) < radius + 9
    share = (taken.image[near].astype(float) + 1000) / 1058
    assert share.sum() * voxel == pytest.approx(expected, rel=0.06)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), radius=st.floats(5, 80))
def test_distance_to_a_sphere_is_exact(seed, radius):
    places = np.random.default_rng(seed).uniform(-120, 120, (50, 3))
    distance = Ellipsoid((0, 0, 0), (radius,) * 3).distance(points_at(places)).ravel()
    assert np.allclose(distance, np.linalg.norm(places, axis=1) - radius, atol=0.05)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_distance_to_a_capsule_is_exact(seed):
    random = np.random.default_rng(seed)
    start, end = random.uniform(-40, 40, (2, 3))
    places = random.uniform(-60, 60, (50, 3))
    distance = Tube(np.stack([start, end]), np.array([7.0, 7.0])).distance(points_at(places)).ravel()
    samples = start + np.linspace(0, 1, 4001)[:, None] * (end - start)
    expected = np.linalg.norm(places[:, None] - samples, axis=2).min(axis=1) - 7
    assert np.allclose(distance, expected, atol=0.05)


@settings(max_examples=30)
@given(power=st.sampled_from([2.0, 2.5, 3.0, 4.0]), seed=st.integers(0, 10**6))
def test_superelliptic_distances_change_sign_at_the_surface(power, seed):
    places = np.random.default_rng(seed).uniform(-60, 60, (200, 3))
    solid = Ellipsoid((0, 0, 0), (30, 20, 40), power=power)
    level = (np.abs(places / (30, 20, 40)) ** power).sum(axis=1)
    clear = np.abs(level - 1) > 0.01
    assert np.array_equal(solid.distance(points_at(places)).ravel()[clear] < 0, level[clear] < 1)
    assert solid.distance(points_at(np.zeros((1, 3)))).item() < -5
    column = Column(np.array([-100.0, 100.0]), *(np.array([v, v]) for v in (30.0, 20.0, 5.0)), power)
    level = np.abs(places[:, 0] / 30) ** power + np.abs((places[:, 1] - 5) / 20) ** power
    clear = np.abs(level - 1) > 0.01
    assert np.array_equal(column.distance(points_at(places)).ravel()[clear] < 0, level[clear] < 1)


def test_same_arguments_same_bytes_and_seeds_matter():
    def digest(seed, name="p", phase="portal"):
        taken = scan(make_patient(seed, name, frozenset(HOSTS)), Protocol(64, 400.0, 10.0, "whole", phase), seed)
        return hashlib.sha256(taken.image.tobytes() + taken.labels.tobytes() + taken.affine.tobytes()).hexdigest()

    assert digest(5) == digest(5)
    assert len({digest(5), digest(6), digest(5, "q"), digest(5, phase="plain")}) == 4


@pytest.mark.parametrize("region", ["abdomen", "chest_abdomen", "abdomen_pelvis", "whole"])
def test_geometry_follows_the_protocol(region):
    taken = scan(make_patient(5, "p"), Protocol(48, 384.0, 12.0, region, "plain"), 5)
    assert taken.image.dtype == np.int16
    assert taken.labels.dtype == np.uint32
    assert taken.image.shape == taken.labels.shape
    assert taken.image.shape[:2] == (48, 48)
    assert np.array_equal(np.diag(taken.affine), [8.0, 8.0, 12.0, 1.0])
    assert np.count_nonzero(taken.affine[:3, :3]) == 3
    assert mask(taken.labels, "bladder").any() == (region in ("abdomen_pelvis", "whole"))
    assert taken.image.min() >= -1024


def test_resolution_does_not_change_the_patient():
    patient = make_patient(5, "p")
    coarse, fine = (scan(patient, Protocol(m, 400.0, s, "abdomen", "plain"), 5) for m, s in ((80, 6.0), (160, 3.0)))
    for name in ("liver", "spleen", "right kidney", "stomach"):
        sizes = [mask(t.labels, name).sum() * np.prod(np.diag(t.affine)[:3]) for t in (coarse, fine)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.08), name


def test_hounsfield_units_follow_tissue_and_phase():
    patient = make_patient(5, "p", frozenset({"liver tumor", "kidney cyst"}))
    median = {}
    for phase in ("plain", "arterial", "portal"):
        taken = scan(patient, Protocol(112, 400.0, 4.0, "abdomen_pelvis", phase), 5)
        for name in (
            "aorta",
            "liver",
            "liver tumor",
            "spleen",
            "right kidney",
            "bladder",
            "kidney cyst",
            "gallbladder",
        ):
            median[phase, name] = float(np.median(taken.image[mask(taken.labels, name)]))
        air = taken.image[:4, -4:]
        assert air.mean() == pytest.approx(-1000, abs=15)
    assert 25 < median["plain", "aorta"] < 62
    assert median["arterial", "aorta"] > 220 > median["portal", "aorta"] > 110
    assert 40 < median["plain", "liver"] < 75 < 90 < median["portal", "liver"] < 135
    assert median["portal", "liver"] - median["portal", "liver tumor"] > 15
    assert median["arterial", "right kidney"] > median["plain", "right kidney"] + 60
    assert -10 < median["portal", "bladder"] < 30
    assert -5 < median["portal", "kidney cyst"] < 40
    assert -5 < median["portal", "gallbladder"] < 40


def test_noise_is_that_of_a_scanner():
    taken = scan(make_patient(5, "p"), Protocol(128, 400.0, 5.0, "abdomen", "plain"), 5)
    spleen = taken.image[mask(taken.labels, "spleen")].astype(float)
    middle = spleen[np.abs(spleen - np.median(spleen)) < 60]
    assert 9 < middle.std() < 24


def test_the_phantom_needs_no_torch():
    code = "import sys, universal_diffusion.phantom.scanner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
