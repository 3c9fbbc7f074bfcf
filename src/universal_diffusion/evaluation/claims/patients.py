"""Paired comparisons on every held-out patient, for claims that hold of any target and any source.

A patient counts once, with the mean over the targets that the patient's scans hold: so the interval and Wilcoxon's
test are about the same numbers, and both exist where a source holds out a single case. (A mean over targets would not
do: resampling drops the targets that one patient alone holds, and each drop changes what is averaged.) Patients are
drawn from all sources together, since one case cannot be resampled within its source; differences between sources thus
widen the interval. Copies of a scan in several sources are one patient.
"""

from collections.abc import Sequence

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.claims.evidence import POINTS, Evidence, Measured
from universal_diffusion.evaluation.scoring.cases import of_system
from universal_diffusion.evaluation.statistics import paired_p_value, summarise
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.systems import system_of


def patient_dice(evidence: Evidence, key: str) -> pd.Series:
    """Dice in points of one system by (patient, target), averaged over copies, where the truth holds the target.

    Raises InputError for a scored case that the splits do not know.
    """
    scored = of_system(evidence.cases, system_of(key))
    scored = scored[scored["truth_ml"] > 0]
    places = list(zip(scored["source"], scored["case"], strict=True))
    unknown = [place for place in places if place not in evidence.patients]
    if unknown:
        raise InputError("/".join(unknown[0]), "is scored but not in the splits", "run rule `score` again")
    patients = [evidence.patients[place] for place in places]
    return POINTS * scored.assign(patient=patients).groupby(["patient", "target"])["dice"].mean()


def patient_gains(evidence: Evidence, better: str, worse: str) -> pd.Series:
    """By patient: the mean over its targets of how much Dice, in points, one system gains over another."""
    return (patient_dice(evidence, better) - patient_dice(evidence, worse)).groupby(level="patient").mean()


def mask_over_noise(evidence: Evidence, embeddings: Sequence[str]) -> Measured:
    """Predicting z_0 against predicting noise, mean over held-out patients and the `embeddings`; n counts patients."""
    gains = [patient_gains(evidence, f"mask_{e}", f"noise_{e}") for e in embeddings]
    values = (sum(gains) / len(gains)).to_numpy()
    summary = summarise(values, numpy_generator(evidence.study_seed, "bootstrap", "claims", "patients"))
    return Measured(**vars(summary), p_value=paired_p_value(values))
