"""Measurements on tables other than the scores: operations, counts, and single trainings."""

from dataclasses import replace

import pandas as pd

from universal_diffusion.datasets import catalogue
from universal_diffusion.evaluation.claims.evidence import PER_CENT, TEST_SOURCE, Evidence
from universal_diffusion.evaluation.claims.measured import TIMES, Measured, counted, table_rows
from universal_diffusion.evaluation.paper.published import printed
from universal_diffusion.evaluation.statistics import paired_p_value, summarise
from universal_diffusion.targets import all_targets, target

COST = "tables/cost.csv"
NETWORKS = "tables/networks.csv"
TARGETS = "src/universal_diffusion/targets.csv"
CEILING = "models/mask_autoencoder/ceiling.csv"
NO_UNIVERSAL = "CLIP Universal is not run here; what is measured is told in the test"
NO_PEER = "no auto-encoder with a regularised mask latent is trained here; measured is what the plain one loses"
SUMMARISED = "the sweep's table holds means over {:.0f} cases without an interval"


def latent_saves(evidence: Evidence) -> Measured:
    """Operations of pixel-space sampling as a multiple of latent sampling's."""
    total = evidence.cost.set_index("space")["total_gflop"]
    rows = table_rows(COST, ["space=pixel", "space=latent"], "total_gflop")
    return counted(float(total["pixel"] / total["latent"]), TIMES, rows, null=1.0)


def beside_segresnet(evidence: Evidence) -> Measured:
    """SegResNet's operations for all targets of a window as a multiple of ours."""
    latent = evidence.cost.set_index("space").loc["latent"]
    targets = latent["total_gflop"] - latent["encode_image_gflop"]
    ours = latent["encode_image_gflop"] + len(all_targets()) * targets
    theirs = evidence.networks.set_index(["network", "part"])["gflop"]["segresnet", "whole"]
    rows = [
        table_rows(COST, ["space=latent"], "total_gflop", "encode_image_gflop"),
        table_rows(NETWORKS, ["network=segresnet & part=whole"], "gflop"),
    ]
    return counted(float(theirs / ours), TIMES, pd.concat(rows, ignore_index=True), 1.0, NO_UNIVERSAL)


def embedding_cost(evidence: Evidence) -> Measured:
    """Operations of a CLIP embedding's projection as a multiple of one denoiser step's."""
    gflop = evidence.networks.set_index(["network", "part"])["gflop"]
    network = "denoiser, latent space"
    parts = ["e_k, clip", "U-Net"]
    rows = table_rows(NETWORKS, [f"network={network} & part={part}" for part in parts], "gflop")
    value = gflop[network, parts[0]] / gflop[network, parts[1]]
    return counted(float(value), TIMES, rows, 1.0, NO_UNIVERSAL)


def targets_of(evidence: Evidence, kind: str = "") -> Measured:
    """How many targets the label tables of Table 1's datasets name together: all, or those of a kind, no cyst."""
    listed = set(evidence.published[1]["row_key"])
    sources = [source for source in catalogue.sources() if catalogue.dataset_of(source) in listed]
    named = {name for source in sources for name in catalogue.entry(source).annotated}
    known = [target(name) for name in catalogue.in_order(named)]
    chosen = [one.name for one in known if not kind or (one.kind == kind and "cyst" not in one.name)]
    return counted(float(len(chosen)), "targets", table_rows(TARGETS, [f"name={name}" for name in chosen], "id"))


def public_cases(evidence: Evidence) -> Measured:
    """Public labelled cases as a share of those that Table 1 prints, in per cent, for the dataset where it is least."""
    paper = printed(evidence.published[1])["cases"]
    public = evidence.table1.set_index("dataset")["public_cases"].reindex(paper.index)
    share = PER_CENT * (public / paper).astype(float)
    least = str(share.idxmin())
    rows = [
        table_rows("tables/table1.csv", [f"dataset={least}"], "public_cases"),
        table_rows("config/published.csv", [f"table=1 & row_key={least} & column_key=cases"], "value"),
    ]
    return replace(counted(float(share.min()), "%", pd.concat(rows, ignore_index=True)), at=least)


def unseen_patients(evidence: Evidence) -> Measured:
    """Test patients of whom no scan stands in a training archive, in per cent, before any scan is left out."""
    tested = {row.group for row in evidence.splits if row.part == "test"}
    others = {row.group for row in evidence.splits if row.part != "test"}
    share = PER_CENT * (1 - len(tested & others) / len(tested)) if tested else float("nan")
    named = [f"source={row.source} & case={row.case}" for row in evidence.splits if row.group in tested]
    obstacle = evidence.synthetic(TEST_SOURCE) or evidence.not_of_the_paper()
    return counted(share, "%", table_rows("splits.csv", named, "group"), obstacle=obstacle)


def pancreas_is_rare(evidence: Evidence) -> Measured:
    """Training cases that annotate an organ of Table 3: mean of the other six, as a multiple of the pancreas's."""
    trained = {(row.source, row.case) for row in evidence.splits if row.part == "train"}
    cases = [row for row in evidence.inventory.itertuples() if (row.source, row.case) in trained]
    organs = [column.split("@")[0] for column in evidence.organ_columns()]
    counts = pd.Series({organ: float(sum(organ in row.annotated.split("|") for row in cases)) for organ in organs})
    named = [f"source={row.source} & case={row.case}" for row in cases]
    value = counts.drop("pancreas").mean() / counts["pancreas"] if counts["pancreas"] else float("nan")
    rows = table_rows("inventory.csv", named, "annotated")
    return counted(float(value), TIMES, rows, 1.0, evidence.not_of_the_paper())


def plain_loss(evidence: Evidence) -> Measured:
    """What encoding and decoding a mask costs, as Dice less 100 points: mean over patients of their targets."""
    groups = {(row.source, row.case): row.group for row in evidence.splits}
    places = zip(evidence.ceiling["source"], evidence.ceiling["case"], strict=True)
    named = evidence.ceiling.assign(patient=[groups[place] for place in places])
    by_target = named.groupby(["patient", "target"])["dice"].mean()
    values = PER_CENT * (by_target.groupby(level="patient").mean() - 1).to_numpy()
    rows = [f"source={row.source} & case={row.case} & target={row.target}" for row in evidence.ceiling.itertuples()]
    found, p_value = summarise(values, evidence.generator()), paired_p_value(values)
    return Measured(**vars(found), p_value=p_value, obstacle=NO_PEER, rows=table_rows(CEILING, rows, "dice"))


def one_step(evidence: Evidence) -> Measured:
    """Dice of z_0 as estimated from pure noise in one step less that after the most steps that were tried."""
    return _swept(evidence, "steps", "ensemble", least_less_most=True)


def ensembling(evidence: Evidence) -> Measured:
    """Dice of the largest ensemble that was tried less that of a single sample, at the most steps."""
    return _swept(evidence, "ensemble", "steps", least_less_most=False)


def _swept(evidence: Evidence, swept: str, other: str, least_less_most: bool) -> Measured:
    table = evidence.sampling[evidence.sampling["mode"] == "no gate"]
    fixed = table[other].min() if other == "ensemble" else table[other].max()
    dice = table[table[other] == fixed].set_index(swept)["dice"]
    ends = [dice.index.min(), dice.index.max()]
    difference = PER_CENT * float(dice[ends[0]] - dice[ends[1]])
    named = [f"mode=no gate & {swept}={end} & {other}={fixed}" for end in ends]
    return Measured(
        difference if least_less_most else -difference,
        n=int(table["cases"].iloc[0]),
        obstacle=SUMMARISED.format(table["cases"].iloc[0]),
        rows=table_rows("tables/sampling.csv", named, "dice"),
    )
