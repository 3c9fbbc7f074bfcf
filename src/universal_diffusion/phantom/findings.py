"""Tumours and cysts, each within the organ that it grows in, and the refusal of those that have none."""

from collections.abc import Iterable

import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.phantom.bowel import Colon
from universal_diffusion.phantom.constructive import Common, Grown, inside
from universal_diffusion.phantom.organs import Kidney
from universal_diffusion.phantom.parts import Individual, Part
from universal_diffusion.phantom.shapes import Ellipsoid, Shape

HOSTS = {  # any one of these organs must be there
    "kidney cyst": ("right kidney", "left kidney"),
    "kidney tumor": ("right kidney", "left kidney"),
    "liver tumor": ("liver",),
    "pancreas tumor": ("pancreas",),
    "hepatic vessel tumor": ("liver",),
    "lung tumor": (),
    "colon tumor": ("colon",),
}
COLON_TUMOUR_HEIGHTS_MM = (-95.0, 0.0)  # above the fullest bladder, below stomach, liver and kidneys


def require_hosts(findings: Iterable[str], absent: frozenset[str], where: str) -> None:
    """Raise InputError for a finding that is none, or whose organ is absent."""
    for name in sorted(findings):
        if name not in HOSTS:
            raise InputError(where, f"{name!r} is no finding", f"choose among {', '.join(HOSTS)}")
        if HOSTS[name] and absent.issuperset(HOSTS[name]):
            raise InputError(where, f"{name} needs {' or '.join(HOSTS[name])}, which is absent", "drop one of the two")


def lump(individual: Individual, centre: np.ndarray, radius: float, roughness: float = 0.10) -> Shape:
    """A roundish lesion."""
    radii = radius * np.array([individual.about(1, 0.1) for _ in range(3)])
    return individual.wavy(Ellipsoid(centre, radii, individual.turn(spread=40)), roughness * radius, 2.2 * radius)


def lesions(individual: Individual, organ: Shape, sizes: tuple[float, float], count: int, depth: float) -> list[Shape]:
    """Lesions of radius `sizes` (mm; smaller where there is no room), `depth` radii deep in the organ and apart."""
    chosen = []
    for _ in range(count):
        radius = individual.between(*sizes)
        places = _places(organ, depth, radius, chosen)
        while not len(places):
            radius *= 0.8
            places = _places(organ, depth, radius, chosen)
        chosen.append((places[int(individual.random.integers(len(places)))], radius))
    return [lump(individual, centre, radius) for centre, radius in chosen]


def _places(organ: Shape, depth: float, radius: float, taken: list[tuple[np.ndarray, float]]) -> np.ndarray:
    places = inside(organ, depth * radius)
    for centre, other in taken:
        places = places[np.linalg.norm(places - centre, axis=1) > radius + other + 3]
    return places


def liver_parts(individual: Individual, organ: Shape, names: frozenset[str]) -> list[Part]:
    """Metastases and primaries in the liver; the larger ones decay in the middle."""
    found = sorted(names & {"liver tumor", "hepatic vessel tumor"})
    each = int(individual.random.integers(1, 4))
    parts = []
    for index, shape in enumerate(lesions(individual, organ, (8, 25), each * len(found), 0.7)):
        name = found[index % len(found)]
        parts.append(Part(shape, name, (name,), ("liver",)))
        parts.append(Part(Grown(shape, -9.0), "necrosis", (name,), ("liver",)))
    return parts


def kidney_lesions(
    individual: Individual, kidneys: list[Kidney], names: frozenset[str]
) -> list[tuple[str, Kidney, Shape]]:
    """Tumour and cyst, if asked for: in which kidney, and a lump bulging from its outer side."""
    tumour_side, cyst_side = individual.random.integers(len(kidneys), size=2)
    plan = [("kidney tumor", tumour_side, (14, 27), -1), ("kidney cyst", cyst_side, (9, 20), 1)]
    found = []
    for name, index, sizes, pole in plan:
        kidney, radius = kidneys[int(index)], individual.between(*sizes)
        away = np.array([individual.between(12, 18), individual.about(0, 7), pole * individual.between(18, 32)])
        shape = lump(individual, kidney.centre + away * (kidney.side, 1, 1), radius, 0.06)
        if name in names:
            found.append((name, kidney, shape))
    return found


def lung_parts(individual: Individual, lung: Shape) -> list[Part]:
    """One spiculated nodule in a lung, aerated all round or touching the pleura."""
    shape = lesions(individual, lung, (8, 20), 1, 0.9)[0]
    return [Part(Common(individual.wavy(shape, 2.0, 9), lung), "lung tumor", ("lung tumor",))]


def colon_tumor_parts(individual: Individual, organ: Colon) -> list[Part]:
    """A mass on one side of the colon's wall that narrows the lumen."""
    low, high = COLON_TUMOUR_HEIGHTS_MM
    sites = np.flatnonzero((organ.line[1:-1, 2] > low) & (organ.line[1:-1, 2] < high)) + 1
    at = int(individual.random.choice(sites))
    x, y, z, radius = organ.line[at]
    across = individual.direction()
    along = organ.line[at + 1, :3] - organ.line[at - 1, :3]
    across = across - along * (across @ along) / (along @ along)
    centre = np.array([x, y, z]) + 0.6 * radius * across / np.linalg.norm(across)
    mass = lump(individual, centre, individual.between(14, 21))
    return [Part(mass, "colon tumor", ("colon tumor",), ("colon",))]
