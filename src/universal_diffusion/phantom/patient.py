"""A synthetic patient: which organs and findings a body has, and every part of it in paint order.

Later parts displace earlier ones, so solid organs are painted after bowel and vessels after organs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from universal_diffusion.phantom import bowel, organs, skeleton, vessels
from universal_diffusion.phantom import findings as disease
from universal_diffusion.phantom.constructive import Grown, Union, Without
from universal_diffusion.phantom.parts import Drift, Individual, Part
from universal_diffusion.phantom.pose import Pose
from universal_diffusion.phantom.shapes import Ellipsoid, Shape
from universal_diffusion.phantom.tissues import TISSUES, Phase
from universal_diffusion.phantom.trunk import Trunk
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.targets import all_targets, target

ORGANS = frozenset(known.name for known in all_targets()) - frozenset(disease.HOSTS)
WIDEST_MM = 190.0  # half width of a body that the usual field of view still holds
ROLL_DEGREES = 8.0


@dataclass(frozen=True)
class Patient:
    """One body, the same in every scan of it.

    Attributes:
        name: the patient's identity within the study.
        pose: proportions, and how the body lies in the scanner.
        uptake: contrast enhancement against the typical one.
        offsets: (tissue, HU) by which this patient's tissues differ from the table.
        parts: everything there is, in paint order, in template coordinates (mm, RAS).
    """

    name: str
    pose: Pose
    uptake: float
    offsets: tuple[tuple[str, float], ...]
    parts: tuple[Part, ...]

    def hounsfield(self, tissue: str, phase: Phase) -> float:
        """Mean HU of a tissue of this patient in a contrast phase."""
        return TISSUES[tissue].hounsfield(phase, self.uptake) + dict(self.offsets).get(tissue, 0.0)


def make_patient(
    study_seed: int, patient: str, findings: frozenset[str] = frozenset(), absent: frozenset[str] = frozenset()
) -> Patient:
    """The patient of that name in a study: the same arguments give the same body.

    Args:
        study_seed: the study's seed.
        patient: name; it alone decides sex, size and shape of everything.
        findings: tumours and the cyst that must be there; there are no others.
        absent: organs that were removed.

    Raises:
        InputError: for a name that is no target, or a finding without its organ.
    """
    absent = frozenset(target(name).name for name in absent)
    findings = frozenset(target(name).name for name in findings)
    disease.require_hosts(findings, absent, f"phantom patient {patient!r}")
    anatomy = _Anatomy(study_seed, patient, findings, absent)
    blood = anatomy.individual("blood")
    offsets = {name: blood.about(0, tissue.spread) for name, tissue in sorted(TISSUES.items())}
    offsets["liver"] -= blood.between(0, 16) if blood.chance(0.3) else 0.0  # a fatty one
    uptake = blood.between(0.75, 1.25)
    return Patient(patient, anatomy.pose, uptake, tuple(offsets.items()), anatomy.parts())


def _pose(one: Individual) -> Pose:
    """Proportions within 0.85 to 1.15 (width to 1.10), and how the body lies."""
    size = np.array([one.between(0.86, 1.10), one.between(0.85, 1.13), one.between(0.87, 1.13)])
    roll = float(np.deg2rad(one.between(-ROLL_DEGREES, ROLL_DEGREES)))
    shift = np.array([one.between(-9, 9), one.between(-15, 15)])
    curve = one.between(0, 9), one.between(0, 2 * np.pi)
    warp = one.random.uniform(0.3, 1.6, (3, 3)), one.random.uniform(0, 2 * np.pi, (3, 3))
    return Pose(size, roll, shift, curve, warp)


class _Anatomy:
    """Puts one body together; each organ varies by a generator of its own, so none changes when another is absent."""

    def __init__(self, study_seed: int, name: str, findings: frozenset[str], absent: frozenset[str]):
        self.study_seed, self.name, self.findings = study_seed, name, findings
        self.male = self.individual("sex").chance(0.6)
        self.present = ORGANS - absent - (frozenset() if self.male else {"prostate"})
        self.pose = _pose(self.individual("pose"))
        breath = self.individual("breath").between(-20, 14)
        self.drift = Drift(self.individual("drift").random, breath)
        self.trunk = Trunk(self.individual("trunk"), WIDEST_MM / self.pose.size[0], breath)

    def individual(self, purpose: str) -> Individual:
        return Individual(numpy_generator(self.study_seed, "patient", self.name, purpose))

    def organ(self, purpose: str) -> Individual:
        """Draws for soft organs, which lie where this body has them."""
        return Individual(numpy_generator(self.study_seed, "patient", self.name, purpose), self.drift)

    def parts(self) -> tuple[Part, ...]:
        """Every part in paint order."""
        roll = float(np.rad2deg(self.pose.roll))
        groups = [self.trunk.wall(roll), self.trunk.chest(), self._bones(), self._bowel(), self._pelvis()]
        groups += [self._upper_abdomen(), self._retroperitoneum(), self._vessels(), self._lesions()]
        return tuple(part for group in groups for part in group)

    def _bones(self) -> list[Part]:
        one = self.individual("bones")
        return (
            skeleton.spine(one) + skeleton.ribs(self.trunk) + skeleton.pelvis(self.individual("pelvis"), self.present)
        )

    def _bowel(self) -> list[Part]:
        parts = vessels.mesenteric_twigs(self.organ("mesentery"))
        if "intestine" in self.present:
            parts += bowel.intestine(self.individual("intestine"), self.trunk)
        if "colon" in self.present:
            parts += bowel.colon_parts(self.individual("colon contents"), self._colon())
        return parts

    def _colon(self) -> bowel.Colon:
        return bowel.colon(self.organ("colon"), self.trunk)

    def _pelvis(self) -> list[Part]:
        makers = {"rectum": bowel.rectum, "bladder": organs.bladder, "prostate": organs.prostate}
        parts = [] if self.male else organs.uterus(self.individual("uterus"))
        return parts + self._made(makers)

    def _made(self, makers: dict[str, Callable[[Individual], list[Part]]]) -> list[Part]:
        present = [name for name in makers if name in self.present]
        return [part for name in present for part in makers[name](self.individual(name))]

    def _upper_abdomen(self) -> list[Part]:
        parts = bowel.oesophagus(self.individual("esophagus")) if "esophagus" in self.present else []
        if "stomach" in self.present:
            parts += bowel.stomach(self.organ("stomach"), self.trunk)
        if "liver" in self.present:
            parts.append(Part(self._liver(), "liver", ("liver",)))
        if "spleen" in self.present:
            spleen = Without(organs.spleen(self.organ("spleen"), self.trunk), self._beds())
            parts.append(Part(spleen, "spleen", ("spleen",)))
        return parts

    def _liver(self) -> Shape:
        return Without(organs.liver(self.organ("liver"), self.trunk), self._beds())

    def _beds(self) -> Shape:
        """The fat around both kidneys and the right adrenal gland, which stays when they are gone."""
        kidneys = self._kidneys()
        gland = organs.adrenal_centre(self.organ("right adrenal gland"), kidneys[0])
        behind_cava = Ellipsoid(gland + np.array([-12, -8, -2]), (26, 19, 22))
        return Union(*[Grown(kidney.bean, 4.0) for kidney in kidneys], behind_cava)

    def _kidneys(self) -> list[organs.Kidney]:
        return [organs.Kidney(self.organ(f"kidney {side}"), side) for side in (1, -1)]

    def _retroperitoneum(self) -> list[Part]:
        parts = []
        lesions = self._kidney_lesions()
        for kidney in self._present_kidneys():
            parts += kidney.parts([shape for _, owner, shape in lesions if owner.name == kidney.name])
        for kidney, name in zip(self._kidneys(), ("right adrenal gland", "left adrenal gland"), strict=True):
            if name in self.present:
                parts += organs.adrenal(self.organ(name), kidney)
        if "duodenum" in self.present:
            parts += bowel.duodenum(self.organ("duodenum"))
        if "pancreas" in self.present:
            parts.append(Part(self._pancreas(), "pancreas", ("pancreas",)))
        if "gallbladder" in self.present:
            parts += organs.gallbladder(self.organ("gallbladder"), self.trunk)
        return parts

    def _present_kidneys(self) -> list[organs.Kidney]:
        return [kidney for kidney in self._kidneys() if kidney.name in self.present]

    def _kidney_lesions(self) -> list[tuple[str, organs.Kidney, Shape]]:
        kidneys = self._present_kidneys()
        return disease.kidney_lesions(self.individual("kidney lesions"), kidneys, self.findings) if kidneys else []

    def _pancreas(self) -> Shape:
        return Union(organs.pancreas(self.organ("pancreas")), *self._pancreas_lesions(), blend=4)

    def _pancreas_lesions(self) -> list[Shape]:
        if "pancreas tumor" not in self.findings:
            return []
        one = self.individual("pancreas lesion")
        return disease.lesions(one, organs.pancreas(self.organ("pancreas")), (9, 16), 1, 0.4)

    def _vessels(self) -> list[Part]:
        parts = vessels.iliac_veins()
        hila = [kidney.hilum for kidney in self._kidneys()]
        if "inferior vena cava" in self.present:
            parts += vessels.cava(self.individual("cava"), hila)
        parts += vessels.arteries(self.organ("aorta"), "aorta" in self.present, hila)
        if "portal vein and splenic vein" in self.present:
            parts += vessels.portal(self.organ("portal"))
        if "hepatic vessel" in self.present and "liver" in self.present:
            parts += vessels.hepatic(self.organ("hepatic"))
        return parts

    def _lesions(self) -> list[Part]:
        parts = [Part(shape, name, (name,), (kidney.name,)) for name, kidney, shape in self._kidney_lesions()]
        if self.findings & {"liver tumor", "hepatic vessel tumor"}:
            parts += disease.liver_parts(self.individual("liver lesions"), self._liver(), self.findings)
        for shape in self._pancreas_lesions():
            parts.append(Part(shape, "pancreas tumor", ("pancreas tumor",), ("pancreas",)))
        if "lung tumor" in self.findings:
            one = self.individual("lung lesion")
            parts += disease.lung_parts(one, self.trunk.lungs[one.choice(["right", "left"])])
        if "colon tumor" in self.findings:
            parts += disease.colon_tumor_parts(self.individual("colon lesion"), self._colon())
        return parts
