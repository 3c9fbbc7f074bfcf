"""Vessels: aorta, inferior vena cava, portal and splenic vein, those within the liver, and unlabelled branches."""

import numpy as np

from universal_diffusion.phantom.constructive import Union
from universal_diffusion.phantom.parts import Individual, Part, tube_of
from universal_diffusion.phantom.shapes import Shape, curve, tube

CAVA = [(24, -10, -58, 9), (22, -8, -20, 10.5), (22, -7, 30, 11), (23, -6, 76, 11.5), (25, -6, 120, 11.5)]
CAVA += [(24, -6, 165, 12), (22, -2, 200, 12.5), (19, 6, 222, 13), (18, 14, 236, 13)]


def arteries(individual: Individual, aorta: bool, hila: list[np.ndarray]) -> list[Part]:
    """Aorta from the chest to its division, and its branches; without `aorta` only the iliac arteries.

    `hila`: of the right and the left kidney (mm).
    """
    knots = [(-22, -44, 350, 13), (-23, -42, 290, 12.5), (-20, -38, 235, 12), (-14, -26, 190, 11.5), (-9, -15, 150, 11)]
    knots += [(-7, -9, 110, 10.5), (-7, -5, 70, 10), (-7, -2, 25, 9.5), (-5, -2, -10, 9), (-3, -5, -36, 8.5)]
    calibre = individual.between(0.8, 1.18)
    line = curve(_tortuous(individual, knots, calibre), 8)
    place = individual.place
    (right, left) = hila
    branches = _iliacs(6.0, 4.8, 0.0)
    if aorta:
        branches += [
            tube([(-7, 0, 92, 3.5), (-4, 16, 94, 3.5), (8, 20, 98, 3)], 5),  # coeliac trunk
            tube([(-4, 16, 94, 3), (*place(-30, 22, 92), 2.6), (*place(-62, 4, 112), 2.4)], 6),  # splenic artery
            tube(
                [(-7, 0, 78, 3.5), (-5, 18, 64, 3.5), (*place(-3, 26, 30), 3.3), (*place(4, 32, -20), 2.6)], 6
            ),  # superior mesenteric
            tube([(-4, -6, 66, 3), (20, -16, 62, 2.8), (*right, 2.5)], 6),
            tube([(-10, -6, 68, 3), (-28, -18, 66, 2.8), (*left, 2.5)], 6),
        ]
    parts = [Part(branch, "artery") for branch in branches]
    return parts + ([Part(tube_of(line), "artery", ("aorta",))] if aorta else [])


def _tortuous(one: Individual, knots: list[tuple], calibre: float) -> list[tuple]:
    """Knots swung sideways by up to 11 and forwards by up to 7 mm along their way, radii scaled by `calibre`."""
    swing, phase, forwards = one.between(2, 11), one.between(0, 6.3), one.between(-3, 7)
    waves = [np.sin(2 * np.pi * z / 230 + phase) for _, _, z, _ in knots]
    return [
        (x + swing * w, y + forwards * abs(w), z, calibre * r) for (x, y, z, r), w in zip(knots, waves, strict=True)
    ]


def _iliacs(common: float, outer: float, behind: float) -> list[Shape]:
    tubes = []
    for side in (1, -1):
        start = (-3 + behind, -6 - behind / 3, -38)
        knots = [(*start, common), (side * 28, -14 - behind / 3, -80, common), (side * 50, 6 - behind / 3, -125, outer)]
        knots += [(side * 64, 34 - behind / 3, -170, outer), (side * (66 - behind / 2), 46 - behind / 4, -205, outer)]
        tubes.append(tube([*knots, (side * (68 - behind / 2), 40, -255, outer)], 8))
        tubes.append(tube([(*knots[1][:3], outer - 1), (side * 36, -36, -120, 3), (side * 38, -44, -150, 2.5)], 8))
    return tubes


def iliac_veins() -> list[Part]:
    """Veins of the pelvis behind and within the arteries."""
    return [Part(branch, "lower cava") for branch in _iliacs(6.5, 5.5, 24.0)]


def cava(individual: Individual, hila: list[np.ndarray]) -> list[Part]:
    """Inferior vena cava and the veins of both kidneys' `hila`; above these it carries enhanced blood earlier."""
    line = individual.line(_tortuous(individual, CAVA, individual.between(0.72, 1.22)), 1.2, 7)
    (right, left) = hila
    upper = line[line[:, 2] > 52]
    renal = [
        tube([(22, -8, 64, 6), (34, -18, 60, 5), (*right, 4)], 6),
        tube([(20, 2, 70, 5), (-6, 10, 72, 4.5), (-24, -8, 68, 5), (*left, 4)], 6),
    ]
    name = ("inferior vena cava",)
    return [
        *[Part(vein, "renal vein") for vein in renal],
        Part(tube_of(line), "lower cava", name),
        Part(tube_of(upper), "upper cava", name),
    ]


def portal(individual: Individual) -> list[Part]:
    """Portal and splenic vein (target), and the superior mesenteric vein that joins them (not part of it)."""
    size = individual.about(1, 0.08)
    trunk = [(6, 18, 66, 6.8 * size), (18, 18, 86, 6.8 * size), (30, 16, 106, 6.5 * size), (40, 14, 120, 6 * size)]
    splenic = [(6, 18, 68, 5 * size), (-20, 19, 80, 4.6 * size), (-46, 8, 98, 4.3 * size), (-68, -12, 120, 4 * size)]
    mesenteric = [(6, 19, 62, 5.5), (8, 30, 36, 5), (10, 36, 0, 4.2), (14, 40, -35, 3)]
    vein = Union(tube_of(individual.line(trunk, 0.8, 6)), tube_of(individual.line(splenic, 1.0, 6)))
    return [
        Part(tube_of(individual.line(mesenteric, 0.8, 7)), "portal blood"),
        Part(vein, "portal blood", ("portal vein and splenic vein",)),
    ]


def hepatic(individual: Individual) -> list[Part]:
    """Hepatic veins towards the cava and portal branches from the hilum, within the liver."""
    veins = [((112, -22, 150), (78, -14, 172)), ((86, 36, 118), (58, 24, 160)), ((-30, 52, 158), (4, 34, 180))]
    veins += [((98, 26, 168), (70, 14, 180)), ((70, -52, 130), (56, -34, 168))]
    branches = [((102, 30, 128), (66, 16, 128)), ((104, -40, 112), (72, -12, 122)), ((76, -36, 76), (66, -8, 104))]
    branches += [((70, 44, 168), (58, 24, 142)), ((-36, 48, 150), (2, 34, 142)), ((90, -14, 176), (66, -6, 150))]
    names, within = ("hepatic vessel",), ("liver",)
    tubes = [_branch(individual, tuple(individual.place(26, 0, 196)), bend, tip, 5.0) for tip, bend in veins]
    portal_tubes = [_branch(individual, tuple(individual.place(42, 14, 122)), bend, tip, 5.4) for tip, bend in branches]
    return [
        Part(Union(*tubes), "hepatic blood", names, within),
        Part(Union(*portal_tubes), "portal blood", names, within),
    ]


def _branch(individual: Individual, root: tuple, bend: tuple, tip: tuple, radius: float) -> Shape:
    """A vessel tapering from root over a bend to its tip, with one twig."""
    middle, end = individual.point(*bend, 4), individual.point(*tip, 7)
    main = tube([(*root, radius), (*middle, 0.72 * radius), (*end, 1.6)], 8)
    twig_end = (middle + end) / 2 + 26 * individual.direction()
    twig = tube([(*middle, 0.5 * radius), (*((middle + twig_end) / 2), 2.2), (*twig_end, 1.4)], 8)
    return Union(main, twig)


def mesenteric_twigs(individual: Individual) -> list[Part]:
    """Small vessels fanning out in the fat between the bowel loops."""
    root = individual.place(6.0, 30.0, 10.0)
    parts = []
    for angle in np.linspace(-2.4, 0.6, 9):
        reach = individual.between(45, 75)
        away = np.array([reach * np.cos(angle), individual.between(0, 18), reach * np.sin(angle) - 15])
        parts.append(Part(tube([(*root, 2.2), (*(root + away), 1.3)], 12), "portal blood"))
    return parts
