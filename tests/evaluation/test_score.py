"""Scoring stored predictions on the CT's own grid."""

import numpy as np
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.scoring.cases import collect, read_cases, write_cases
from universal_diffusion.evaluation.scoring.score import onto_grid, score_system
from universal_diffusion.segmentation.outputs.nifti_output import write_map, write_mask
from universal_diffusion.systems import system_of
from universal_diffusion.targets import mask, target
from universal_diffusion.volumes import Grid


def predict(folder, stored, change=lambda name, truth: truth, maps=True):
    """Write predictions as the engine does; `change` turns each truth into what is predicted."""
    for volume in stored:
        for name in volume.annotated:
            predicted = change(name, mask(volume.native_labels, name))
            stem = folder / volume.source / volume.case / target(name).slug
            write_mask(stem.with_name(f"{stem.name}.nii.gz"), predicted, volume.native_grid)
            if maps:
                write_map(stem.with_name(f"{stem.name}_mean.nii.gz"), predicted * 0.8, 1.0, volume.native_grid)
                spread = predicted * 0.16
                write_map(stem.with_name(f"{stem.name}_variance.nii.gz"), spread, 0.25, volume.native_grid)


def score(study, folder, system="mask_clip"):
    return score_system(system_of(system), [folder], [study["volumes"]], study["splits"])


def test_a_perfect_prediction_scores_one_and_an_absent_target_has_no_score(study, tmp_path):
    predict(tmp_path, study["stored"])
    cases = score(study, tmp_path).set_index(["source", "target"])
    assert len(cases) == 6
    for source in ("ircadb", "msd03"):
        for name in ("liver", "liver tumor"):
            row = cases.loc[(source, name)]
            assert (row["dice"], row["dice_harmonised"], row["surface_dice"], row["hd95_mm"]) == (1, 1, 1, 0)
            assert row["ece"] == pytest.approx(0.2, abs=0.01)
        assert np.isnan(cases.loc[(source, "spleen"), "dice"])
        assert cases.loc[(source, "spleen"), "outcome"] == "both_empty"
    assert cases.loc[("ircadb", "liver"), "part"] == "test"
    assert (
        cases.loc[("msd03", "liver"), ["system", "variant", "dataset"]] == ["universal_diffusion", "mask_clip", "msd"]
    ).all()
    assert cases.loc[("ircadb", "liver"), "truth_ml"] == pytest.approx(10 * 8 * 4 * 80 / 1000)


def test_a_false_alarm_scores_zero_and_a_shift_loses_exactly_what_it_moves(study, tmp_path):
    def change(name, truth):
        return np.ones_like(truth) if name == "spleen" else np.roll(truth, 2, axis=0)

    predict(tmp_path, study["stored"], change, maps=False)
    cases = score(study, tmp_path, "segresnet").set_index(["source", "target"])
    row = cases.loc[("ircadb", "spleen")]
    assert (row["dice"], row["outcome"], row["truth_ml"]) == (0, "false_positive", 0)
    assert cases.loc[("ircadb", "liver"), "dice"] == pytest.approx(0.9, abs=1e-6)
    assert cases.loc[("ircadb", "liver"), "dice_harmonised"] == pytest.approx(0.9, abs=1e-6)
    assert cases["ece"].isna().all()
    assert (cases["variant"] == "").all()


def test_missing_predictions_and_foreign_grids_name_the_rule(study, tmp_path):
    with pytest.raises(InputError, match="rule `segment`"):
        score(study, tmp_path)
    predict(tmp_path, study["stored"])
    volume = study["stored"][0]
    path = tmp_path / "ircadb" / "p1" / "liver.nii.gz"
    write_mask(path, mask(volume.native_labels, "liver"), Grid(volume.native_grid.shape, np.eye(4)))
    with pytest.raises(InputError, match="another grid"):
        score(study, tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"liver\.nii\.gz: is missing.*rule `segment`"):
        score(study, tmp_path)
    with pytest.raises(InputError, match="predicts with `segresnet`"):
        score(study, tmp_path / "nowhere", "segresnet")


def test_onto_grid_takes_the_nearest_voxel_whatever_the_axes():
    fine = Grid((8, 6, 4), np.array([[0, 2.0, 0, 0], [-2.0, 0, 0, 14.0], [0, 0, 2.0, 0], [0, 0, 0, 1]]))
    coarse = Grid((3, 4, 2), np.array([[4.0, 0, 0, 1.0], [0, 4.0, 0, 1.0], [0, 0, 4.0, 1.0], [0, 0, 0, 1]]))
    block = np.zeros(fine.shape, bool)
    block[0:2, 2:4, 0:2] = True  # x 4 to 6, y 12 to 14, z 0 to 2 mm
    moved = onto_grid(block, fine, coarse)
    assert np.argwhere(moved).tolist() == [[1, 3, 0]]


def test_tables_of_scores_come_back_as_written_and_must_belong_together(cases, tmp_path):
    cases.loc[0, "dice"] = np.nan
    paths = []
    for (family, variant), rows in cases.groupby(["system", "variant"]):
        paths.append(tmp_path / f"{variant or family}.csv")
        write_cases(paths[-1], rows)
    write_cases(tmp_path / "all.csv", collect(paths))
    write_cases(tmp_path / "expected.csv", cases)
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    write_cases(tmp_path / "again.csv", read_cases(tmp_path / "all.csv"))
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_incomplete_repeated_and_foreign_tables_are_refused(cases, tmp_path):
    first, second = tmp_path / "noise_clip.csv", tmp_path / "mask_clip.csv"
    write_cases(first, cases[cases["variant"] == "noise_clip"])
    write_cases(second, cases[cases["variant"] == "noise_clip"])
    with pytest.raises(InputError, match="twice"):
        collect([first, second])
    write_cases(second, cases[cases["variant"] == "mask_clip"].iloc[1:])
    with pytest.raises(InputError, match="not of the same cases"):
        collect([first, second])
    second.write_text("nothing")
    with pytest.raises(InputError, match="run rule `score`"):
        collect([first, second])
