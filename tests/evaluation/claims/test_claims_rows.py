"""The step's files: every measured value follows, in plain pandas, from the rows that claims_rows.csv lists for it."""

import json
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from universal_diffusion.evaluation.claims.paper_claims import CLAIMS
from universal_diffusion.evaluation.claims.settle import TABLES, main
from universal_diffusion.evaluation.scoring.cases import COLUMNS, write_cases
from universal_diffusion.preparation.splits import write_splits

ROOT = Path(__file__).parents[3]
STORED = {
    "cost": "tables/cost.csv",
    "networks": "tables/networks.csv",
    "sampling": "tables/sampling.csv",
    "table1": "tables/table1.csv",
    "ceiling": "models/mask_autoencoder/ceiling.csv",
    "inventory": "inventory.csv",
}
IDENTITY = ["system", "variant", "source", "case", "target"]
PLACE = ["table", "row", "column"]
OURS, PEER, PRIOR = "mask_clip", "segresnet", "prior_mask"
VARIANTS = ("noise_learnt", "noise_clip", "mask_learnt", "mask_clip")


@pytest.fixture(scope="module")
def results(imagined, tmp_path_factory) -> Path:
    """A results folder with what the step reads, and what two runs of it wrote: claims.* and again.*."""
    folder = tmp_path_factory.mktemp("results")
    for name, path in STORED.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        getattr(imagined, name).to_csv(folder / path, index=False)
    (folder / "scores").mkdir()
    write_cases(folder / "scores/cases.csv", imagined.scores[COLUMNS])
    write_splits(folder / "splits.csv", imagined.splits)
    for variant, log in imagined.logs.items():
        (folder / "models" / variant).mkdir()
        log.to_csv(folder / f"models/{variant}/log.csv", index=False)
    sources = {name: {"origin": "local", "role": source.role, "path": "x"} for name, source in imagined.sources.items()}
    flags = ["--cases", folder / "scores/cases.csv", "--splits", folder / "splits.csv"]
    flags += [part for name in TABLES for part in (f"--{name}", folder / STORED[name])]
    flags += ["--published", ROOT / "config/published.csv"]
    flags += ["--logs", *(folder / f"models/{variant}/log.csv" for variant in VARIANTS)]
    flags += ["--sources", json.dumps(sources), "--weights", json.dumps(asdict(imagined.weights))]
    flags += ["--study-seed", "1", "--cohort", "imagined"]
    with pytest.MonkeyPatch.context() as patch:
        for run in ("claims", "again"):
            outputs = [part for kind in ("csv", "md", "tex") for part in (f"--output-{kind}", folder / f"{run}.{kind}")]
            outputs += ["--output-rows", folder / f"{run}_rows.csv"]
            patch.setattr(sys, "argv", ["settle", *map(str, [*flags, *outputs])])
            main()
    return folder


def plain(path: Path) -> pd.DataFrame:
    """A CSV in which every cell is text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def values_of(results: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the `value` that each names, the `patient` it shows, and who was scored (`who`)."""
    scored = rows["table"] == "scores/cases.csv"
    scores = plain(results / "scores/cases.csv").melt(IDENTITY, var_name="column", value_name="value")
    known = rows[scored].merge(scores, "left", on=[*IDENTITY, "column"], validate="many_to_one")
    others = rows[~scored].assign(value=[cell(results, *place) for place in rows.loc[~scored, PLACE].to_numpy()])
    named = others["row"].str.extract("^source=(?P<source>.+) & case=(?P<case>.+) & target=(?P<target>.+)$")
    others[["source", "case", "target"]] = named.fillna("")
    groups = plain(results / "splits.csv")[["source", "case", "group"]].rename(columns={"group": "patient"})
    found = pd.concat([known, others]).merge(groups, "left", on=["source", "case"])
    return found.assign(who=found["variant"].where(found["variant"] != "", found["system"]))


def cell(results: Path, table: str, row: str, column: str) -> str:
    """The one cell that a row of claims_rows.csv names in a table other than the scores."""
    chosen = stored(ROOT if table.startswith(("config/", "src/")) else results, table)
    for name, wanted in (part.split("=", 1) for part in row.split(" & ")):
        chosen = chosen[chosen[name] == wanted]
    assert len(chosen) == 1, (table, row)
    return chosen.iloc[0][column]


@cache
def stored(folder: Path, table: str) -> pd.DataFrame:
    """A table of the folder."""
    return plain(folder / table)


def points(rows: pd.DataFrame, who: str, column: str = "dice", by=("source", "target")) -> pd.DataFrame:
    """Per cent by patient, and by target and source or target alone, of one system."""
    chosen = rows[(rows["who"] == who) & (rows["column"] == column)]
    return 100 * chosen["value"].astype(float).groupby([chosen["patient"], *(chosen[name] for name in by)]).mean()


def table_mean(first: str, second: str):
    """Mean over targets of the mean difference over patients."""
    return lambda rows: (points(rows, first) - points(rows, second)).groupby(["source", "target"]).mean().mean()


def gains(rows: pd.DataFrame, embeddings) -> pd.Series:
    """What mask gains over noise prediction by patient and target."""
    each = [points(rows, f"mask_{e}", by=["target"]) - points(rows, f"noise_{e}", by=["target"]) for e in embeddings]
    return sum(each) / len(each)


def patient_mean(values: pd.Series) -> float:
    """Mean over patients of the mean over their targets."""
    return values.groupby("patient").mean().mean()


def held_out(*embeddings: str):
    """Mask over noise prediction, mean over patients."""
    return lambda rows: patient_mean(gains(rows, embeddings))


def over(first: str, second: str):
    """One system over another, mean over patients."""
    return lambda rows: patient_mean(points(rows, first, by=["target"]) - points(rows, second, by=["target"]))


def printed_figure(rows: pd.DataFrame) -> float:
    """The one printed figure among the rows."""
    return rows.loc[rows["table"] == "config/published.csv", "value"].astype(float).item()


def over_printed(rows: pd.DataFrame) -> float:
    """Our mean over targets less a printed figure."""
    return points(rows, OURS, "dice_clip_universal").groupby("target").mean().mean() - printed_figure(rows)


def ratio(first: str, second: str):
    """The value of the row that names `first` over that of the one that names `second`."""
    return lambda rows: np.divide(
        *(float(rows.loc[rows["row"].str.contains(n), "value"].item()) for n in (first, second))
    )


def small_gain_more(rows: pd.DataFrame) -> float:
    """Mean rank correlation within patients, three targets or more."""
    both = pd.DataFrame({"gain": gains(rows, ("learnt", "clip")), "size": points(rows, OURS, "truth_ml", ["target"])})
    sizes = both.groupby("patient").filter(lambda own: len(own) > 2)
    return np.mean([spearmanr(own["gain"], -own["size"]).statistic for _, own in sizes.groupby("patient")])


def tumours(rows: pd.DataFrame) -> float:
    """The gain on tumours less that on organs, means over targets."""
    means = gains(rows, ("learnt", "clip")).groupby("target").mean()
    tumour = means.index.str.contains("tumor")
    return means[tumour].mean() - means[~tumour].mean()


def named(rows: pd.DataFrame) -> float:
    """The gain on structures that the text names less that on others, within patients."""
    small = {"liver tumor", "pancreas", "duodenum", "intestine", "colon", "aorta", "inferior vena cava"}
    small |= {"portal vein and splenic vein", "hepatic vessel"}
    found = gains(rows, ("learnt", "clip"))
    chosen = found.index.get_level_values("target").isin(small)
    sides = [side.groupby("patient").mean() for side in (found[chosen], found[~chosen])]
    return (sides[0] - sides[1]).mean()


def spread(rows: pd.DataFrame) -> float:
    """Standard deviation over a patient's targets, the peer's less ours."""
    theirs, ours = (points(rows, who, by=["target"]).groupby("patient").std() for who in (PEER, OURS))
    return (theirs - ours).mean()


def doubt(rows: pd.DataFrame) -> float:
    """Rank correlation over patients of uncertainty with error."""
    sides = [points(rows, OURS, column, ["target"]).groupby("patient").mean() for column in ("uncertainty", "dice")]
    return spearmanr(sides[0], -sides[1]).statistic


def decoded(rows: pd.DataFrame) -> float:
    """Dice of decoded masks less 100."""
    return patient_mean(100 * rows["value"].astype(float).groupby([rows["patient"], rows["target"]]).mean()) - 100


def weakest(rows: pd.DataFrame) -> float:
    """The weakest other organ less the pancreas."""
    means = points(rows, OURS).groupby("target").mean()
    return means.drop("pancreas").min() - means["pancreas"]


def smaller(rows: pd.DataFrame) -> float:
    """The gallbladder's volume less the pancreas's."""
    volumes = points(rows, OURS, "truth_ml", ["target"]).unstack() / 100
    return (volumes["gallbladder"] - volumes["pancreas"]).mean()


def faster(rows: pd.DataFrame) -> float:
    """Steps to the highest Dice that both reach, noise over mask, mean over embeddings."""
    steps = rows["row"].str.removeprefix("step=").astype(int) + 1
    times = []
    for embedding in ("learnt", "clip"):
        own = [rows["table"] == f"models/{name}_{embedding}/log.csv" for name in ("noise", "mask")]
        curves = [rows.loc[chosen, "value"].astype(float) for chosen in own]
        shared = min(curve.max() for curve in curves)
        times.append(np.divide(*(steps[curve.index[curve >= shared]].min() for curve in curves)))
    return float(np.mean(times))


def annotated(rows: pd.DataFrame) -> float:
    """Cases that annotate an organ, mean of six over the pancreas."""
    organs = ["spleen", "right kidney", "left kidney", "gallbladder", "liver", "stomach"]
    counts = {
        name: rows["value"].str.split("|").map(lambda names, n=name: n in names).sum() for name in [*organs, "pancreas"]
    }
    return np.mean([counts[organ] for organ in organs]) / counts["pancreas"]


def unseen(results: Path):
    """The share of test patients without another scan."""
    parts = plain(results / "splits.csv").groupby("group")["part"].agg(set)
    return lambda rows: 100 * np.mean([parts[group] == {"test"} for group in rows["value"].unique()])


def peer_cost(rows: pd.DataFrame) -> float:
    """SegResNet's operations over ours for 29 targets."""
    costs = rows.set_index("column")["value"].astype(float)
    once = costs["encode_image_gflop"]
    return costs["gflop"] / (once + 29 * (costs["total_gflop"] - once))


RECIPES = {
    "every_target": over(OURS, PRIOR),
    "latent_cost": ratio("pixel", "latent"),
    "competitive": table_mean(OURS, PEER),
    "competitive_held_out": over(OURS, PEER),
    "generalises": table_mean(OURS, PRIOR),
    "variance_finds_errors": lambda rows: patient_mean(points(rows, OURS, "error_auroc", ["target"])),
    "doubt_follows_error": doubt,
    "ensembling": lambda rows: 100 * np.subtract(*rows["value"].astype(float).to_numpy()[::-1]),
    "one_step": lambda rows: 100 * np.subtract(*rows["value"].astype(float).to_numpy()),
    "faster_convergence": faster,
    "consistent": spread,
    "targets": lambda rows: rows["value"].nunique(),
    "organs": lambda rows: rows["value"].nunique(),
    "public_cases": lambda rows: (
        100 * float(rows.loc[rows["column"] == "public_cases", "value"].item()) / printed_figure(rows)
    ),
    "mask_over_noise": lambda rows: gains(rows, ("learnt", "clip")).groupby("target").mean().mean(),
    "mask_over_noise_held_out": held_out("learnt", "clip"),
    "mask_over_noise_held_out_learnt": held_out("learnt"),
    "mask_over_noise_held_out_clip": held_out("clip"),
    "smaller_structures": tumours,
    "smaller_by_volume": small_gain_more,
    "named_structures": named,
    "liver_tumours": held_out("clip"),
    "pancreas_tumours": held_out("learnt"),
    "precision_kept": decoded,
    "second_best": over_printed,
    "outperforms_specialised": over_printed,
    "left_kidney": over_printed,
    "pancreas_weakest": weakest,
    "pancreas_rare": annotated,
    "pancreas_small": smaller,
    "clip_over_learnt": table_mean(OURS, "mask_learnt"),
    "clip_adapts": table_mean(OURS, "mask_learnt"),
    "clip_intensive": ratio("e_k", "U-Net"),
    "no_pretraining": table_mean("mask_learnt", OURS),
    "fewer_resources": peer_cost,
}


def test_every_measured_value_follows_from_its_rows(results):
    claims = pd.read_csv(results / "claims.csv").set_index("claim")
    rows = values_of(results, plain(results / "claims_rows.csv"))
    recipes = RECIPES | {"unseen_data": unseen(results)}
    measured = claims["measured"].dropna()
    assert set(measured.index) == set(recipes) == set(rows["claim"])
    for claim, own in rows.groupby("claim"):
        assert recipes[claim](own) == pytest.approx(measured[claim], rel=2e-4, abs=2e-3), claim
        assert len(own) == claims.loc[claim, "n_rows"]


def test_two_runs_write_the_same_bytes_and_every_file_names_the_cohort(results):
    for name in (".csv", ".md", ".tex", "_rows.csv"):
        assert (results / f"claims{name}").read_bytes() == (results / f"again{name}").read_bytes()
    assert "imagined" in (results / "claims.md").read_text().splitlines()[0]
    assert r"\toprule" in (results / "claims.tex").read_text()
    assert len(plain(results / "claims.csv")) == len(CLAIMS)


def test_rows_name_held_out_cases_and_stored_columns_only(results):
    rows = plain(results / "claims_rows.csv")
    assert list(rows) == ["claim", "system", "variant", "source", "case", "target", "table", "row", "column"]
    assert not rows.duplicated().any()
    assert "trained" not in set(rows["case"])
    assert set(rows.loc[rows["target"] != "", "table"]) == {"scores/cases.csv"}
