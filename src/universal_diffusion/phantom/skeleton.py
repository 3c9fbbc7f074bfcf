"""Bones: spine, ribs, sternum, pelvis and the upper ends of the thigh bones (whose heads are targets)."""

from dataclasses import dataclass

import numpy as np

from universal_diffusion.phantom.constructive import Common, Grown, Union, Without
from universal_diffusion.phantom.parts import Individual, Part
from universal_diffusion.phantom.shapes import Ellipsoid, Plane, Shape, Tube, rotation, tube
from universal_diffusion.phantom.trunk import Trunk


@dataclass(frozen=True)
class Vertebra:
    """Template of one vertebra: y and z of its body's centre, half width, half depth and half height (mm)."""

    y: float
    z: float
    half_width: float
    half_depth: float
    half_height: float


SPINE = (  # fifth lumbar to fourth thoracic
    Vertebra(-36, -71, 25, 17.5, 14),
    Vertebra(-30, -33, 25, 17.5, 14),
    Vertebra(-29, 4, 24, 17.5, 14),
    Vertebra(-31, 41, 23, 17, 14),
    Vertebra(-35, 76, 22, 16.5, 13.5),
    Vertebra(-40, 109, 21, 16, 13),
    Vertebra(-45, 140, 20, 15.5, 12.5),
    Vertebra(-49, 170, 18.5, 15.5, 11.5),
    Vertebra(-53, 198, 17.5, 15, 11),
    Vertebra(-56, 225, 17, 15, 10.5),
    Vertebra(-58, 251, 16.5, 14.5, 10.5),
    Vertebra(-60, 277, 16, 14, 10),
    Vertebra(-61, 302, 15.5, 14, 10),
    Vertebra(-61, 327, 15, 13.5, 9.5),
)
FIRST_THORACIC = 5
FEMUR_HEAD = (83.0, -6.0, -188.0)
HEAD_RADIUS = 23.5
SACRUM = np.array([0.0, -56.0, -110.0])


def spine(individual: Individual) -> list[Part]:
    """Vertebral bodies with discs, canal and processes, and the sacrum."""
    parts = []
    for index, bone in enumerate(SPINE):
        parts += _vertebra(individual, bone, lumbar=index < FIRST_THORACIC)
    return parts + _sacrum()


def _vertebra(individual: Individual, bone: Vertebra, lumbar: bool) -> list[Part]:
    y, z, width, depth, height = bone.y, bone.z, bone.half_width, bone.half_depth, bone.half_height
    size = individual.about(1, 0.03)
    body = Ellipsoid((0, y, z), (size * width, size * depth, height), power=4)
    disc = Ellipsoid((0, y, z + height + 4), (size * width - 1, size * depth - 1, 6), power=4)
    canal_y = y - depth - 8
    arch = Ellipsoid((0, canal_y - 1, z - 3), (15, 13, height * 0.8), power=3)
    tip_y, drop = (canal_y - 36, 8) if lumbar else (canal_y - 28, 24)
    spinous = Ellipsoid((0, (canal_y + tip_y) / 2 - 4, z - drop), (3.8, 17, 11), (25 if lumbar else 45, 0, 0))
    reach, rise = (44, 0) if lumbar else (32, 6)
    across = [(-reach, canal_y - (2 if lumbar else 12), z + rise, 3.5), (0, canal_y - 4, z, 6)]
    across.append((reach, canal_y - (2 if lumbar else 12), z + rise, 3.5))
    posterior = Union(arch, spinous, tube(across, 8), blend=4)
    canal = tube([(0, canal_y, z - height - 8, 8.5), (0, canal_y, z + height + 8, 8.5)], 20)
    return [
        Part(disc, "disc"),
        *bone_parts(Union(body, posterior, blend=3), 2.2),
        Part(canal, "cord"),
    ]


def bone_parts(shape: Shape, shell: float, labels: tuple[str, ...] = ()) -> list[Part]:
    """A cortical shell of that thickness (mm) around spongy bone."""
    return [Part(shape, "cortical bone", labels), Part(Grown(shape, -shell), "spongy bone", labels)]


def _sacrum() -> list[Part]:
    segments = [
        Ellipsoid((0, -50, -101), (27, 18, 15), (-25, 0, 0), 3),
        Ellipsoid((0, -66, -126), (26, 14, 15), (-30, 0, 0), 3),
        Ellipsoid((0, -78, -150), (22, 11, 14), (-20, 0, 0), 3),
        Ellipsoid((0, -84, -173), (17, 9, 13), (0, 0, 0), 3),
        Ellipsoid((0, -80, -195), (11, 7, 13), (20, 0, 0), 3),
        Ellipsoid((0, -72, -212), (7, 5, 10), (35, 0, 0)),
    ]
    wings = [
        tube([(side * 20, -56, -102, 14), (side * 40, -64, -108, 14), (side * 30, -74, -140, 10)], 6)
        for side in (1, -1)
    ]
    canal = tube([(0, -66, -80, 8), (0, -76, -110, 7), (0, -90, -150, 4)], 8)
    return [*bone_parts(Union(*segments, *wings, blend=6), 1.8), Part(canal, "cord")]


def ribs(trunk: Trunk) -> list[Part]:
    """Ribs from the fifth to the twelfth on both sides, their cartilages, and the sternum."""
    parts = []
    for index in range(FIRST_THORACIC, len(SPINE)):
        number = 12 - (index - FIRST_THORACIC)
        extent = {12: 0.38, 11: 0.52}.get(number, 0.80)
        for side in (1, -1):
            line = _rib(trunk, SPINE[index], side, extent)
            bony = round(len(line) * min(1.0, 0.62 / extent))
            parts.append(Part(Tube(line[:bony], 5.0), "rib bone"))
            parts.append(Part(Tube(line[:bony], 2.4), "spongy bone"))
            if bony < len(line):
                parts.append(Part(Tube(line[bony - 1 :], 5.0), "cartilage"))
    sternum_y = float(np.interp(285, trunk.outer.heights, trunk.outer.middles + trunk.outer.half_depths)) - 8
    return parts + bone_parts(Ellipsoid((0, sternum_y, 290), (17, 5.5, 72), (3, 0, 0), 3), 1.8)


def _rib(trunk: Trunk, bone: Vertebra, side: int, extent: float) -> np.ndarray:
    """Points (n, 3) of a rib from beside the spine (0) towards the sternum (1), sloping down and forwards."""
    share = np.linspace(0.06, extent, 26)
    angle = np.pi * share
    z = bone.z + 4 - 62 * np.clip(share / 0.62, 0, 1) ** 1.1 + 45 * np.clip(share - 0.62, 0, 1) / 0.2
    half_width, half_depth, middle = trunk.inner.section(z)
    half_width, half_depth = half_width + 6.5, half_depth + 6.5
    s, c = np.sin(angle), -np.cos(angle)
    x = side * half_width * np.abs(s) ** 0.8
    y = middle + half_depth * np.sign(c) * np.abs(c) ** 0.8
    return np.stack([x, y, z], axis=1)


def pelvis(individual: Individual, present: frozenset[str]) -> list[Part]:
    """Hip bones and thigh bones; a head that is not `present` is left out with its neck."""
    seat = Seat(individual.between(0.92, 1.08), individual.between(-7, 7), individual.between(-9, 9))
    parts = []
    for side, name in ((1, "right head of femur"), (-1, "left head of femur")):
        parts += _hip(side, seat)
        parts += _femur(individual, side, name, name in present, seat)
    return [*parts, Part(Ellipsoid(seat(np.array([0.0, 31, -212])), (4, 7, 15)), "disc")]


@dataclass(frozen=True)
class Seat:
    """One person's pelvis against the template: width (scale), tilt about the sacrum (degrees) and height (mm)."""

    width: float
    tilt: float
    height: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3 or 4) moved; a fourth column, the radius, stays."""
        moved = np.array(points, float)
        moved[..., :3] = (moved[..., :3] - SACRUM) * (self.width, 1, 1) @ rotation((self.tilt, 0, 0)).T + SACRUM
        moved[..., 2] += self.height
        return moved


def _hip(side: int, seat: Seat) -> list[Part]:
    mirror = np.array([side, 1, 1, 1])
    head = seat(np.array([side, 1, 1]) * FEMUR_HEAD)
    crest = tube(
        seat(np.array([(112, 46, -92, 7), (126, 22, -55, 6), (116, -28, -38, 6), (52, -80, -82, 8)]) * mirror), 6
    ).line
    root = tube(
        seat(np.array([(92, 24, -152, 7), (92, -2, -150, 8), (80, -28, -146, 8), (56, -58, -122, 8)]) * mirror), 6
    ).line
    picks = np.linspace(0, 1, 40)
    rows = [
        Tube(np.stack([root[round(p * (len(root) - 1))], crest[round(p * (len(crest) - 1))]]), np.array([5.5, 4.5]))
        for p in picks
    ]
    wing = Union(*rows, Tube(crest, 6.0), blend=3)
    inward = (-0.72 * side, 0.1, 0.68)
    cup = Without(Ellipsoid(head, (35, 35, 35)), Ellipsoid(head, (26.5, 26.5, 26.5)))
    roof = Plane(tuple(-n for n in inward), -float(np.dot(inward, head)) + 6.0)
    socket = Common(cup, roof)
    pubis = tube(seat(np.array([(62, 14, -186, 8), (36, 30, -194, 7), (9, 31, -208, 9)]) * mirror), 6)
    ischium = tube(seat(np.array([(74, -34, -196, 12), (64, -40, -222, 13), (54, -34, -242, 13)]) * mirror), 6)
    ramus = tube(seat(np.array([(9, 30, -214, 8), (22, 18, -232, 6), (48, -26, -246, 7)]) * mirror), 6)
    return bone_parts(Union(wing, socket, pubis, ischium, ramus, blend=4), 1.8)


def _femur(individual: Individual, side: int, name: str, present: bool, seat: Seat) -> list[Part]:
    mirror = np.array([side, 1, 1])
    radius = individual.about(HEAD_RADIUS, 1.1)
    head = Ellipsoid(seat(mirror * FEMUR_HEAD), (radius,) * 3)
    neck = tube(
        [
            (*(seat(mirror * FEMUR_HEAD)), 14),
            (*(seat(mirror * (108, -10, -208))), 13),
            (*(seat(mirror * (120, -12, -222))), 16),
        ],
        6,
    )
    trochanter = Ellipsoid(seat(mirror * (124, -18, -212)), (12, 15, 20))
    shaft = tube([(*(seat(mirror * (120, -12, -222))), 16), (*(seat(mirror * (116, -8, -275))), 14)], 8)
    parts = bone_parts(Union(neck, trochanter, shaft, blend=4), 2.5) if present else bone_parts(shaft, 2.5)
    return parts + (bone_parts(head, 1.8, (name,)) if present else [])
