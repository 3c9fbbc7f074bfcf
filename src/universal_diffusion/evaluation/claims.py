"""Step: the claims ledger - each claim of the paper that a number can settle, and what this study measured.

    python -m universal_diffusion.evaluation.claims --cases F --cost F --published F --sources JSON --weights JSON
        --study-seed N --cohort TEXT --output-csv F --output-md F

A verdict holds for the cohort it was measured on. "supported" needs an interval wholly on the claim's side of no
effect and not wholly below the size that is claimed.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import evidence as measure
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.cases import read_cases
from universal_diffusion.evaluation.evidence import Evidence, Measured
from universal_diffusion.evaluation.published import read_published
from universal_diffusion.files import write_text
from universal_diffusion.settings import Source, Weights, read, read_json

SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable on this cohort"
FEWEST_CASES = 6  # below, Wilcoxon's two-sided test cannot reach 0.05
NO_PIXEL_MODEL = "no pixel-space model is trained here"
NO_LOG = "the study compares finished models, not their scores along training"
NO_VAE = "the study trains the mask auto-encoder without regularisation only"


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, how it is tested, and the size it names (None for a direction only)."""

    key: str
    section: str
    quote: str
    test: str
    measure: Callable[[Evidence], Measured]
    claimed: float | None = None


CLAIMS = (
    Claim(
        "mask_over_noise",
        "section 3.2",
        "This adjustment leverages the conditionally strong signal from the image itself, allowing the model to focus "
        "on capturing finer details in segmentation. [...] As shown in Table 2, this approach has proven advantageous",
        "Dice of mask less noise prediction, paired by case; mean over the targets of Table 2 and both embeddings",
        measure.mask_over_noise,
    ),
    Claim(
        "smaller_structures",
        "section 3.2",
        "this approach has proven advantageous, particularly for smaller structures",
        "the same gain on the tumours of Table 2 less that on its organs",
        measure.tumours_over_organs,
    ),
    Claim(
        "liver_tumours",
        "section 3.2",
        "liver tumors(+13.5%)",
        "Dice of mask less noise prediction on the liver tumours of MSD, CLIP rows",
        measure.liver_tumours,
        13.5,
    ),
    Claim(
        "pancreas_tumours",
        "section 3.2",
        "pancreatic tumors(+7%)",
        "Dice of mask less noise prediction on the pancreas tumours of MSD, learnt rows",
        measure.pancreas_tumours,
        7.0,
    ),
    Claim(
        "clip_over_learnt",
        "Table 2",
        "Mask, CLIP: seven of nine targets in bold",
        "Dice of CLIP less learnt embeddings, masks predicted, paired by case; mean over the targets of Table 2",
        measure.clip_over_learnt,
    ),
    Claim(
        "faster_convergence",
        "section 2.2",
        "We find that parameterizing μθ by predicting z0 leads to faster convergence",
        "none",
        measure.not_run(NO_LOG),
    ),
    Claim(
        "plain_mask_latents",
        "section 2.1",
        "regularised latent spaces are redundant for encoding a binary segmentation mask, and increase the convergence "
        "time of the segmentation model",
        "none",
        measure.not_run(NO_VAE),
    ),
    Claim(
        "latent_cost",
        "abstract",
        "By performing diffusion fully in latent space, we achieve comparable results to pixel-space diffusion with "
        "significantly lower computational cost",
        "operations of the same network on the pixel grid, as a multiple of latent sampling with its auto-encoders",
        measure.latent_saves,
    ),
    Claim(
        "latent_quality",
        "abstract",
        "we achieve comparable results to pixel-space diffusion",
        "none",
        measure.not_run(NO_PIXEL_MODEL),
    ),
    Claim(
        "second_best",
        "section 3.2.1",
        "achieves an average Dice score of 86.98% on the 3D-IRCADb dataset, ranking as the second-best model overall",
        "our average over seven organs less the second-highest average that Table 3 prints for another model",
        measure.over_second_best,
    ),
    Claim(
        "outperforms_specialised",
        "section 3.2.1",
        "it consistently outperforms several specialized models, such as nnFormer and Swin UNETR",
        "our organ mean less the better of the two printed for that organ, at the organ where this is least",
        measure.over_nnformer,
    ),
    Claim(
        "competitive",
        "abstract",
        "competitive performance against existing deep learning-based discriminative approaches",
        "Dice of ours less that of SegResNet trained on the same split, paired by patient; mean over seven organs",
        measure.over_segresnet,
    ),
    Claim(
        "pancreas_weakest",
        "section 3.2.1",
        "our model struggles with certain structures, such as the pancreas (Dice score of 81.63%)",
        "mean Dice of the weakest other organ less that of the pancreas (Table 3 itself prints the stomach lowest)",
        measure.pancreas_is_weakest,
    ),
    Claim(
        "generalises",
        "abstract",
        "it shows strong generalization capabilities on unseen datasets",
        "Dice on the unseen set less that of a mask placed by the outline of the body; mean over seven organs",
        measure.over_prior,
    ),
)


def verdict(measured: Measured, claimed: float | None) -> tuple[str, str]:
    """The verdict and its reason. Never "supported" when the interval holds the value that says nothing."""
    if measured.obstacle:
        return NOT_TESTABLE, measured.obstacle
    if measured.n is not None and measured.n < FEWEST_CASES:
        return NOT_TESTABLE, f"{measured.n} cases; fewer than {FEWEST_CASES} cannot settle it"
    if math.isnan(measured.low):
        return NOT_TESTABLE, "no interval: a source has a single case"
    if not measured.low > measured.null:
        spans = measured.high >= measured.null
        return NOT_SUPPORTED, f"the interval holds {measured.null:g}" if spans else "the opposite was measured"
    if claimed is not None and measured.high < claimed:
        return NOT_SUPPORTED, f"in the claimed direction, but the whole interval lies below {claimed:g}"
    return (
        SUPPORTED,
        "the whole interval lies on the claimed side" if measured.n is not None else "counted, not sampled",
    )


def ledger(evidence: Evidence) -> pd.DataFrame:
    """One row per claim: claim, section, quote, test, claimed, measured, low, high, n, p_value, verdict, reason."""
    rows = []
    for claim in CLAIMS:
        measured = claim.measure(evidence)
        decided, reason = verdict(measured, claim.claimed)
        rows.append(
            {
                "claim": claim.key,
                "section": claim.section,
                "quote": claim.quote,
                "test": claim.test,
                "claimed": claim.claimed,
                "measured": measured.value,
                "low": measured.low,
                "high": measured.high,
                "n": measured.n,
                "p_value": measured.p_value,
                "verdict": decided,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows).astype({"n": "Int64"})


def printed_ledger(rows: pd.DataFrame, cohort: str) -> tables.Printed:
    """The ledger as a table to read."""
    texts = pd.DataFrame(
        {
            "Claim": [f"“{row.quote}” ({row.section})" for row in rows.itertuples()],
            "Test": rows["test"],
            "Measured": [_measured_text(row) for row in rows.itertuples()],
            "Verdict": rows["verdict"],
            "Reason": rows["reason"],
        }
    )
    caption = f"The paper's claims, tested on: {cohort}. A verdict holds for this cohort only."
    notes = (
        "Dice in points; 95 % bootstrap intervals over cases; p: Wilcoxon's signed-rank test over cases.",
        "Not testable: too few cases, a comparison that needs real scans or pretrained weights, an experiment not run.",
    )
    return tables.Printed(texts, tables.unmarked(texts), caption, notes, "tab:claims")


def _measured_text(row) -> str:
    if pd.isna(row.measured):
        return tables.NOTHING
    if pd.isna(row.n):
        return f"{row.measured:.1f} times (counted)"
    interval = "" if pd.isna(row.low) else f" [{row.low:+.1f}, {row.high:+.1f}]"
    p_value = "" if pd.isna(row.p_value) else f", p={row.p_value:.2g}"
    return f"{row.measured:+.1f}{interval}, n={row.n}{p_value}"


@one_line_errors
def main() -> None:
    """Write the ledger."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--cases", "--cost", "--published"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--sources", required=True, help="JSON of the section `sources`")
    parser.add_argument("--weights", required=True, help="JSON of the section `weights`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser, ("csv", "md"))
    arguments = parser.parse_args()
    evidence = Evidence(
        read_cases(arguments.cases),
        pd.read_csv(arguments.cost),
        {table: read_published(arguments.published, table) for table in (2, 3)},
        {
            name: read(Source, content, f"configuration.sources.{name}")
            for name, content in json.loads(arguments.sources).items()
        },
        read_json(Weights, arguments.weights, "configuration.weights"),
        arguments.study_seed,
    )
    rows = ledger(evidence)
    tables.write_csv(arguments.output_csv, rows)
    write_text(arguments.output_md, tables.markdown(printed_ledger(rows, arguments.cohort)))


if __name__ == "__main__":
    main()
