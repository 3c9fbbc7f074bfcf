"""The walls of the body: skin, fat, muscle, diaphragm, lungs, heart, and the spaces that organs are confined to.

Template coordinates are RAS millimetres: x to the patient's right, y forwards, z upwards from the disc between the
third and fourth lumbar vertebrae.
"""

import numpy as np

from universal_diffusion.phantom.constructive import Common, Grown, Union, Without
from universal_diffusion.phantom.parts import Individual, Part, tube_of
from universal_diffusion.phantom.shapes import Column, Ellipsoid, Plane, Points, Shape, curve, rotation, tube

HEIGHTS = np.array([-260, -215, -170, -120, -70, -20, 40, 100, 160, 220, 280, 345], float)
OUTER_SIDE = np.array([140, 150, 148, 142, 134, 126, 124, 128, 132, 136, 138, 134], float)
OUTER_FRONT = np.array([66, 76, 82, 83, 83, 84, 86, 90, 92, 94, 94, 86], float)
OUTER_BACK = np.array([-100, -104, -104, -101, -97, -95, -96, -99, -103, -108, -112, -111], float)
INNER_SIDE = np.array([22, 50, 64, 96, 116, 115, 113, 116, 120, 124, 125, 120], float)
INNER_FRONT = np.array([24, 48, 64, 73, 74, 75, 77, 80, 80, 81, 81, 73], float)
INNER_BACK = np.array([-34, -60, -72, -72, -70, -70, -71, -75, -80, -86, -90, -88], float)


def _column(side: np.ndarray, front: np.ndarray, back: np.ndarray) -> Column:
    return Column(HEIGHTS, side, (front - back) / 2, (front + back) / 2)


class Diaphragm:
    """The space above the diaphragm's two domes: z > edge + (top - edge) sqrt(1 - rho^3), rho the column's radius."""

    def __init__(self, column: Column, right: float, left: float, below: float = 0.0):
        self.column, self.right, self.left, self.below = column, right, left, below
        self.bounds = np.array([[-np.inf, -np.inf, 90.0], [np.inf, np.inf, np.inf]])

    def lowered(self, by: float) -> "Diaphragm":
        """The same domes `by` mm further down."""
        return Diaphragm(self.column, self.right, self.left, self.below + by)

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance (mm, negative above the domes), exact for a slope of 45 degrees."""
        x, y, z = points.coordinates
        middle = np.exp(-((x / np.float32(32)) ** 2))
        side = np.float32(0.5) + np.arctan(x / np.float32(15)) / np.float32(np.pi)
        top = np.float32(self.left) + np.float32(self.right - self.left) * side - np.float32(9) * middle
        edge = np.float32(100) + np.float32(60) * np.clip((y + np.float32(15)) / np.float32(85), 0, 1)
        radius = np.minimum(self.column.scaled_radius(points), 1)
        height = edge + (top - edge) * np.sqrt(1 - radius**3) - np.float32(self.below)
        return (height - z) * np.float32(0.7)


class Trunk:
    """One individual's walls; `abdomen` is the space below the diaphragm that organs are cut to."""

    def __init__(self, individual: Individual, widest: float, breath: float):
        """`widest`: half width (mm) that the skin may have; `breath`: mm by which the diaphragm stands higher."""
        self.individual, self.breath = individual, breath
        self.side_fat = individual.between(10, min(45, widest - float(OUTER_SIDE.max())))
        self.front_fat, self.back_fat = individual.between(10, 42), individual.between(10, 36)
        self.outer = _column(OUTER_SIDE, OUTER_FRONT, OUTER_BACK)
        self.inner = _column(INNER_SIDE, INNER_FRONT, INNER_BACK)
        right = individual.about(222, 4) + breath
        self.above_domes = Diaphragm(self.inner, right, right - individual.about(13, 4))
        self.abdomen = Without(self.inner.wider(-2), self.above_domes.lowered(4))
        self.lungs = {"right": self._lung(1), "left": self._lung(-1)}

    def _lung(self, side: int) -> Shape:
        chest = Common(self.inner.wider(-1), self.above_domes, Plane((-side, 0, 0), -8.0), blend=6)
        return Without(chest, self._mediastinum())

    def _mediastinum(self) -> Shape:
        heart = Ellipsoid((-22, 27, 250), (62, 50, 54), (0, 0, -25))
        spine = tube([(0, -48, 90, 26), (0, -54, 220, 26), (0, -62, 350, 24)], 15)
        vessels = tube([(0, 20, 270, 34), (0, 25, 350, 32)], 15)
        aorta = tube([(-14, -22, 180, 17), (-22, -36, 250, 17), (-24, -44, 350, 18)], 15)
        return Union(heart, spine, vessels, aorta, blend=20)

    def wall(self, roll: float) -> list[Part]:
        """Skin, subcutaneous fat, muscle, the fat around the organs, and the couch beneath."""
        pelvis = Plane((0, 0, 1), -75.0)
        belly = Common(pelvis, Plane((0, -1, 0), -22.0), Plane((0, -0.6, -0.8), 112.0))
        skin = self._skin()
        return [
            *self._couch(roll),
            Part(skin, "skin"),
            Part(skin.wider(-2.5), "fat"),
            Part(self.outer, "muscle"),
            Part(Common(self.outer, pelvis), "fat"),
            Part(Common(Without(self.outer, self.outer.wider(-9)), belly), "muscle"),
            *self._hip_muscles(),
            Part(self.inner, "visceral fat"),
            *self._muscles(),
        ]

    def _skin(self) -> Column:
        """The muscles' column with the fat over it, which differs in front, behind and at the sides."""
        muscles, front, back = self.outer, self.front_fat, self.back_fat
        half_depths = muscles.half_depths + (front + back) / 2
        middles = muscles.middles + (front - back) / 2
        return Column(muscles.heights, muscles.half_widths + self.side_fat, half_depths, middles, muscles.power)

    def _couch(self, roll: float) -> list[Part]:
        """Pad and board, level in the room while the body is turned by `roll` degrees."""
        back = float(OUTER_BACK.min()) - self.back_fat
        level = (0, 0, -roll)
        pad = Ellipsoid(rotation(level) @ (0, back - 7, 0), (185, 11, 4000), level, 4)
        board = Ellipsoid(rotation(level) @ (0, back - 30, 0), (205, 12, 4000), level, 4)
        return [Part(pad, "pad"), Part(board, "couch shell"), Part(Grown(board, -2.5), "foam")]

    def _hip_muscles(self) -> list[Part]:
        """Buttocks and the upper thigh, each muscle apart from its neighbours by fat."""
        parts = []
        for side in (1, -1):
            muscles = [
                Ellipsoid((side * 62, -72, -152), (64, 26, 82), (12, 0, side * -12), 2.5),  # gluteus maximus
                Ellipsoid((side * 118, -8, -118), (25, 54, 62), (0, side * 10, side * 8), 2.5),  # medius and minimus
                Ellipsoid((side * 76, -42, -170), (38, 11, 16), (0, side * -30, side * -20)),  # piriformis, rotators
                Ellipsoid((side * 80, -26, -228), (52, 24, 30), (0, 0, 0), 2.5),  # quadratus femoris, hamstrings
                Ellipsoid((side * 48, 8, -238), (34, 28, 40), (0, 0, side * 20), 2.5),  # adductors
                Ellipsoid((side * 52, -4, -196), (12, 34, 30), (0, 0, side * 12), 2.5),  # obturator internus
                Ellipsoid((side * 112, 34, -215), (26, 22, 75), (0, side * 4, 0), 2.5),  # quadriceps, tensor fasciae
                tube([(side * 112, 46, -98, 6), (side * 96, 60, -180, 8), (side * 84, 58, -265, 9)], 12),  # sartorius
            ]
            for muscle in muscles:
                parts.append(Part(Common(muscle, self.outer), "muscle"))
        return parts

    def _muscles(self) -> list[Part]:
        parts = []
        for side in (1, -1):
            psoas = [(24, -38, 95, 6), (32, -36, 45, 15), (40, -30, -15, 20), (58, -8, -90, 21), (72, 18, -160, 17)]
            psoas.append((92, 4, -225, 13))
            line = self.individual.line([(side * x, y, z, r) for x, y, z, r in psoas], 1.5, 10)
            parts.append(Part(tube_of(line), "muscle"))
            square = self.individual.line([(side * 62, -62, 55, 6), (side * 72, -58, 0, 11), (side * 84, -50, -45, 10)])
            parts.append(Part(tube_of(square), "muscle"))
            crus = tube([(side * 14, -30, 55, 4), (side * 17, -24, 110, 5), (side * 18, -12, 170, 4)], 12)
            parts.append(Part(crus, "muscle"))
            iliacus = tube([(side * 104, -8, -62, 8), (side * 92, -4, -110, 14), (side * 76, 14, -160, 12)], 10)
            parts.append(Part(iliacus, "muscle"))
            buttock = Ellipsoid((side * 24, -62, -228), (13, 22, 24))
            parts.append(Part(buttock, "visceral fat"))
        return parts

    def chest(self) -> list[Part]:
        """Diaphragm, lungs, heart and what lies between them."""
        chest = self.inner.wider(-1)
        parts = [
            Part(Common(chest, self.above_domes.lowered(4)), "muscle"),
            Part(Common(chest, self.above_domes), "visceral fat"),
        ]
        parts += [Part(lung, "lung") for lung in self.lungs.values()]
        return parts + self._lung_vessels() + self._heart()

    def _lung_vessels(self) -> list[Part]:
        """Branches from each hilum into its lung."""
        random = self.individual
        parts = []
        for side, lung in zip((1, -1), self.lungs.values(), strict=True):
            hilum = np.array([side * 34.0, -12.0, 285.0])
            branches = []
            for _ in range(16):
                tip = hilum + np.array([side * random.between(15, 80), random.about(0, 38), random.about(-35, 40)])
                bend = (hilum + tip) / 2 + 8 * random.direction()
                branches.append(tube_of(curve([(*hilum, 4.5), (*bend, 2.6), (*tip, 1.2)], 10)))
            parts.append(Part(Common(lung, Union(*branches)), "bronchovascular"))
            parts.append(Part(tube([(0, -16, 322, 7), (side * 16, -15, 308, 6), (side * 36, -12, 288, 4)], 6), "gas"))
        return parts

    def _heart(self) -> list[Part]:
        x, y, z = self.individual.point(-22, 27, 251, 3)
        muscle = Ellipsoid((x, y, z), (56, 44, 48), (0, 0, -25))
        chambers = [
            Ellipsoid((x - 24, y - 7, z - 5), (25, 19, 28), (0, 15, -25)),
            Ellipsoid((x + 8, y + 21, z - 7), (32, 14, 28), (0, 0, -25)),
            Ellipsoid((x + 40, y - 1, z + 1), (19, 21, 28)),
            Ellipsoid((x + 20, y - 29, z + 21), (32, 16, 18)),
        ]
        within = Common(muscle, self.above_domes)
        parts = [Part(within, "myocardium")]
        parts += [Part(Common(Grown(within, -4.0), chamber), "heart blood") for chamber in chambers]
        parts.append(Part(tube([(-8, 22, 285, 14), (8, 24, 315, 15), (10, 18, 350, 14)], 12), "heart blood"))
        return parts
