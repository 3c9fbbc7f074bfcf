"""The figures that the paper should have shown: what is drawn is what the tables hold, and rules pick what they say."""

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.checksums import hashes, write_sums
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.figures import ceilings, distributions, hanging, latent_cost, worst
from universal_diffusion.evaluation.scoring.cases import COLUMNS, write_cases
from universal_diffusion.segmentation.outputs.nifti_output import write_mask
from universal_diffusion.systems import SYSTEMS, system_of
from universal_diffusion.targets import mask, target

MASK_CLIP = system_of("mask_clip")
COST = pd.DataFrame(
    {
        "space": ["latent", "pixel"],
        "grid": [20, 80],
        "steps": [4, 4],
        "ensemble": [2, 2],
        "encode_image_gflop": [0.5, 0.0],
        "image_features_gflop": [0.25, 3.0],
        "denoiser_step_gflop": [0.125, 2.0],
        "decode_mask_gflop": [0.375, 0.0],
        "total_gflop": [2.5, 19.0],
    }
)
NETWORKS = pd.DataFrame({"network": [latent_cost.GUIDED], "part": ["whole"], "grid": [256], "gflop": [100.0]})


def scored(source: str, case: str, name: str, dice: float, system=MASK_CLIP, **more) -> dict:
    """One row of cases.csv of a validation case that holds the target."""
    row = dict.fromkeys(COLUMNS, np.nan) | {"system": system.family, "variant": system.variant, "dataset": "imagined"}
    row |= {"source": source, "case": case, "part": "validation", "target": name, "outcome": "scored"}
    return row | {"dice": dice, "dice_harmonised": dice, "truth_ml": 5.0, "predicted_ml": 4.0, "hd95_mm": 3.0} | more


def table(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def test_costs_are_those_of_the_table(check_print):
    latent, pixel = (row for _, row in COST.iterrows())
    assert latent_cost.total(latent, np.array([4, 8])).tolist() == [2.5, 3.5]
    assert sum(latent_cost.parts(latent)) == latent["total_gflop"]
    assert sum(latent_cost.parts(pixel)) == pixel["total_gflop"]
    figure = latent_cost.draw(COST, NETWORKS, "imagined patients")
    check_print(figure)
    curves, bars = figure.axes
    drawn = [line.get_ydata() for line in curves.lines if len(line.get_xdata()) > 1]
    assert np.allclose(
        drawn, [0.75 + 2 * (latent_cost.STEPS * 0.125 + 0.375), 3 + 4 * latent_cost.STEPS, 200 * latent_cost.STEPS]
    )
    stars = [(line.get_xdata()[0], line.get_ydata()[0]) for line in curves.lines if len(line.get_xdata()) == 1]
    assert stars == [(4, 2.5), (4, 19.0)]
    heights = np.array([patch.get_height() for patch in bars.patches]).reshape(4, 2)
    assert np.allclose(heights.sum(axis=0), 100)
    assert np.allclose(heights[:, 0], [20, 10, 40, 30])
    assert "7.6" in bars.get_title()
    assert [text.get_text() for text in bars.texts] == ["2.5 GFLOP", "19 GFLOP"]


def test_a_cost_table_without_both_spaces_is_refused(tmp_path):
    COST.iloc[:1].to_csv(tmp_path / "cost.csv", index=False)
    with pytest.raises(InputError, match="latent and pixel"):
        latent_cost.read_cost(tmp_path / "cost.csv")


def ceiling_rows() -> pd.DataFrame:
    held = [("liver", "a", 0.9, 0.7), ("liver", "b", 0.8, 0.5), ("lung tumor", "a", 0.6, 0.3), ("spleen", "z", 1, 1)]
    rows = [
        {"factor": factor, "source": "s", "case": case, "target": name, "dice": dice, "truth_voxels": 9}
        for name, case, *dices in held
        for factor, dice in zip((4, 8), dices, strict=True)
    ]
    return pd.DataFrame(rows)


def limited_cases() -> pd.DataFrame:
    """The best variant by mean of target means is mask/learnt, though mask/CLIP is better on more cases."""
    learnt, clip = system_of("mask_learnt"), MASK_CLIP
    dices = {"a": (0.5, 0.6), "b": (0.4, 0.5)}
    rows = [
        scored("s", case, "liver", d, s)
        for case, pair in dices.items()
        for d, s in zip(pair, (learnt, clip), strict=True)
    ]
    rows += [scored("s", "a", "lung tumor", 0.4, learnt), scored("s", "a", "lung tumor", 0.1, clip)]
    return table(
        *rows, scored("s", "elsewhere", "liver", 1.0, learnt), scored("s", "a", "liver", 0.9, system_of("segresnet"))
    )


def test_ceiling_and_dice_are_of_the_same_cases_and_of_one_variant(check_print):
    found = ceilings.limits(ceiling_rows(), limited_cases())
    assert (found.label, found.factors) == ("Mask, learnt", (4, 8))
    assert found.rows.index.tolist() == ["liver", "lung tumor"]  # nobody scored the spleen
    assert found.rows.loc["liver"].tolist() == pytest.approx([0.85, 0.6, 0.45, 2])
    assert found.rows.loc["lung tumor"].tolist() == pytest.approx([0.6, 0.3, 0.4, 1])
    figure = ceilings.draw(found, "imagined patients")
    check_print(figure)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["liver (n = 2)", "lung tumor (n = 1)"]
    drawn = {line.get_label(): line.get_xdata().tolist() for line in axes.lines}
    assert drawn["measured: Mask, learnt"] == pytest.approx([45, 40])
    assert drawn["ceiling, f = 4"] == pytest.approx([85, 60])
    assert drawn["ceiling, f = 8"] == pytest.approx([60, 30])
    denoiser, coder = ([segment[:, 0].tolist() for segment in lines.get_segments()] for lines in axes.collections)
    assert np.allclose(denoiser, [[45, 85], [40, 60]])
    assert np.allclose(coder, [[85, 100], [60, 100]])


def test_every_defined_dice_is_a_point_and_n_stands_beside(scored_cases, check_print):
    odd = scored_cases.index[scored_cases["target"] == "spleen"]
    cases = scored_cases.copy()
    cases.loc[odd[0], ["dice", "truth_ml", "outcome"]] = [0.0, 0.0, "false_positive"]
    cases.loc[odd[1], ["dice", "truth_ml", "predicted_ml", "outcome"]] = [np.nan, 0.0, 0.0, "both_empty"]
    figure = distributions.draw(cases, "imagined patients")
    check_print(figure)
    assert [axes.get_title() for axes in figure.axes] == [system.label for system in SYSTEMS]
    drawn = [line for axes in figure.axes for line in axes.lines]
    assert sum(len(line.get_xdata()) for line in drawn) == cases["dice"].notna().sum() == len(cases) - 1
    crosses = [line for line in drawn if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses if len(line.get_xdata())] == [[0.0]]
    values = np.sort(np.concatenate([line.get_xdata() for line in drawn]))
    assert np.allclose(values, np.sort(100 * cases["dice"].dropna()))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    counts = distributions.held(cases)
    assert f"liver ({counts.loc['liver', 'test']} + {counts.loc['liver', 'validation']})" in labels
    bars = figure.axes[3].collections[0].get_segments()
    liver = 100 * cases[(cases["variant"] == "mask_clip") & (cases["target"] == "liver")]["dice"].mean()
    assert min(abs(bar[0, 0] - liver) for bar in bars) < 1e-9


def test_the_worst_are_the_lowest_of_each_target_the_largest_missed_first():
    rows = [
        scored("s", "a", "liver", 0.9),
        scored("s", "b", "liver", 0.2),
        scored("s", "a", "spleen", 0.0, truth_ml=3.0),
        scored("s", "b", "spleen", 0.0, truth_ml=30.0),
        scored("s", "c", "spleen", 0.0, truth_ml=0.0, outcome="false_positive"),
        scored("s", "d", "pancreas", 0.0, truth_ml=8.0),
        scored("s", "d", "stomach", 0.01, system_of("segresnet")),
    ]
    found = worst.worst_rows(table(*rows), MASK_CLIP)
    assert found[["target", "case", "n"]].values.tolist() == [
        ["spleen", "b", 2],
        ["pancreas", "d", 1],
        ["liver", "b", 2],
    ]
    many = [scored("s", "a", known.name, 0.1) for known in distributions.all_targets()]
    assert len(worst.worst_rows(table(*many), MASK_CLIP)) == worst.SHOWN


def test_the_slice_is_where_truth_and_prediction_differ_most():
    truth, predicted = np.zeros((2, 4, 4, 5), bool)
    truth[:, :, 1] = predicted[:, :, 1] = True
    truth[:2, :, 3] = True
    predicted[0, 0, 4] = True
    assert worst.widest_difference(truth, predicted) == 3
    assert worst.widest_difference(truth, truth) == 1


@pytest.fixture
def predicted(study, tmp_path):
    """Livers predicted one slice too high, and no tumour; the rows that say so."""
    rows = []
    for volume in study["stored"]:
        folder = tmp_path / "predictions" / volume.source / volume.case
        for name in ("liver", "liver tumor"):
            truth = mask(volume.native_labels, name)
            drawn = np.roll(truth, 1, axis=2) if name == "liver" else np.zeros_like(truth)
            write_mask(folder / f"{target(name).slug}.nii.gz", drawn, volume.native_grid)
            rows.append(scored(volume.source, volume.case, name, 0.75 if name == "liver" else 0.0))
    shard = tmp_path / "predictions"
    write_sums(shard, hashes(shard, shard.rglob("*.nii.gz")))
    return table(*rows), [shard]


def test_a_panel_shows_truth_and_prediction_of_its_case(study, predicted, check_print):
    cases, folders = predicted
    cases.loc[cases["target"] == "liver tumor", "hd95_mm"] = np.nan
    panels = worst.gallery(cases, MASK_CLIP, folders, [study["volumes"]])
    assert [panel.row["target"] for panel in panels] == ["liver tumor", "liver"]
    tumour, liver = panels
    stored = next(volume for volume in study["stored"] if volume.case == liver.row["case"])
    truth = mask(stored.labels, "liver")
    assert liver.truth.sum() + liver.predicted.sum() == truth[..., 2].sum()  # the first or last slice, of one alone
    assert tumour.truth.any()
    assert not tumour.predicted.any()
    figure = worst.draw(panels, MASK_CLIP, "imagined patients")
    check_print(figure)
    assert [len(axes.collections) for axes in figure.axes[:2]] == [
        1,
        1,
    ]  # one outline each: nothing predicted, or no truth
    assert "HD95 –" in figure.axes[0].get_xlabel()
    assert "Dice 75.0 %, HD95 3 mm" in figure.axes[1].get_xlabel()
    assert "imagined patients" in figure.texts[0].get_text()


def test_a_gallery_without_its_volume_says_so(study, predicted):
    cases, folders = predicted
    with pytest.raises(InputError, match="hold no case"):
        worst.gallery(cases.assign(case="gone"), MASK_CLIP, folders, [study["volumes"]])
    with pytest.raises(InputError, match="no annotated target"):
        worst.gallery(cases.assign(truth_ml=0.0), MASK_CLIP, folders, [study["volumes"]])


def test_a_body_is_cut_to_a_square_inside_the_slice():
    image = np.zeros((30, 20))
    image[2:6, 1:19] = 0.5
    x, y = hanging.body_square(image)
    assert (x.stop - x.start, y.stop - y.start) == (18, 18)
    assert x.start == 0
    assert image[x, y].sum() == image.sum()
    assert hanging.body_square(np.zeros((3, 4))) == (slice(None), slice(None))


def test_each_step_repeats_byte_for_byte(study, predicted, tmp_path, draw_twice):
    cases, folders = predicted
    write_cases(tmp_path / "cases.csv", cases)
    ceiling_rows().assign(source="msd03", case="l1").drop_duplicates(["factor", "target"]).to_csv(
        tmp_path / "ceiling.csv", index=False
    )
    COST.to_csv(tmp_path / "cost.csv", index=False)
    NETWORKS.to_csv(tmp_path / "networks.csv", index=False)
    scores = ["--cases", tmp_path / "cases.csv"]
    draw_twice(latent_cost, ["--cost", tmp_path / "cost.csv", "--networks", tmp_path / "networks.csv"])
    draw_twice(ceilings, ["--ceilings", tmp_path / "ceiling.csv", *scores])
    draw_twice(distributions, scores)
    draw_twice(worst, [*scores, "--predictions", *folders, "--volumes", study["volumes"]])
