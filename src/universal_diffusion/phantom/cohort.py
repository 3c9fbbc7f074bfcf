"""Who is in which dataset of the embedded cohort, and how each was scanned.

A patient is a name; the body follows from it and the study seed. Some patients stand in several datasets, as in the
real ones: the first of MSD Liver are 3D-IRCADb's, without their spacing, and all of AbdomenCT-1K comes from MSD
Pancreas (twice), Pancreas-CT, KiTS and MSD Liver (a 3D-IRCADb patient). They are the same examination there, hence the
same voxels; AbdomenCT-1K's copy from Pancreas-CT is offset in HU, that from KiTS lacks slices. A patient of MSD Spleen
was scanned for MSD Pancreas too, in another phase: the same body and no copy, as the noise is another.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.phantom.incidental import with_liver_cyst
from universal_diffusion.phantom.patient import make_patient
from universal_diffusion.phantom.scanner import Protocol, Scan, scan
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.settings import Phantom

HELD_OUT = 1000  # index of a source's first unlabelled examination
MATRIX_STEPS = (-1, 0, 1)  # in sixteenths of the configured matrix
FIELD_OF_VIEW_MM = (400, 440)


@dataclass(frozen=True)
class Plan:
    """How a source picks and scans its patients.

    Attributes:
        region: what the scan covers.
        phases: contrast phases, one drawn per case.
        findings: findings of the first, second, ... case, repeated.
        absent: organs missing in the case of that index.
        short_rows: index of a case whose field of view is wider than high.
        liver_cysts: indices of cases with a cyst in the liver.
        held_out: unlabelled examinations beside the labelled ones.
    """

    region: str
    phases: tuple[str, ...] = ("portal",)
    findings: tuple[frozenset[str], ...] = (frozenset(),)
    absent: dict[int, str] = field(default_factory=dict)
    short_rows: int | None = None
    liver_cysts: tuple[int, ...] = ()
    held_out: int = 0


def _mostly(finding: str) -> tuple[frozenset[str], ...]:
    present, none = frozenset({finding}), frozenset()
    return (present, present, none, present)


PLANS = {
    "msd03": Plan("abdomen", findings=_mostly("liver tumor"), held_out=1),
    "msd06": Plan("chest_abdomen", ("plain", "arterial"), _mostly("lung tumor"), held_out=1),
    "msd07": Plan("abdomen", findings=_mostly("pancreas tumor"), absent={1: "spleen"}, held_out=1),
    "msd08": Plan("abdomen", findings=_mostly("hepatic vessel tumor"), held_out=1),
    "msd09": Plan("abdomen", held_out=1),
    "msd10": Plan("abdomen_pelvis", findings=_mostly("colon tumor"), held_out=1),
    "btcv": Plan("abdomen", absent={1: "gallbladder"}, held_out=1),
    "kits23": Plan(
        "abdomen",
        ("arterial", "portal"),
        (frozenset({"kidney tumor", "kidney cyst"}), frozenset({"kidney tumor"}), frozenset({"kidney cyst"})),
        absent={1: "right kidney"},
        short_rows=2,
    ),
    "pancreas_ct": Plan("abdomen"),
    "amos": Plan("abdomen_pelvis", ("plain", "arterial", "portal"), absent={1: "bladder"}, short_rows=1, held_out=2),
    "word": Plan("abdomen_pelvis", ("plain", "portal"), held_out=1),
    "ircadb": Plan("abdomen", findings=(*[frozenset({"liver tumor"})] * 4, frozenset()), liver_cysts=(0, 2)),
}
SUBTASKS = (("msd07", "pancreas_ct", "msd07", "msd07"), ("msd07", "msd03", "kits23", "msd07"))  # AbdomenCT-1K, repeated
OFFSET_HU = -24  # of AbdomenCT-1K's copies from Pancreas-CT
KEPT_SLICES = (0.15, 0.9)  # of AbdomenCT-1K's copies from KiTS
RESCANNED = {("msd09", 2): ("msd07", 2)}  # the same patient on the same grid in the arterial phase
AIR_HU = -1024  # below it no dataset stores anything


@dataclass(frozen=True)
class Examination:
    """One patient scanned once.

    Attributes:
        patient: whose body; unique over all sources.
        protocol: how it is scanned.
        findings: tumours and cysts that are present.
        absent: organs that are missing.
        rows: share of the field's rows, around the middle, that the scan keeps.
        slices: where in the stack the published slices begin and end, as shares of it.
        offset_hu: added to the intensities where it was published.
        liver_cyst: whether there is a cyst in the liver, which no target names.
        spacing_lost: published with spacing (1, 1, 1), as the 3D-IRCADb scans inside MSD Liver.
    """

    patient: str
    protocol: Protocol
    findings: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    rows: float = 1.0
    slices: tuple[float, float] = (0.0, 1.0)
    offset_hu: int = 0
    liver_cyst: bool = False
    spacing_lost: bool = False

    def acquire(self, study_seed: int) -> Scan:
        """Scan the patient: the same voxels whichever dataset asks, as far as it publishes them."""
        body = make_patient(study_seed, self.patient, self.findings, self.absent)
        taken = _part(scan(body, self.protocol, study_seed), 1, *_middle(self.rows))
        whole = with_liver_cyst(taken) if self.liver_cyst else taken
        return _offset(_part(whole, 2, *self.slices), self.offset_hu)


def labelled(source: str, phantom: Phantom, study_seed: int) -> tuple[Examination, ...]:
    """The examinations whose labels a source publishes, in the order of its files."""
    if source == "abdomenct1k":
        return tuple(examination for subtask in abdomenct1k(phantom, study_seed) for examination in subtask)
    return tuple(_examination(source, index, phantom, study_seed) for index in range(_cases(source, phantom)))


def held_out(source: str, phantom: Phantom, study_seed: int) -> tuple[Examination, ...]:
    """The examinations that a source publishes without labels."""
    indices = range(HELD_OUT, HELD_OUT + PLANS[source].held_out)
    return tuple(_examination(source, index, phantom, study_seed) for index in indices)


def first_validation(cases: int) -> int:
    """Index of the first validation case where the owners divide the labelled ones: about the last third."""
    return max(1, 2 * cases // 3)


def abdomenct1k(phantom: Phantom, study_seed: int) -> tuple[tuple[Examination, ...], tuple[Examination, ...]]:
    """The examinations of the two subtasks; MSD Pancreas patients stand in both."""
    cases = _cases("abdomenct1k", phantom)
    chosen = []
    for parents, count in zip(SUBTASKS, (cases - cases // 2, cases // 2), strict=True):
        names = [parents[i % len(parents)] for i in range(count)]
        places = [names[:i].count(name) for i, name in enumerate(names)]
        chosen.append(tuple(_republished(n, i, phantom, study_seed) for n, i in zip(names, places, strict=True)))
    return chosen[0], chosen[1]


def _republished(source: str, index: int, phantom: Phantom, study_seed: int) -> Examination:
    """AbdomenCT-1K's copy; from MSD Liver it first takes the last 3D-IRCADb patient, who keeps the spacing."""
    if (source, index) == ("msd03", 0) and _leaked(phantom):
        return _examination("ircadb", _leaked(phantom) - 1, phantom, study_seed)
    copied = _examination(source, index, phantom, study_seed)
    if source == "pancreas_ct":
        return replace(copied, offset_hu=OFFSET_HU)
    return replace(copied, slices=KEPT_SLICES) if source == "kits23" else copied


def _cases(source: str, phantom: Phantom) -> int:
    if phantom.cases.get(source, 0) < 1:
        raise InputError(f"phantom.cases.{source}", "is missing or 0", "give the number of labelled cases to write")
    return phantom.cases[source]


def _examination(source: str, index: int, phantom: Phantom, study_seed: int) -> Examination:
    if source == "msd03" and index < _leaked(phantom):
        return replace(_examination("ircadb", index, phantom, study_seed), spacing_lost=True)
    if (source, index) in RESCANNED:
        first = _examination(*RESCANNED[source, index], phantom, study_seed)
        return replace(first, protocol=replace(first.protocol, phase="arterial"))
    plan = PLANS[source]
    return Examination(
        patient=f"{source}-{index + 1}",
        protocol=_protocol(plan, phantom, numpy_generator(study_seed, "protocol", source, index)),
        findings=plan.findings[index % len(plan.findings)],
        absent=frozenset({plan.absent[index]} if index in plan.absent else ()),
        rows=0.8 if index == plan.short_rows else 1.0,
        liver_cyst=index in plan.liver_cysts,
    )


def _leaked(phantom: Phantom) -> int:
    """How many of the first MSD Liver cases are 3D-IRCADb's: two fifths, at least one, and no more than that has."""
    return min(max(1, 2 * phantom.cases.get("msd03", 0) // 5), phantom.cases.get("ircadb", 0))


def _protocol(plan: Plan, phantom: Phantom, generator: np.random.Generator) -> Protocol:
    matrix = phantom.matrix + int(generator.choice(MATRIX_STEPS)) * phantom.matrix // 16
    pixel_mm = round(generator.uniform(*FIELD_OF_VIEW_MM) / matrix, 3)
    return Protocol(
        matrix=matrix,
        field_of_view_mm=pixel_mm * matrix,
        slice_spacing_mm=round(generator.uniform(*phantom.slice_spacing_mm), 2),
        region=plan.region,
        phase=str(generator.choice(plan.phases)),
    )


def _middle(share: float) -> tuple[float, float]:
    return (1 - share) / 2, (1 + share) / 2


def _part(whole: Scan, axis: int, first: float, end: float) -> Scan:
    """What lies on an axis between two shares of its length."""
    kept = [slice(None)] * 3
    kept[axis] = slice(round(first * whole.image.shape[axis]), round(end * whole.image.shape[axis]))
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, axis] * kept[axis].start
    return Scan(image=whole.image[tuple(kept)], affine=affine, labels=whole.labels[tuple(kept)])


def _offset(whole: Scan, hu: int) -> Scan:
    image = np.maximum(whole.image + np.int16(hu), AIR_HU) if hu else whole.image
    return replace(whole, image=image)
