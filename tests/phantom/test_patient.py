"""The synthetic patient: plausible organs in their places, findings in their organs, nothing asked for missing."""

import numpy as np
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.phantom.findings import HOSTS
from universal_diffusion.phantom.patient import make_patient
from universal_diffusion.phantom.scanner import Protocol, Scan, scan
from universal_diffusion.targets import all_targets, bits, mask

WHOLE = Protocol(96, 400.0, 6.0, "whole", "portal")
ALL_FINDINGS = frozenset(HOSTS)
SPECIAL = frozenset({"hepatic vessel", "kidney cyst"})  # organs that lie in another organ
PLAUSIBLE_ML = {
    "spleen": (40, 500),
    "right kidney": (90, 300),
    "left kidney": (90, 300),
    "gallbladder": (5, 70),
    "esophagus": (18, 60),
    "liver": (900, 2400),
    "stomach": (40, 850),
    "aorta": (65, 280),
    "inferior vena cava": (50, 230),
    "portal vein and splenic vein": (6, 35),
    "pancreas": (25, 130),
    "right adrenal gland": (2, 8),
    "left adrenal gland": (2, 8),
    "duodenum": (35, 170),
    "hepatic vessel": (15, 60),
    "colon": (350, 1800),
    "intestine": (280, 1200),
    "rectum": (25, 200),
    "bladder": (30, 550),
    "prostate": (12, 75),
    "left head of femur": (30, 90),
    "right head of femur": (30, 90),
    "kidney cyst": (1, 45),
    "kidney tumor": (4, 120),
    "liver tumor": (0.5, 250),
    "pancreas tumor": (1.5, 25),
    "hepatic vessel tumor": (0.5, 250),
    "lung tumor": (1, 50),
    "colon tumor": (1, 50),
}


def millilitres(taken: Scan, name: str) -> float:
    return float(mask(taken.labels, name).sum() * np.prod(np.diag(taken.affine)[:3]) / 1000)


@pytest.fixture(scope="module")
def cohort() -> list[Scan]:
    return [scan(make_patient(11, f"person {k}", ALL_FINDINGS), WHOLE, 11) for k in range(7)]


def test_every_target_has_a_plausible_size(cohort):
    for target in all_targets():
        sizes = [size for size in (millilitres(taken, target.name) for taken in cohort) if size]
        low, high = PLAUSIBLE_ML[target.name]
        assert sizes, f"{target.name} is in no scan"
        assert low <= min(sizes), (target.name, sizes)
        assert max(sizes) <= high, (target.name, sizes)
        assert target.name == "prostate" or len(sizes) == len(cohort), target.name


def test_individuals_differ(cohort):
    livers = [millilitres(taken, "liver") for taken in cohort]
    assert np.std(livers) / np.mean(livers) > 0.08


def test_sides_are_the_patients(cohort):
    for taken in cohort:
        x = np.arange(taken.labels.shape[0]) * taken.affine[0, 0] + taken.affine[0, 3]  # rises to the patient's right

        def place(name, taken=taken, x=x):
            return x[np.nonzero(mask(taken.labels, name))[0]].mean()

        for organ in ("liver", "gallbladder", "right kidney", "right adrenal gland", "right head of femur"):
            assert place(organ) > 10, organ
        for organ in ("spleen", "stomach", "left kidney", "left adrenal gland", "left head of femur"):
            assert place(organ) < -10, organ
        assert place("inferior vena cava") > place("aorta")


def test_upper_organs_lie_above_lower_ones(cohort):
    for taken in cohort:
        heights = [
            np.nonzero(mask(taken.labels, name))[2].mean() for name in ("lung tumor", "liver", "duodenum", "bladder")
        ]
        assert heights == sorted(heights, reverse=True)


def test_findings_lie_in_their_organs(cohort):
    hosts = {name: set(parents) for name, parents in HOSTS.items() if parents} | {"hepatic vessel": {"liver"}}
    for taken in cohort:
        for name, parents in hosts.items():
            inside = mask(taken.labels, name)
            assert np.all(taken.labels[inside] & bits(parents)), name


def test_siblings_do_not_overlap(cohort):
    siblings = [t for t in all_targets() if t.kind == "organ" and t.name not in SPECIAL]
    for taken in cohort:
        assert sum(mask(taken.labels, t.name).astype(int) for t in siblings).max() == 1
        tumours = [t.name for t in all_targets() if t.kind == "tumour"] + ["kidney cyst", "hepatic vessel"]
        assert sum(mask(taken.labels, name).astype(int) for name in tumours).max() == 1


def test_only_the_findings_asked_for_are_there():
    healthy = scan(make_patient(11, "patient 0"), WHOLE, 11)
    assert not any(mask(healthy.labels, name).any() for name in HOSTS)
    one = scan(make_patient(11, "patient 0", frozenset({"liver tumor"})), WHOLE, 11)
    assert {name for name in HOSTS if mask(one.labels, name).any()} == {"liver tumor"}


def test_a_finding_leaves_the_other_organs_as_they_are():
    healthy = scan(make_patient(11, "patient 1"), WHOLE, 11)
    ill = scan(make_patient(11, "patient 1", frozenset({"kidney tumor"})), WHOLE, 11)
    for name in ("liver", "spleen", "aorta", "bladder"):
        assert np.array_equal(mask(healthy.labels, name), mask(ill.labels, name)), name


@pytest.mark.parametrize("name", ["gallbladder", "spleen", "left kidney", "liver", "stomach", "colon", "aorta"])
def test_absent_organs_are_gone(name):
    coarse = Protocol(64, 400.0, 10.0, "whole", "plain")
    taken = scan(make_patient(11, "patient 2", absent=frozenset({name})), coarse, 11)
    assert not mask(taken.labels, name).any()
    assert mask(taken.labels, "right kidney").any()


def test_a_kidney_finding_goes_to_the_kidney_that_is_left():
    patient = make_patient(11, "one kidney", frozenset({"kidney tumor", "kidney cyst"}), frozenset({"left kidney"}))
    taken = scan(patient, WHOLE, 11)
    for name in ("kidney tumor", "kidney cyst"):
        inside = mask(taken.labels, name)
        assert inside.any()
        assert np.all(mask(taken.labels, "right kidney")[inside])


@pytest.mark.parametrize(
    ("findings", "absent", "said"),
    [
        ({"liver tumor"}, {"liver"}, "which is absent"),
        ({"spleen"}, set(), "is no finding"),
        ({"brain tumor"}, set(), "none of the 29"),
        (set(), {"appendix"}, "none of the 29"),
    ],
)
def test_impossible_patients_are_refused(findings, absent, said):
    with pytest.raises(InputError, match=said):
        make_patient(1, "p", frozenset(findings), frozenset(absent))
