"""Scoring stored predictions on the CT's own grid and on the harmonised one."""

import hashlib
import shutil
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

from universal_diffusion.checksums import hashes, write_sums, write_with_hash
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.scoring.cases import collect, read_cases, write_cases
from universal_diffusion.evaluation.scoring.score import main, score_system
from universal_diffusion.preparation.label_resampling import resample_labels, resample_mask, target_boxes
from universal_diffusion.segmentation.outputs.nifti_output import write_map, write_mask
from universal_diffusion.systems import system_of
from universal_diffusion.targets import bits, mask, target
from universal_diffusion.volumes import Grid

ASKED = (40 - 2) * 34 * 6  # voxels within 20 mm of the box around p1's liver, as far as the CT goes


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
    seal(folder)


def seal(folder):
    """End a shard as the engine does."""
    write_sums(folder, hashes(folder, folder.rglob("*.nii.gz")))


def score(study, folder, system="mask_clip", processes=1):
    places = [folder], [study["volumes"]], study["splits"], study["volumes"].parent
    return score_system(system_of(system), *places, processes)


def cases_of(study, folder, system="mask_clip"):
    return pd.DataFrame(score(study, folder, system).cases).set_index(["source", "target"])


def test_a_perfect_prediction_scores_one_and_an_absent_target_has_no_score(study, tmp_path):
    predict(tmp_path, study["stored"])
    cases = cases_of(study, tmp_path)
    assert len(cases) == 6
    agreements = ["dice", "surface_dice", "hd95_mm", "dice_harmonised", "surface_dice_harmonised", "hd95_harmonised_mm"]
    for source in ("ircadb", "msd03"):
        for name in ("liver", "liver tumor"):
            row = cases.loc[(source, name)]
            assert row[agreements].tolist() == [1, 1, 0, 1, 1, 0]
            assert row["error_auroc"] != row["error_auroc"]  # nothing is wrong
            assert (row["volume_error"], np.isnan(row["false_positive_ml"])) == (0, True)
        assert np.isnan(cases.loc[(source, "spleen"), [*agreements, "volume_error"]].astype(float)).all()
        assert cases.loc[(source, "spleen"), ["outcome", "false_positive_ml"]].tolist() == ["both_empty", 0]
    liver = cases.loc[("ircadb", "liver")]
    assert liver["ece"] == pytest.approx(0.2 * 1280 / ASKED, rel=0.01)
    assert liver["part"] == "test"
    assert cases.loc[("msd03", "liver"), ["system", "variant", "dataset"]].tolist() == [
        *("universal_diffusion", "mask_clip", "msd")
    ]
    assert liver["truth_ml"] == pytest.approx(10 * 8 * 4 * 80 / 1000)
    assert liver["dice_clip_universal"] == pytest.approx(2 * 320 / (320 + 320 + 1))
    assert np.isnan(cases.loc[("ircadb", "liver tumor"), "dice_clip_universal"])


def test_a_false_alarm_scores_zero_and_a_shift_loses_exactly_what_it_moves(study, tmp_path):
    def change(name, truth):
        return np.ones_like(truth) if name == "spleen" else np.roll(truth, 2, axis=0)

    predict(tmp_path, study["stored"], change, maps=False)
    found = score(study, tmp_path, "segresnet")
    cases = pd.DataFrame(found.cases).set_index(["source", "target"])
    row = cases.loc[("ircadb", "spleen")]
    assert (row["dice"], row["surface_dice"], row["dice_harmonised"], row["outcome"]) == (0, 0, 0, "false_positive")
    assert row["truth_ml"] == 0
    assert row["false_positive_ml"] == row["predicted_ml"] == pytest.approx(40 * 36 * 6 * 20 / 1000)
    liver = cases.loc[("ircadb", "liver")]
    assert (liver["dice"], liver["dice_harmonised"]) == pytest.approx((0.9, 0.9))
    assert liver["volume_error"] == 0
    assert not {"ece", "uncertainty"} & set(cases.columns)
    assert (found.reliability, found.coverage) == ([], [])
    assert (cases["variant"] == "").all()


def test_a_flipped_side_is_no_match(study, tmp_path):
    predict(tmp_path, study["stored"], lambda name, truth: truth[::-1], maps=False)
    cases = cases_of(study, tmp_path, "segresnet")
    assert cases.loc[("ircadb", "liver"), "dice"] < 0.9
    assert cases.loc[("ircadb", "liver tumor"), "dice"] < 0.5
    assert (cases["volume_error"].dropna() == 0).all(), "which volumes alone would not tell"


def test_a_prediction_flipped_with_its_header_is_on_another_grid(study, tmp_path):
    predict(tmp_path, study["stored"])
    volume = study["stored"][0]
    turn = np.diag([-1.0, 1, 1, 1])
    turn[0, 3] = volume.native_grid.shape[0] - 1
    flipped = Grid(volume.native_grid.shape, volume.native_grid.affine @ turn)
    write_mask(tmp_path / "ircadb" / "p1" / "liver.nii.gz", mask(volume.native_labels, "liver")[::-1], flipped)
    seal(tmp_path)
    with pytest.raises(InputError, match="another grid"):
        score(study, tmp_path)


@pytest.mark.parametrize("planted", ["mean", "variance"])
def test_a_map_is_no_mask(study, tmp_path, planted):
    predict(tmp_path, study["stored"])
    liver = tmp_path / "ircadb" / "p1" / "liver.nii.gz"
    liver.with_name(f"liver_{planted}.nii.gz").replace(liver)
    seal(tmp_path)
    with pytest.raises(InputError, match=r"liver\.nii\.gz: holds other values than 0 and 1"):
        score(study, tmp_path)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9, -0.5])
def test_another_threshold_than_a_half_is_told(study, tmp_path, threshold):
    """-0.5: what is below a half is taken for the target."""
    predict(tmp_path, study["stored"])
    volume = study["stored"][0]
    mean = np.linspace(0, 1, volume.native_labels.size, dtype=np.float32).reshape(volume.native_grid.shape)
    stem = tmp_path / "ircadb" / "p1" / "liver"
    write_map(stem.with_name("liver_mean.nii.gz"), mean, 1.0, volume.native_grid)
    write_mask(stem.with_name("liver.nii.gz"), mean >= 0.5, volume.native_grid)
    seal(tmp_path)
    score(study, tmp_path)
    wrong = mean > threshold if threshold >= 0 else mean < 0.5
    write_mask(stem.with_name("liver.nii.gz"), wrong, volume.native_grid)
    seal(tmp_path)
    with pytest.raises(InputError, match=r"liver\.nii\.gz: is not where liver_mean\.nii\.gz is at least 0\.5"):
        score(study, tmp_path)


def test_an_unannotated_target_is_never_scored_though_predicted(study, tmp_path):
    predict(tmp_path, study["stored"])
    for volume in study["stored"]:
        everywhere = np.ones(volume.native_grid.shape, bool)
        write_mask(tmp_path / volume.source / volume.case / "pancreas.nii.gz", everywhere, volume.native_grid)
    seal(tmp_path)
    found = score(study, tmp_path)
    for rows in vars(found).values():
        assert {row["target"] for row in rows} - {""} == {"spleen", "liver", "liver tumor"}


def test_missing_predictions_and_foreign_grids_name_the_rule(study, tmp_path):
    with pytest.raises(InputError, match="rule `segment`"):
        score(study, tmp_path)
    predict(tmp_path, study["stored"])
    volume = study["stored"][0]
    path = tmp_path / "ircadb" / "p1" / "liver.nii.gz"
    write_mask(path, mask(volume.native_labels, "liver"), Grid(volume.native_grid.shape, np.eye(4)))
    with pytest.raises(InputError, match=r"liver\.nii\.gz: is not the file .*rule `segment` remakes it"):
        score(study, tmp_path)
    seal(tmp_path)
    with pytest.raises(InputError, match="another grid"):
        score(study, tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"liver\.nii\.gz: is missing.*rule `segment`"):
        score(study, tmp_path)
    with pytest.raises(InputError, match="rule `predict_baseline`"):
        score(study, tmp_path / "nowhere", "segresnet")


@pytest.mark.parametrize("name", ["native_labels", "labels"])
def test_damaged_labels_are_told(study, tmp_path, name):
    predict(tmp_path / "predictions", study["stored"])
    volumes = shutil.copytree(study["volumes"], tmp_path / "volumes")
    with h5py.File(volumes / "p1.h5") as file:
        place = file[name].id.get_chunk_info(0).byte_offset
    content = bytearray((volumes / "p1.h5").read_bytes())
    content[place + 4] ^= 0x5A
    (volumes / "p1.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"p1\.h5: is damaged"):
        score(study | {"volumes": volumes}, tmp_path / "predictions")


def test_uncertainty_is_written_by_bin_and_by_coverage(study, tmp_path):
    predict(tmp_path, study["stored"])
    found = score(study, tmp_path)
    reliability = pd.DataFrame(found.reliability).set_index(["source", "target", "bin"]).sort_index()
    assert len(reliability) == 2 * 3 * 10
    liver = reliability.loc[("ircadb", "liver")]
    voxels = 20 * 16 * 4
    assert liver.loc[8, "voxels"] == liver["truth_sum"].sum() == voxels
    assert liver["voxels"].sum() == liver.loc[[0, 8], "voxels"].sum() == ASKED
    assert liver["probability_sum"].sum() == pytest.approx(0.8 * voxels)
    coverage = pd.DataFrame(found.coverage).set_index(["source", "target"])
    assert coverage.loc[("ircadb", "liver"), "coverage"].tolist() == [1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5]
    kept = coverage.loc[("ircadb", "liver"), "dice"].tolist()
    assert kept[:5] == [1] * 5
    assert np.isnan(kept[5:]).all()  # variance 0.16 in the target, 0 around it: all of the target is set aside
    assert coverage.loc[("ircadb", "spleen"), "dice"].isna().all()


def test_every_file_that_was_read_is_told_with_its_hash(study, tmp_path):
    predict(study["volumes"].parent / "predictions", study["stored"])
    found = score(study, study["volumes"].parent / "predictions")
    assert len(found.inputs) == 2 * (1 + 3 * 3)
    for row in found.inputs:
        content = (study["volumes"].parent / row["file"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
    assert {row["file"] for row in found.inputs if row["target"] == "liver tumor" and row["case"] == "p1"} == {
        f"predictions/ircadb/p1/liver_tumor{kind}.nii.gz" for kind in ("", "_mean", "_variance")
    }


def test_the_step_writes_the_same_bytes_with_any_number_of_processes(study, tmp_path, monkeypatch):
    predict(tmp_path / "predictions", study["stored"])
    names = ("scores", "reliability", "coverage", "inputs")
    for processes in (1, 2):
        outputs = [f"--output-{name}={tmp_path / str(processes) / name}.csv" for name in names]
        flags = [f"--{name}={tmp_path / 'predictions'}" for name in ("predictions",)] + ["--system=mask_clip"]
        flags += [f"--volumes={study['volumes']}", f"--splits={study['splits']}", f"--results={tmp_path}"]
        monkeypatch.setattr(sys, "argv", ["score", *flags, f"--processes={processes}", *outputs])
        main()
    for name in names:
        assert (tmp_path / "1" / f"{name}.csv").read_bytes() == (tmp_path / "2" / f"{name}.csv").read_bytes()
    assert len(read_cases(tmp_path / "2" / "scores.csv")) == 6


def test_what_is_wrong_comes_whole_from_another_process(study, tmp_path):
    with pytest.raises(InputError, match="hold no folder ircadb/p1; run rule `segment` again"):
        score(study, tmp_path, processes=2)


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
    write_with_hash(second, "nothing")
    with pytest.raises(InputError, match="run rule `score`"):
        collect([first, second])


def test_prediction_and_truth_go_the_same_way_onto_the_harmonised_grid():
    """So a perfect prediction loses nothing there, whatever the grids; nearest neighbours cost it several per cent."""
    affine = np.array([[-0.9, 0, 0, 30.0], [0, 0, 1.1, -2.0], [0, 0.7, 0, 5.0], [0, 0, 0, 1]])
    grid = Grid((24, 18, 12), np.array([[1.5, 0, 0, 1.2], [0, 1.5, 0, -2.1], [0, 0, 2, 4.7], [0, 0, 0, 1]]))
    native = np.zeros((38, 33, 25), np.uint32)
    native[12:16, 8:13, 6:9] = native[5:25, 20:22, 10:19] = bits(["liver"])
    labels = resample_labels(native, target_boxes(native), affine, grid)
    moved = resample_mask(mask(native, "liver"), affine, grid)
    assert mask(labels, "liver").any()
    assert (moved == mask(labels, "liver")).all()
    assert not resample_mask(np.zeros(native.shape, bool), affine, grid).any()
