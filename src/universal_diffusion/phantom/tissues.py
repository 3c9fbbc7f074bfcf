"""What each tissue of the phantom measures on CT, by contrast phase."""

from dataclasses import dataclass
from typing import Literal

Phase = Literal["plain", "arterial", "portal"]


@dataclass(frozen=True)
class Tissue:
    """Mean Hounsfield units in each phase, the amplitude of its coarse texture, and its spread among patients."""

    plain: float
    arterial: float
    portal: float
    texture: float = 4.0
    spread: float = 4.0

    def hounsfield(self, phase: Phase, uptake: float) -> float:
        """Mean HU; `uptake` scales the contrast enhancement (1 is typical)."""
        return self.plain + uptake * (getattr(self, phase) - self.plain)


TISSUES = {
    "air": Tissue(-1000, -1000, -1000, 0, 0),
    "lung": Tissue(-860, -850, -850, 22, 15),
    "bronchovascular": Tissue(30, 180, 110),
    "skin": Tissue(5, 10, 10),
    "fat": Tissue(-106, -104, -103, 7),
    "visceral fat": Tissue(-100, -97, -96, 9),
    "muscle": Tissue(54, 58, 64, 8),
    "cortical bone": Tissue(780, 780, 780, 60),
    "spongy bone": Tissue(150, 155, 165, 35, 15),
    "rib bone": Tissue(480, 480, 480, 60),
    "disc": Tissue(85, 88, 90),
    "cord": Tissue(22, 24, 26),
    "cartilage": Tissue(110, 112, 115),
    "myocardium": Tissue(45, 110, 120),
    "heart blood": Tissue(42, 230, 150),
    "artery": Tissue(43, 310, 150),
    "renal vein": Tissue(42, 140, 165),
    "upper cava": Tissue(42, 115, 150),
    "lower cava": Tissue(42, 55, 110),
    "portal blood": Tissue(42, 110, 178),
    "hepatic blood": Tissue(40, 90, 182),
    "liver": Tissue(58, 72, 112, 6, 8),
    "spleen": Tissue(48, 125, 125, 6),
    "pancreas": Tissue(40, 105, 92, 10),
    "renal cortex": Tissue(35, 190, 178, 6),
    "renal medulla": Tissue(32, 80, 160, 6),
    "renal sinus": Tissue(-60, -58, -55, 20),
    "bile": Tissue(8, 8, 9, 2, 3),
    "gallbladder wall": Tissue(30, 50, 65, 3),
    "adrenal": Tissue(32, 75, 82),
    "gut wall": Tissue(42, 88, 95, 6),
    "oesophagus wall": Tissue(42, 65, 72, 6),
    "gut fluid": Tissue(14, 14, 16, 8),
    "food": Tissue(38, 40, 40, 28),
    "oral contrast": Tissue(210, 215, 210, 25),
    "stool": Tissue(-10, -8, -5, 75, 25),
    "gas": Tissue(-960, -960, -960, 4, 10),
    "bladder wall": Tissue(42, 55, 65),
    "urine": Tissue(5, 6, 9, 2),
    "prostate": Tissue(42, 62, 78, 9),
    "seminal vesicle": Tissue(28, 38, 45, 6),
    "uterus": Tissue(48, 85, 108, 9),
    "kidney cyst": Tissue(6, 7, 8, 2),
    "kidney tumor": Tissue(36, 115, 92, 20),
    "liver tumor": Tissue(38, 48, 66, 9),
    "pancreas tumor": Tissue(36, 58, 60, 8),
    "hepatic vessel tumor": Tissue(40, 52, 70, 9),
    "necrosis": Tissue(18, 20, 24, 6),
    "lung tumor": Tissue(32, 58, 66, 12),
    "colon tumor": Tissue(44, 82, 98, 10),
    "couch shell": Tissue(60, 60, 60, 5),
    "pad": Tissue(-880, -880, -880, 5),
    "foam": Tissue(-935, -935, -935, 3),
}
