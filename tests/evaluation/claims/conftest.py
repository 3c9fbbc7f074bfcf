"""Evidence of an imagined study on real scans: its scores and the tables beside them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.evaluation.claims.evidence import Evidence
from universal_diffusion.evaluation.claims.inputs import checked_scores
from universal_diffusion.evaluation.claims.ledger import measure_all
from universal_diffusion.evaluation.claims.measured import Measured
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.preparation.splits import SplitRow
from universal_diffusion.settings import Source, Weights
from universal_diffusion.systems import VARIANTS

COST = pd.DataFrame({"space": ["latent", "pixel"], "encode_image_gflop": [0.1, 0.0], "total_gflop": [2.0, 20.0]})
NETWORKS = pd.DataFrame(
    [
        ("segresnet", "whole", 11.6),
        ("denoiser, latent space", "U-Net", 0.5),
        ("denoiser, latent space", "e_k, clip", 1e-4),
    ],
    columns=["network", "part", "gflop"],
)
SAMPLING = pd.DataFrame(
    [("no gate", ensemble, steps, 2, 0.5 + 0.01 * ensemble + 0.001 * steps) for ensemble in (1, 4) for steps in (1, 8)],
    columns=["mode", "ensemble", "steps", "cases", "dice"],
)
PUBLIC = {"msd": 945, "btcv": 30, "kits23": 489, "pancreas_ct": 80, "abdomenct1k": 722, "amos": 300, "word": 120}


def training_logs() -> dict[str, pd.DataFrame]:
    """Mask prediction is after 2 steps where noise prediction is after 6."""
    dice = {"mask": [np.nan, 0.2, np.nan, 0.5, np.nan, 0.7], "noise": [np.nan, 0.0, np.nan, 0.1, np.nan, 0.2]}
    constant = {"loss": 1.0, "seconds": 0.1, "wait_seconds": 0.0}
    return {
        system.key: pd.DataFrame({"step": range(6), "validation_dice": dice[system.key.split("_")[0]], **constant})
        for system in VARIANTS
    }


@pytest.fixture
def evidence(imagined) -> Evidence:
    """A copy of `imagined`, to change."""
    return replace(imagined, scores=imagined.scores.copy())


@pytest.fixture(scope="session")
def found(imagined) -> dict[str, Measured]:
    """Every measurement of the ledger."""
    return measure_all(imagined)


@pytest.fixture(scope="session")
def imagined(scored_cases, published) -> Evidence:
    """Evidence with pretrained CLIP: each case a patient of its own, and one training case of every source.

    The spread of Dice over patients is that of `cases`; the variance map finds errors with an area of 0.7.
    """
    cases, generator = scored_cases.copy(), np.random.default_rng(3)
    cases["uncertainty"] = 1 - cases["dice"] + 0.01 * generator.random(len(cases))
    cases["error_auroc"] = 0.7
    cases["truth_ml"] = 5.0 + cases["target"].str.len()
    cases[["uncertainty", "error_auroc"]] = cases[["uncertainty", "error_auroc"]].where(cases["variant"] != "")
    annotated = cases.groupby(["source", "case"])["target"].unique().str.join("|")
    parts = cases.drop_duplicates(["source", "case"]).set_index(["source", "case"])[["dataset", "part"]]
    places = parts.sort_index()
    splits = [
        SplitRow(s, d, c, f"{s}/{c}", part, "")
        for (s, c), (d, part) in zip(places.index, places.to_numpy(), strict=True)
    ]
    sources = sorted(set(cases["source"]))
    splits += [SplitRow(name, name, "trained", f"{name}/trained", "train", "") for name in sources if name != "ircadb"]
    shown = {place: annotated[place] for place in annotated.index}
    shown |= {(row.source, row.case): shown[row.source, "case_0"] for row in splits if row.part == "train"}
    inventory = pd.DataFrame(
        [(*place, names) for place, names in shown.items()], columns=["source", "case", "annotated"]
    )
    validated = cases[(cases["part"] == "validation") & (cases["variant"] == "mask_clip")]
    return Evidence(
        scores=checked_scores(cases, splits, inventory),
        cost=COST,
        networks=NETWORKS,
        sampling=SAMPLING,
        table1=pd.DataFrame({"dataset": list(PUBLIC), "public_cases": list(PUBLIC.values())}),
        ceiling=validated[["source", "case", "target"]].assign(dice=0.96),
        inventory=inventory,
        published={table: read_published(published, table) for table in (1, 2, 3)},
        sources={name: Source("local", "test" if name == "ircadb" else "train", name) for name in {*sources, *PUBLIC}},
        weights=Weights("download"),
        splits=tuple(splits),
        logs=training_logs(),
        study_seed=1,
    )
