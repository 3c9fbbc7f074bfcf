"""Solid organs: liver, gallbladder, spleen, pancreas, kidneys, adrenal glands, bladder, prostate or uterus."""

import numpy as np

from universal_diffusion.phantom.constructive import Common, Grown, Union, Without
from universal_diffusion.phantom.parts import Individual, Part, tube_of
from universal_diffusion.phantom.shapes import Ellipsoid, Plane, Shape, rotation
from universal_diffusion.phantom.trunk import Trunk


def liver(one: Individual, trunk: Trunk) -> Shape:
    """Right lobe from the dome to between costal margin and iliac crest, left lobe from small to the spleen."""
    size = one.about(1.02, 0.03)
    lowered = one.between(-28, 34)
    right = Ellipsoid(
        one.point(64, -4, 134 - lowered / 2, 4),
        size * one.radii(66, 82, 92 + lowered / 2, 0.06),
        one.turn(0, -8, 0, 5),
        2.5,
    )
    left_end = one.between(-104, -18)
    middle, half = (62 + left_end) / 2, (62 - left_end) / 2
    left_radii = (half, one.between(26, 44), one.between(23, 42))
    left = Ellipsoid(one.point(middle, 44, 158, 6), left_radii, one.turn(-10, 12, 0, 8))
    caudate = Ellipsoid(one.place(18, 0, 132), one.radii(15, 15, 24, 0.15))
    slope = -0.757 * (92 - 0.9 * lowered + trunk.breath)
    visceral = Plane((-0.50, -0.42, -0.757), slope)
    spared = Without(Union(Common(right, visceral, blend=22), left, caudate, blend=24), _porta(one))
    return one.wavy(Common(spared, trunk.abdomen, blend=6), one.between(1.2, 4.0), one.between(60, 100))


def _porta(one: Individual) -> Shape:
    return Ellipsoid(one.place(26, 16, 106), (20, 8, 13), (0, -30, 10))


def gallbladder(individual: Individual, trunk: Trunk) -> list[Part]:
    """A pear under the liver, bile in a thin wall."""
    size, hang = individual.between(0.55, 1.25), individual.between(-12, 26)
    right, front = individual.between(-14, 16), individual.between(-12, 8)
    knots = [(66 + right, 56 + front, 66 - hang, 15 * size), (61 + right / 2, 48 + front / 2, 80 - hang / 2, 14 * size)]
    knots += [(53, 37, 94, 9 * size), (44, 28, 104, 4)]
    pear = Common(tube_of(individual.line(knots, 2.0, 4)), trunk.abdomen)
    return [
        Part(pear, "gallbladder wall", ("gallbladder",)),
        Part(Grown(pear, -1.8), "bile", ("gallbladder",)),
    ]


def spleen(one: Individual, trunk: Trunk) -> Shape:
    """A bean in the left upper quadrant, hollowed towards the stomach."""
    size = 0.82 + 0.44 * one.between(0, 1) ** 1.4
    turn = one.turn(-28, -12, 12, 17)
    centre = one.place(one.between(-94, -80), one.between(-42, 2), one.between(102, 158))
    bean = Ellipsoid(centre, size * one.radii(31, 46, 56, 0.09), turn, 2.5)
    hollow = Ellipsoid(centre + size * rotation(turn) @ (32, 26, 0), size * one.radii(26, 38, 62, 0.1), turn)
    return one.wavy(Common(Without(bean, hollow), trunk.abdomen, blend=5), 1.5, 45)


def pancreas(individual: Individual) -> Shape:
    """Head in the duodenal loop, neck before the portal vein, body and tail anywhere from level to steeply rising."""
    size = individual.between(0.76, 1.14)
    rise, bow, tail = individual.between(-30, 28), individual.between(-8, 12), individual.between(-14, 22)
    head = Ellipsoid(individual.point(25, 21, 48, 3), (16 * size, 14 * size, 25 * size), individual.turn(0, 10, 0, 15))
    uncinate = Ellipsoid(individual.place(13, 14, 36), (12, 7, 11))
    knots = [(22, 26, 62, 11), (4, 32, 70, 9), (-22, 32 + bow, 80 + 0.4 * rise, 11), (-48, 20 + bow, 96 + rise, 11)]
    knots.append((-74 + tail, -2 + bow / 2, 116 + 1.3 * rise, 10))
    body = individual.line([(x, y, z, r * size) for x, y, z, r in knots], 3.0, 5)
    return individual.wavy(Union(head, uncinate, tube_of(body), blend=7), 1.8, 17)


class Kidney:
    """One kidney. `outline` without its sinus is the organ; lesions may bulge from it."""

    def __init__(self, individual: Individual, side: int):
        self.individual, self.side = individual, side
        self.name = "right kidney" if side > 0 else "left kidney"
        height = individual.between(-15, 15) + (62 if side < 0 else 62 - individual.between(0, 25))
        self.centre = individual.place(side * individual.between(57, 76), individual.between(-50, -28), height)
        size = individual.between(0.88, 1.06)
        turn = (individual.about(8, 7), side * individual.about(9, 7), -side * individual.about(35, 14))
        bean = Ellipsoid(self.centre, size * individual.radii(26, 28, 52, 0.05), turn, 2.5)
        inwards = rotation(turn) @ (-side * 1.0, 0, 0)
        self.hilum = self.centre + 20 * inwards
        self.sinus = individual.wavy(Ellipsoid(self.hilum, (17, 10, 23), turn), 2.5, 17)
        self.bean = individual.wavy(bean, 1.2, 40)
        self.outline = Without(self.bean, self.sinus)
        self.pelvis = Ellipsoid(self.centre + 19 * inwards, (9, 5, 12), turn)

    def parts(self, lesions: list[Shape]) -> list[Part]:
        """Cortex, medulla, sinus and pelvis of the kidney grown around its lesions."""
        organ = Union(self.outline, *lesions)
        medulla = self.individual.wavy(Without(Grown(self.bean, -6.5), Grown(self.sinus, 2.0)), 5.0, 26)
        return [
            Part(organ, "renal cortex", (self.name,)),
            Part(Common(medulla, Grown(self.outline, -4.5)), "renal medulla", (self.name,)),
            Part(Common(self.sinus, self.bean), "renal sinus"),
            Part(self.pelvis, "urine"),
        ]


def adrenal_centre(individual: Individual, kidney: Kidney) -> np.ndarray:
    """Above and within the kidney's upper pole."""
    offset = (-23, 17, 64) if kidney.side > 0 else (28, 25, 50)
    spread = [individual.about(0, mm) for mm in (4, 4, 8)]
    return kidney.centre + offset + spread


def adrenal(individual: Individual, kidney: Kidney) -> list[Part]:
    """Two thin limbs meeting in front, above the kidney: an inverted Y."""
    side = kidney.side
    name = "right adrenal gland" if side > 0 else "left adrenal gland"
    x, y, z = adrenal_centre(individual, kidney)
    thickness, tilt = individual.about(3.0, 0.3), individual.about(0, 14)
    limb = thickness, individual.about(11, 1.5), individual.about(12, 2)
    body = Ellipsoid((x, y + 5, z), (4.2, 6, 9))
    medial = Ellipsoid((x - side * 4, y - 7, z - 2), limb, (tilt, 0, tilt - side * 18), 2.5)
    lateral = Ellipsoid((x + side * 5, y - 6, z - 4), limb, (tilt, 0, tilt + side * individual.about(26, 6)), 2.5)
    return [Part(Union(body, medial, lateral, blend=3), "adrenal", (name,))]


def bladder(individual: Individual) -> list[Part]:
    """Urine in a muscular wall, more or less full."""
    fill = individual.between(40, 380) ** (1 / 3) / 190 ** (1 / 3)
    radii = fill * individual.radii(40, 33, 31, 0.09)
    centre = (individual.about(0, 6), individual.about(12, 4), -198 + individual.about(0, 4) + radii[2])
    low = Ellipsoid(centre, radii, individual.turn(-8, 0, 0, 8), 2.5)
    return [
        Part(low, "bladder wall", ("bladder",)),
        Part(Grown(low, -3.0), "urine", ("bladder",)),
    ]


def prostate(individual: Individual) -> list[Part]:
    """Gland under the bladder, with the seminal vesicles behind it."""
    size = individual.between(0.78, 1.16)
    centre = (individual.about(0, 3), individual.about(-2, 4), individual.about(-213, 5))
    gland = Ellipsoid(centre, size * individual.radii(24, 18, 18, 0.08), individual.turn(spread=10), 2.5)
    vesicles = [
        Part(Ellipsoid((side * 15, -22, -191), (15, 5.5, 7), (0, side * 18, -side * 12)), "seminal vesicle")
        for side in (1, -1)
    ]
    return [*vesicles, Part(gland, "prostate", ("prostate",))]


def uterus(individual: Individual) -> list[Part]:
    """Womb and ovaries of a woman; no target, but what the pelvis holds instead of a prostate."""
    body = Ellipsoid(individual.point(0, -12, -152, 3), (26, 19, 30), individual.turn(-50, 0, 0))
    cervix = Ellipsoid((0, -22, -188), (14, 13, 20))
    ovaries = [Part(Ellipsoid((side * 38, -14, -148), (13, 9, 11)), "uterus") for side in (1, -1)]
    return [*ovaries, Part(Union(body, cervix, blend=8), "uterus")]
