"""The hollow organs: oesophagus, stomach, duodenum, small intestine, colon, rectum, with what fills them.

The patient lies on the back, so gas collects in front (high y) above fluid.
"""

from dataclasses import dataclass

import numpy as np

from universal_diffusion.phantom.constructive import Common, Grown
from universal_diffusion.phantom.parts import Individual, Part, tube_of
from universal_diffusion.phantom.shapes import Plane, Shape, Tube, curve
from universal_diffusion.phantom.trunk import Trunk


def _above(y: float) -> Plane:
    return Plane((0, -1, 0), -y)


def _gas_pockets(individual: Individual, line: np.ndarray, wall: float, share: float, length: float) -> list[Tube]:
    """Gas in the front half of the lumen along random stretches that make up `share` of a line (n, 4)."""
    lengths = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line[:, :3], axis=0), axis=1))]
    wave = np.sin(2 * np.pi * (lengths / individual.about(length, 0.1 * length)) + individual.between(0, 6.3))
    gassy = wave > np.quantile(wave, 1 - share)
    parts = []
    for piece in np.split(np.arange(len(line)), np.flatnonzero(np.diff(gassy)) + 1):
        if gassy[piece[0]] and len(piece) > 1:
            lumen = line[piece] + (0, individual.between(0.15, 0.4) * line[piece, 3].mean(), 0, 0)
            lumen[:, 3] = 0.7 * lumen[:, 3] - wall
            parts.append(tube_of(lumen))
    return parts


def oesophagus(individual: Individual) -> list[Part]:
    """From behind the heart through the hiatus to the stomach, often with a little air."""
    knots = [(2, -30, 350, 8), (0, -30, 300, 8), (-4, -26, 250, 8), (-10, -18, 212, 8.5), (-16, -8, 192, 8.5)]
    line = individual.line([*knots, (-32, -2, 178, 9)], 1.0, 8)
    parts = [Part(tube_of(line), "oesophagus wall", ("esophagus",))]
    if individual.chance(0.7):
        air = line[len(line) // 4 : 3 * len(line) // 4].copy()
        air[:, 3] = 2.6
        parts.append(Part(tube_of(air), "gas", ("esophagus",)))
    return parts


def stomach(one: Individual, trunk: Trunk) -> list[Part]:
    """Fundus under the left dome, body, antrum crossing to the pylorus; food or fluid, and gas in front."""
    fill, sag, left = one.between(0.42, 1.2), one.between(-24, 56), one.between(-16, 18)
    belly = fill * one.between(0.75, 1.2)
    knots = [(-58, -18, 186, 26 * fill), (-60 + left / 2, -2, 172, 32 * fill), (-62 + left, 24, 146, 30 * fill)]
    knots += [(-58 + left, 46, 116 - sag / 2, 25 * belly), (-38 + left, 56, 90 - sag, 21 * belly)]
    knots += [(-8 + left / 2, 54, 78 - sag, 17 * belly), (14, 46, 80 - sag / 3, 4 + 9 * belly), (26, 40, 84, 9)]
    line = one.line(knots, 4.0, 8)
    bag = Common(one.wavy(tube_of(line), 1.6, 32), trunk.abdomen)
    lumen = Grown(bag, -one.between(3.5, 5.5))
    content = one.choice(["gut fluid", "food", "food", "oral contrast"])
    gas_level = one.between(18, 62)
    return [
        Part(bag, "gut wall", ("stomach",)),
        Part(lumen, content, ("stomach",)),
        Part(Common(lumen, _above(gas_level)), "gas", ("stomach",)),
    ]


def duodenum(individual: Individual) -> list[Part]:
    """The C around the head of the pancreas, from the pylorus to the flexure left of the spine."""
    wide, low, calibre = individual.between(-8, 14), individual.between(-22, 16), individual.between(0.78, 1.12)
    end = individual.between(-14, 16)
    knots = [
        (30, 38, 85, 11),
        (42 + wide / 2, 30, 82, 12),
        (50 + wide, 16, 66, 12.5),
        (50 + wide, 12, 38 + low / 2, 12.5),
    ]
    knots += [(40 + wide / 2, 14, 12 + low, 12), (14, 19, 2 + low, 11), (-12, 20, 6 + low, 11)]
    knots += [(-28 + end / 2, 24, 24 + low / 2 + end / 2, 11), (-32 + end, 32, 38 + end, 11)]
    line = individual.line([(x, y, z, calibre * r) for x, y, z, r in knots], 2.5, 6)
    parts = [
        Part(tube_of(line), "gut wall", ("duodenum",)),
        Part(tube_of(line, -3.5), individual.choice(["gut fluid", "food"]), ("duodenum",)),
    ]
    pockets = _gas_pockets(individual, line, 3.0, 0.2, 90)
    return parts + [Part(pocket, "gas", ("duodenum",)) for pocket in pockets]


def intestine(one: Individual, trunk: Trunk) -> list[Part]:
    """Small bowel: one folded tube sweeping to and fro through the middle of the abdomen and into the pelvis."""
    loops = _loops(one, one.between(20.5, 26.5))
    gassy = one.between(0.03, 0.22)
    room = trunk.inner.wider(-4)
    name = ("intestine",)
    solids = [Common(one.wavy(tube_of(loop), 1.0, 19), room) for loop in loops]
    parts = [Part(solid, "gut wall", name) for solid in solids]
    for loop in loops:
        content = one.choice(["gut fluid", "gut fluid", "food", "food", "oral contrast"])
        parts.append(Part(Common(tube_of(loop, -2.7), room), content, name))
        pockets = _gas_pockets(one, loop, 3.0, gassy, 260)
        parts += [Part(Common(pocket, room), "gas", name) for pocket in pockets]
    return parts


def _loops(one: Individual, apart: float) -> list[np.ndarray]:
    """Lines (n, 4) of loops: points of a random packing `apart` mm, joined each to the nearest that is still free."""
    free = _packing(one, apart)
    loops, path = [], [0]
    free_indices = set(range(1, len(free)))
    while free_indices:
        last = free[path[-1]]
        nearest = min(free_indices, key=lambda index: float(np.linalg.norm(free[index] - last)))
        if np.linalg.norm(free[nearest] - last) > 1.7 * apart:
            loops.append(path)
            path = []
        path.append(nearest)
        free_indices.remove(nearest)
    long_enough = [free[path] for path in [*loops, path] if len(path) > 2]
    calibres = apart * one.random.uniform(0.43, 0.58, len(free))
    return [curve(np.c_[points, calibres[: len(points)]], 7) for points in long_enough]


def _packing(one: Individual, apart: float) -> np.ndarray:
    """Random points (n, 3) in the room of the small bowel, at least `apart` mm from each other."""
    low = np.array([one.between(-88, -62), 8, one.between(-134, -100)])
    high = np.array([one.between(56, 86), 64, one.between(60, 92)])
    top = one.between(-8, 42)
    chosen = np.empty((0, 3))
    for point in one.random.uniform(low, high, (2500, 3)):
        x, y, z = point
        jejunum = x < -22 and y < 58
        below = z < (top if y < 42 else top - 14)
        clear_of_spine = y > 20 or abs(x) > 48
        in_pelvis = z > -60 or abs(x) < 62
        allowed = (below or jejunum) and clear_of_spine and in_pelvis
        if allowed and np.all(((chosen - point) ** 2).sum(axis=1) > apart**2):
            chosen = np.vstack([chosen, point])
    return chosen


@dataclass(frozen=True)
class Colon:
    """The colon's line (n, 4) of x, y, z, radius (mm), from the caecum to the rectum, and its solid."""

    line: np.ndarray
    solid: Shape


def colon(one: Individual, trunk: Trunk) -> Colon:
    """Caecum, ascending, transverse, descending and sigmoid colon, with haustra; each stretch has its own calibre."""
    knots = _right_colon(one) + _transverse_colon(one) + _left_colon(one) + _sigmoid(one)
    line = one.line(knots, 5.0, 7)
    line[:, 3] = np.maximum(line[:, 3], 9)
    lengths = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line[:, :3], axis=0), axis=1))]
    line[:, 3] *= 1 + 0.13 * np.sin(2 * np.pi * lengths / one.about(31, 3))
    return Colon(line, Common(tube_of(line), trunk.abdomen))


def _right_colon(one: Individual) -> list[tuple[float, float, float, float]]:
    """Caecum, which lies between the right lower ribs and the pelvis, and ascending colon."""
    low, inwards, front = one.between(-24, 46), one.between(-6, 26), one.between(-16, 20)
    wide, narrow = one.between(19, 34), one.between(14, 27)
    knots = [(84 - inwards, 22 + front, -92 + low, wide), (92 - inwards / 2, 10 + front, -60 + 0.8 * low, wide)]
    return [*knots, (96, -6 + front / 2, -20 + low / 2, (wide + narrow) / 2), (98, -16, 18 + low / 5, narrow)]


def _transverse_colon(one: Individual) -> list[tuple[float, float, float, float]]:
    """From the right flexure, sagging by 0 to 120 mm, to the left one."""
    sag, high, wide = one.between(0, 120), one.between(-22, 14), one.between(11, 28)
    lowest = one.between(-26, 26)
    knots = [(92, 2, 48 + high, wide), (64, 46, 62 + high - 0.45 * sag, wide)]
    knots += [(22 + lowest, 62, 66 - sag, wide), (-26 + lowest, 62, 66 - 0.95 * sag, wide)]
    return [*knots, (-66, 50, 82 - 0.45 * sag, wide), (-90, 26, one.between(82, 104), wide)]


def _left_colon(one: Individual) -> list[tuple[float, float, float, float]]:
    """Left flexure at the spleen, and the descending colon along the flank."""
    high, wide, inwards, front = one.between(-30, 16), one.between(10, 23), one.between(-4, 16), one.between(-10, 22)
    knots = [(-97, 6, 108 + high, wide + 1), (-103, -18, 84 + high, wide), (-101 + inwards, -28 + front / 2, 40, wide)]
    return [*knots, (-98 + inwards, -14 + front, -10, wide), (-90 + inwards / 2, 8 + front / 2, -62, wide)]


def _sigmoid(one: Individual) -> list[tuple[float, float, float, float]]:
    """From the left iliac fossa to the rectum: a short course, or a loop that rises in the middle."""
    rise, across, wide = one.between(-22, 90), one.between(-30, 34), one.between(11, 23)
    knots = [(-74, 22, -98, wide), (-38 + across / 2, 32, -122 + 0.7 * rise, wide)]
    knots += [(2 + across, 14, -114 + rise, wide), (12 + across, -22, -122 + 0.3 * rise, wide)]
    return [*knots, (0, -46, -140, 16)]


def colon_parts(individual: Individual, organ: Colon) -> list[Part]:
    """Wall, stool and gas of the colon."""
    parts = [
        Part(organ.solid, "gut wall", ("colon",)),
        Part(Common(tube_of(organ.line, -2.8), organ.solid), "stool", ("colon",)),
    ]
    pockets = _gas_pockets(individual, organ.line, 2.6, individual.between(0.12, 0.7), individual.between(80, 200))
    return parts + [Part(Common(pocket, organ.solid), "gas", ("colon",)) for pocket in pockets]


def rectum(individual: Individual) -> list[Part]:
    """From the sigmoid along the sacrum to the anal canal, between muscles."""
    size, bend, back = individual.between(0.6, 1.3), individual.between(-13, 13), individual.between(-8, 9)
    knots = [(0, -46, -142, 16 * size), (bend, -52 + back, -165, 20 * size), (-bend / 2, -50 + back, -188, 19 * size)]
    line = individual.line([*knots, (0, -42, -210, 12), (0, -46, -236, 8)], 1.5, 6)
    parts = [Part(tube_of(line), "gut wall", ("rectum",))]
    ampulla = line[: round(0.62 * len(line))].copy()
    ampulla[:, 3] -= 3.5
    parts.append(Part(tube_of(ampulla), individual.choice(["stool", "gut fluid", "stool"]), ("rectum",)))
    if individual.chance(0.7):
        gas = ampulla[1:-2] * (1, 1, 1, 0.55)
        gas[:, 1] += 0.3 * ampulla[0, 3]
        parts.append(Part(tube_of(gas), "gas", ("rectum",)))
    return parts
