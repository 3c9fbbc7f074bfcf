"""Table and figures of uncertainty: statistics in closed form, checked input, equal bytes for equal rows."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.latex import PACKAGES
from universal_diffusion.evaluation.scoring.calibration import COVERAGES, calibration_error, doubt, measure
from universal_diffusion.evaluation.scoring.cases import COLUMNS, write_cases
from universal_diffusion.evaluation.scoring.scores import dice
from universal_diffusion.evaluation.statistics import mean_of_column_means
from universal_diffusion.evaluation.uncertainty import coverage, measures, reliability, table
from universal_diffusion.evaluation.uncertainty.cells import cells
from universal_diffusion.evaluation.uncertainty.rows import Judged, described, read_judged
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.settings import Gate, Segmentation
from universal_diffusion.systems import BASELINES, METHOD, VARIANTS

SAMPLING = Segmentation("ddim", 4, 1.0, 2, 0.25)
SETTINGS = '{"sampler": "ddim", "steps": 4, "eta": 1.0, "ensemble": 2, "overlap": 0.25}'
TARGETS = ("liver", "pancreas", "liver tumor")
SCANS = [("msd03", f"v{k}", "validation", f"g{k}") for k in range(3)]
SCANS += [("btcv", "copy", "validation", "g0"), *(("ircadb", f"t{k}", "test", f"h{k}") for k in range(3))]


def voxels(seed: int) -> tuple[np.ndarray, ...]:
    """Truth, mean, variance and mask of one target of one case."""
    generator = np.random.default_rng(seed)
    mean = (np.rint(255 * generator.random(200)) / 255).astype(np.float32)
    truth = generator.random(200) < mean**2
    return truth, mean, (mean * (1 - mean)).astype(np.float32), mean >= 0.5


def seed_of(variant: int, scan: int, place: int) -> int:
    return 100 * variant + 10 * scan + place


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Scores of an imagined study as its files; a baseline and a both-empty tumour among them."""
    folder = tmp_path_factory.mktemp("judged")
    write_splits(folder / "splits.csv", [SplitRow(s, s, case, group, part, "") for s, case, part, group in SCANS])
    scores = []
    for number, system in enumerate((*VARIANTS, BASELINES[0])):
        rows = {"reliability": [], "coverage": []}
        for scan, (source, case, part, _) in enumerate(SCANS):
            for place, target in enumerate(TARGETS):
                where = {"source": source, "case": case, "part": part, "target": target}
                told = dict.fromkeys(COLUMNS, np.nan) | where | {"dataset": source, "outcome": "scored"}
                told |= {"system": system.family, "variant": system.variant}
                judged = voxels(seed_of(number, scan, place))
                if (scan, target) == (1, "liver tumor"):
                    judged = tuple(np.zeros_like(values) for values in judged)
                found = measure(*(values[: None if judged[0].any() else 0] for values in judged))
                told["dice"] = dice(judged[0], judged[3])
                if system.family == METHOD:
                    told |= {"ece": found.ece, "brier": found.brier, "error_auroc": found.error_auroc}
                    told["uncertainty"] = doubt(judged[1])
                    names = ("bin", "voxels", "probability_sum", "truth_sum")
                    bins = ((bin_, *row) for bin_, row in enumerate(found.reliability))
                    rows["reliability"] += [where | dict(zip(names, row, strict=True)) for row in bins]
                    pairs = zip(COVERAGES, found.coverage, strict=True)
                    rows["coverage"] += [where | {"coverage": share, "dice": value} for share, value in pairs]
                scores.append(told)
        for kind, own in rows.items():
            (folder / kind).mkdir(exist_ok=True)
            if own:
                pd.DataFrame(own).to_csv(folder / kind / f"{system.key}.csv", index=False)
    write_cases(folder / "cases.csv", pd.DataFrame(scores))
    return folder


def read(folder) -> list[Judged]:
    paths = (sorted((folder / kind).glob("*.csv")) for kind in ("reliability", "coverage"))
    return read_judged(folder / "cases.csv", *paths, folder / "splits.csv")


@pytest.fixture(scope="module")
def judged(files) -> list[Judged]:
    return read(files)


@pytest.fixture(scope="module")
def found(judged) -> pd.DataFrame:
    return cells(judged, 7)


@pytest.fixture
def copy(files, tmp_path):
    return shutil.copytree(files, tmp_path / "copy")


def cell(found: pd.DataFrame, row: str, column: str) -> pd.Series:
    (own,) = [one for _, one in found.iterrows() if (one["row"], one["column"]) == (row, column)]
    return own


def test_baselines_are_left_out_and_patients_are_told(judged):
    assert [one.system for one in judged] == list(VARIANTS)
    assert {len(one.masks) for one in judged} == {len(SCANS) * len(TARGETS)}
    assert judged[0].masks["patient"].nunique() == 6  # of seven scans, one is a copy


def test_pooled_error_is_that_of_all_voxels_of_all_masks(judged, found):
    masks = [voxels(seed_of(0, scan, place)) for scan in range(7) for place in range(3) if (scan, place) != (1, 2)]
    whole = measure(*(np.concatenate(parts) for parts in zip(*masks, strict=True)))
    own = cell(found, "noise_learnt", "ece_pooled")
    assert own["value"] == pytest.approx(whole.ece)
    assert (own["n"], own["masks"], own["targets"]) == (6, 20, 3)
    assert own["low"] <= own["value"] <= own["high"]


def test_means_are_of_patients_then_of_targets(judged, found):
    masks = judged[2].masks
    first = masks.groupby(["target", "patient"])["brier"].mean().groupby("target").mean()
    assert cell(found, "mask_learnt", "brier")["value"] == pytest.approx(first.mean())
    assert cell(found, "mask_learnt", "brier@pancreas")["value"] == pytest.approx(first["pancreas"])
    tested = masks[masks["part"] == "test"].groupby("target")["brier"].mean().mean()
    assert cell(found, "mask_learnt", "brier@test")["value"] == pytest.approx(tested)
    tumour = cell(found, "mask_learnt", "dice_voxels_100@liver tumor")
    assert (tumour["n"], tumour["masks"], tumour["targets"]) == (5, 6, 1)  # one is empty, and rightly not predicted


def test_everything_kept_is_the_mean_dice(judged, found):
    values = measures.doubt_and_dice(judged[3].masks).to_numpy()
    assert cell(found, "mask_clip", "dice_voxels_100")["value"] == pytest.approx(mean_of_column_means(values[:, 3:]))
    assert measures.kept_dice(values, 1.0) == pytest.approx(mean_of_column_means(values[:, 3:]))
    assert measures.kept_of_all(values, 1.0) == pytest.approx(np.nanmean(values[:, 3:]))


def test_few_patients_have_a_correlation_but_no_interval(found):
    own = cell(found, "mask_clip", "rank_correlation")
    assert -1 <= own["value"] <= 1
    assert np.isnan([own["low"], own["high"]]).all()


PAIRS = arrays(float, (6, 6), elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7, 1.0]))


def halves(values: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Doubt and Dice of three targets, NaN in both where there is no mask."""
    return np.where(np.hstack([absent, absent]), np.nan, values)


@settings(max_examples=40)
@given(PAIRS, arrays(bool, (6, 3)))
def test_rank_correlation_is_spearmans(values, absent):
    doubt, score = (half[~absent] for half in np.split(values, 2, axis=1))
    own = measures.rank_correlation(halves(values, absent))
    if len(doubt) < 2 or np.ptp(doubt) == 0 or np.ptp(score) == 0:
        assert np.isnan(own)
    else:
        assert own == pytest.approx(spearmanr(doubt, score).statistic)


def test_within_targets_looks_past_what_targets_differ_in():
    """Each target's doubt warns without fail, but the target of more doubt has more Dice."""
    doubt = np.array([[0.1, 0.6], [0.2, 0.7], [0.3, 0.8]])
    score = np.array([[0.3, 0.9], [0.2, 0.8], [0.1, 0.7]])
    assert measures.rank_correlation_within(np.hstack([doubt, score])) == pytest.approx(-1)
    assert measures.rank_correlation(np.hstack([doubt, score])) > 0.4


def brute(doubt: np.ndarray, score: np.ndarray, share: float) -> float:
    """Mean Dice of the surest share: every mask cut into as many equal crumbs as make the share whole."""
    crumbs = np.repeat(np.arange(len(score)), 20)
    count = round(share * len(crumbs))
    levels = np.unique(doubt)
    kept = np.zeros(len(score))
    for level in levels:
        own = doubt == level
        kept[own] = min(count, 20 * own.sum()) / own.sum()
        count -= min(count, 20 * own.sum())
    return float((kept * score).sum() / kept.sum())


@settings(max_examples=40)
@given(PAIRS, arrays(bool, (6, 3)), st.sampled_from([0.05, 0.25, 0.5, 0.8, 1.0]), st.permutations(range(6)))
def test_kept_dice_against_a_count_of_crumbs(values, absent, share, order):
    given_ = halves(values, absent)
    own = measures.kept_dice(given_, share)
    columns = [(given_[~absent[:, k], k], given_[~absent[:, k], 3 + k]) for k in range(3) if not absent[:, k].all()]
    if not columns:
        assert np.isnan(own)
        return
    assert own == pytest.approx(np.mean([brute(doubt, score, share) for doubt, score in columns]))
    assert measures.kept_of_all(given_, share) == pytest.approx(brute(*np.concatenate(columns, axis=1), share))
    assert measures.kept_dice(given_[list(order)], share) == pytest.approx(own)
    assert measures.kept_dice(given_, share, by_dice=True) >= own - 1e-12


def test_a_curve_is_of_the_same_masks_at_every_point(judged):
    rows = judged[0].coverage.copy()
    place = rows.index[(rows["target"] == "liver") & (rows["coverage"] == 0.5)][0]
    rows.loc[place, "dice"] = np.nan
    counts = measures.complete(rows).groupby("coverage")["dice"].size()
    assert set(counts) == {19}  # of 21, without the empty tumour and the liver that vanishes


def test_reliability_curve_leaves_out_empty_bins_and_holds_its_intervals(judged):
    sums = measures.reliability_sums(judged[0].reliability)
    sums.loc[:, (slice(None), 4)] = 0.0
    own = reliability.curve(sums, np.random.default_rng(0))
    assert list(own["bin"]) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert (own["low"] <= own["frequency"]).all()
    assert (own["frequency"] <= own["high"]).all()
    assert own["voxels"].sum() == sums.xs("voxels", axis=1, level=0).to_numpy().sum()
    gap = (own["voxels"] * (own["probability"] - own["frequency"]).abs()).sum() / own["voxels"].sum()
    assert gap == pytest.approx(calibration_error(measures.pooled_reliability(sums)))


def test_figures_show_the_rows(judged):
    figure = reliability.draw(judged, "two samples", 7, "imagined patients")
    diagram = figure.axes[0]
    np.testing.assert_array_equal(diagram.lines[0].get_xydata(), [[0, 0], [1, 1]])
    tested = judged[0].only("part", "test").reliability.groupby("bin")[["truth_sum", "voxels"]].sum()
    np.testing.assert_allclose(diagram.lines[2].get_ydata(), tested["truth_sum"] / tested["voxels"])
    np.testing.assert_allclose(figure.axes[1].lines[1].get_ydata(), tested["voxels"])
    labels = [text.get_text() for text in diagram.get_legend().get_texts()]
    assert [label.split(" (")[0] for label in labels] == ["validation, 3 patients", "test, 3 patients"]
    figure = coverage.draw(judged, "two samples", "imagined patients")
    kept = figure.axes[0].lines[3].get_xydata()
    np.testing.assert_allclose(kept[:, 0], 100 * np.array(COVERAGES))
    assert kept[0, 1] == pytest.approx(100 * coverage.voxel_curve(judged[3])[0])
    assert sum(len(line.get_xdata()) for line in figure.axes[3].lines) == 20
    told = " ".join(figure.texts[0].get_text().split())
    assert "Each: two samples." in told
    assert "Mask, CLIP: 20 masks, 3 targets, 6 patients. Cohort: imagined patients." in told


def arguments(folder, output, kinds) -> list[str]:
    given_ = ["step", "--cases", str(folder / "cases.csv"), "--splits", str(folder / "splits.csv")]
    for kind in ("reliability", "coverage"):
        given_ += [f"--{kind}", *map(str, sorted((folder / kind).glob("*.csv")))]
    given_ += ["--settings", SETTINGS, "--study-seed", "7", "--cohort", "imagined patients"]
    return given_ + [f"--output-{kind}={output}.{kind}" for kind in kinds]


@pytest.mark.parametrize(
    ("step", "kinds"), [(table, ("csv", "md", "tex")), (reliability, ("png", "svg")), (coverage, ("png", "svg"))]
)
def test_the_order_of_the_rows_changes_no_byte(step, kinds, files, copy, tmp_path, monkeypatch):
    for path in (copy / "cases.csv", *copy.glob("*/*.csv"), copy / "splits.csv"):
        head, *rows = path.read_text().splitlines()
        write_with_hash(path, "\n".join([head, *reversed(rows), ""]))
    for name, folder in (("first", files), ("second", copy)):
        monkeypatch.setattr(sys, "argv", arguments(folder, tmp_path / name, kinds))
        step.main()
    for kind in kinds:
        assert (tmp_path / f"first.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()


def test_the_table_says_how_it_was_sampled_and_on_whom(found, judged):
    text = tables.markdown(table.printed_table(found, judged, described(SAMPLING), "imagined patients"))
    assert "ensemble of 2 samples, 4 steps each (DDIM, eta 1), no gate. Measured here: imagined patients." in text
    assert "baselines give one answer" in text
    assert "Mask, CLIP: 20 masks, 3 targets, 6 patients" in text
    own = cell(found, "mask_clip", "ece_pooled")
    (line,) = [line for line in text.splitlines() if line.startswith("| Calibration error, all")]
    assert line.endswith(f"{100 * own['value']:.1f} |")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on this machine: the table is not typeset")
def test_the_table_compiles(found, judged, tmp_path):
    text = tables.latex(table.printed_table(found, judged, described(SAMPLING), "5 % of a_b & c"))
    packages = f"\\usepackage[T1]{{fontenc}}\\usepackage{{{PACKAGES}}}"
    source = f"\\documentclass{{article}}{packages}\\begin{{document}}\n{text}\n\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    assert "Overfull \\hbox" not in run.stdout


def test_sampling_in_words():
    ancestral = Segmentation("ancestral", 1, 0.0, 1, 0.25, gate=Gate(4, 0.02, 20.0), warm_start=300)
    assert (
        described(ancestral) == "ensemble of 1 sample, 1 step each (ancestral), behind a gate, warm start at step 300"
    )


def plant(path, change) -> None:
    rows = pd.read_csv(path)
    change(rows).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("coverage/mask_clip.csv", lambda rows: rows[rows["target"] != "liver"], "btcv/copy/liver as `cases.csv` does"),
        ("coverage/mask_clip.csv", lambda rows: rows[rows["coverage"] != 0.95], "once for every coverage"),
        ("reliability/noise_clip.csv", lambda rows: pd.concat([rows, rows.iloc[:1]]), "once for every bin"),
        ("reliability/noise_clip.csv", lambda rows: rows.drop(columns="voxels"), "has columns"),
    ],
)
def test_rows_that_are_not_of_the_scores_are_refused(copy, name, change, told):
    plant(copy / name, change)
    with pytest.raises(InputError, match=told) as caught:
        read(copy)
    assert caught.value.where == str(copy / name)


def test_a_variant_without_rows_is_refused(copy):
    (copy / "coverage" / "mask_clip.csv").unlink()
    with pytest.raises(InputError, match=r"mask_clip\.csv: is not among the tables given"):
        read(copy)
