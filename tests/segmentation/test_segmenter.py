"""A CT from Python: arrays on its own grid, files beside, and nothing left behind."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

import universal_diffusion
from universal_diffusion import Segmenter
from universal_diffusion.errors import InputError, of_the_disk
from universal_diffusion.files import sha256
from universal_diffusion.method.weights import load_card, write_card
from universal_diffusion.segmentation.inputs.ct_hash import ct_sha256
from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.segmentation.lock import alone
from universal_diffusion.segmentation.outputs.export import Outputs
from universal_diffusion.segmentation.presets import PRESETS, sampling_of
from universal_diffusion.segmentation.segmenter import as_ct
from universal_diffusion.settings import Segmentation

SAMPLING = Segmentation(sampler="ddim", steps=2, eta=1.0, ensemble=2, overlap=0.25, batch=16)
AFFINE = np.array([[0, 0, -4.0, 90], [-5, 0, 0, 120], [0, 8, 0, 300], [0, 0, 0, 1]])  # an ASL scan, axes permuted
MAPS = ("mean", "variance", "entropy")


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    shape = (44, 8, 40)
    y, _, x = np.indices(shape)
    body = ((y - 22) / 18) ** 2 + ((x - 20) / 17) ** 2 < 1
    image = np.where(body, 40, -1000).astype(np.int16)
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    file = nibabel.Nifti1Image(image, None)
    file.set_sform(AFFINE, 1)
    nibabel.save(file, path)
    return path


@pytest.fixture(scope="module")
def segmenter(model) -> Segmenter:
    return Segmenter.load(model, device="cpu", threads=1)


@pytest.fixture
def small_outputs() -> Outputs:
    return Outputs(masks=False, multilabel=True, maps=False, dicom_seg=False, overview=False)


def test_arrays_are_those_of_the_files(ct, segmenter, tmp_path):
    with segmenter.segment(ct, ["Liver", "left_kidney", "liver"], SAMPLING, seed=5) as found:
        assert found.targets == ("liver", "left kidney")
        found.save(tmp_path)
        for name in found.targets:
            stem = tmp_path / name.replace(" ", "_")
            mask = nibabel.load(f"{stem}.nii.gz")
            assert np.allclose(mask.affine, AFFINE)
            assert np.array_equal(found.mask(name), np.asarray(mask.dataobj) == 1)
            for kind, level in zip(MAPS, (1 / 255, 0.25 / 255, 1 / 255), strict=True):
                written = nibabel.load(f"{stem}_{kind}.nii.gz").get_fdata()
                assert np.abs(written - getattr(found, kind)(name)).max() <= level * 0.51
        p = found.mean("liver").astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            bits = np.nan_to_num(-p * np.log2(p) - (1 - p) * np.log2(1 - p))
        assert np.abs(found.entropy("liver") - bits).max() < 1e-3


def test_the_report_says_what_was_done_and_what_came_out(ct, segmenter, model, tmp_path):
    with segmenter.segment(ct, ["liver"], SAMPLING, seed=5) as found:
        report = json.loads(found.save(tmp_path).read_text())
        mask, facts = found.mask("liver"), found.facts["liver"]
    liver = report["targets"]["liver"]
    assert liver["id"] == 6
    assert liver["voxels"] == facts.voxels == mask.sum() > 0
    assert liver["volume_ml"] == pytest.approx(mask.sum() * 0.16)  # voxels of 4 x 5 x 8 mm
    assert liver["mean_hu"] == pytest.approx(nibabel.load(ct).get_fdata()[mask].mean(), abs=0.01)
    assert liver["files"] == {"mask": "liver.nii.gz"} | {kind: f"liver_{kind}.nii.gz" for kind in MAPS}
    assert report["files"] == {"overview": "overview.png"}
    assert {path.name for path in tmp_path.iterdir()} == {
        *liver["files"].values(),
        *report["files"].values(),
        "segmentation.json",
    }
    assert report["bytes"] == {
        path.name: path.stat().st_size for path in tmp_path.iterdir() if path.name != "segmentation.json"
    }
    assert report["model"]["weights_sha256"] == sha256(model / "weights.safetensors")
    assert report["ct"] == {
        "path": str(ct),
        "series": None,
        "format": "NIfTI",
        "shape": [44, 8, 40],
        "spacing_mm": [5, 8, 4],
        "notes": [],
    }
    assert report["harmonised"]["spacing_mm"] == [6, 6, 6]
    assert (report["seed"], report["device"], report["threads"], report["batch"]) == (5, "cpu", 1, 16)
    assert report["gate"] is None
    assert report["seconds"].keys() == {"load", "read", "harmonise", "sample", "export"}
    assert 0.05 < report["peak_memory_gib"] < 64


def test_a_sample_alone_has_no_spread(ct, segmenter):
    with segmenter.segment(ct, ["liver"], replace(SAMPLING, ensemble=1)) as found:
        assert not found.variance("liver").any()
        assert found.facts["liver"].volume_sd_ml is None


def test_bytes_repeat_whatever_else_is_asked_for(ct, segmenter, tmp_path):
    for folder, targets in (("two", ["spleen", "liver"]), ("one", ["liver"])):
        with segmenter.segment(ct, targets, SAMPLING, seed=5) as found:
            found.save(tmp_path / folder)
    for end in ("", *(f"_{kind}" for kind in MAPS)):
        assert sha256(tmp_path / "two" / f"liver{end}.nii.gz") == sha256(tmp_path / "one" / f"liver{end}.nii.gz")


def test_the_order_asked_is_the_results_and_nothing_else(ct, segmenter, tmp_path):
    names, written = ["liver", "spleen", "left kidney"], []
    for number, order in enumerate((names, names[::-1])):
        with segmenter.segment(ct, order, SAMPLING, seed=5) as found:
            report = json.loads(found.save(tmp_path / f"{number}").read_text())
            assert [*found.targets] == [*found.facts] == order
        written.append({name: sha256(tmp_path / f"{number}" / name) for name in report["bytes"]})
    assert written[0] == written[1]


def test_folders_that_another_run_has_are_refused(ct, segmenter, small_outputs, tmp_path):
    """A lock that another thread took stands for another process: both hold the file open on their own."""
    quick = replace(SAMPLING, steps=1, ensemble=1)
    with ThreadPoolExecutor(1) as elsewhere, ExitStack() as theirs:
        for name in ("work", "out"):
            elsewhere.submit(theirs.enter_context, alone(tmp_path / name)).result()
        with pytest.raises(InputError, match=r"work: another run is at work in it"):
            segmenter.segment(ct, ["liver"], quick, work=tmp_path / "work")
        with segmenter.segment(ct, ["liver"], quick, work=tmp_path / "mine") as found:
            with pytest.raises(InputError, match="out: another run is at work in it"):
                found.save(tmp_path / "out", small_outputs)
            with pytest.raises(InputError, match="mine: another run is at work in it"):
                elsewhere.submit(segmenter.segment, ct, ["liver"], quick, 0, tmp_path / "mine").result()
        elsewhere.submit(theirs.close).result()
        assert not list(tmp_path.rglob(".lock"))
    with pytest.raises(InputError, match=r"ct\.nii\.gz: is a file, expected a folder"):
        segmenter.segment(ct, ["liver"], quick, work=ct)


def test_a_given_batch_is_another_run_with_the_same_masks(ct, segmenter, tmp_path):
    measured = replace(SAMPLING, batch=None)
    with segmenter.segment(ct, ["liver"], measured) as found:
        batch = json.loads(found.save(tmp_path / "a").read_text())["batch"]
        mean = found.mean("liver")
    with segmenter.segment(ct, ["liver"], replace(measured, batch=batch)) as found:
        assert np.array_equal(found.mean("liver"), mean)


def test_a_nibabel_image_is_what_its_file_is(ct, segmenter, tmp_path):
    other = tmp_path / "scaled.nii"
    with (
        segmenter.segment(ct, ["liver"], SAMPLING) as of_path,
        segmenter.segment(nibabel.load(ct), ["liver"], SAMPLING) as of_image,
    ):
        assert np.array_equal(of_path.mean("liver"), of_image.mean("liver"))
        assert of_image.ct.path == ct
    scaled = nibabel.Nifti1Image(np.asarray(nibabel.load(ct).dataobj), AFFINE)
    scaled.header.set_slope_inter(0.37, -3.1)
    nibabel.save(
        nibabel.Nifti1Image(np.linspace(-1000, 400, 8 * 1760).reshape(44, 8, 40), AFFINE, scaled.header), other
    )
    assert nibabel.load(other).dataobj.slope != 1
    assert ct_sha256(as_ct(nibabel.load(other))) == ct_sha256(read_ct(other))  # so `view` takes the file
    with pytest.raises(InputError, match=r"^image: .*not Hounsfield units"):
        segmenter.segment(
            nibabel.Nifti1Image(np.random.default_rng(0).random((9, 9, 9), np.float32), AFFINE), ["liver"]
        )


def test_nothing_is_left_behind_but_a_work_folder_that_was_asked_for(ct, segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with segmenter.segment(ct, ["liver"], SAMPLING) as found:
        assert found.store.folder.is_relative_to(tmp_path / "temporary")
        with pytest.raises(InputError, match=r"'spleen'.*was not asked for.*liver"):
            found.mask("spleen")
    with segmenter.segment(ct, ["liver"], SAMPLING, work=tmp_path / "work") as found:
        mean = found.mean("liver")
    assert not list((tmp_path / "temporary").iterdir())
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("slab*")}
    with segmenter.segment(ct, ["liver"], SAMPLING, work=tmp_path / "work") as found:
        assert np.array_equal(found.mean("liver"), mean)
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("slab*")}
    assert made


def test_a_result_takes_the_place_of_an_earlier_one(ct, segmenter, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with segmenter.segment(ct, ["liver"], SAMPLING) as found:
        found.save(tmp_path)
        found.save(tmp_path, Outputs(masks=False, multilabel=True, maps=False, dicom_seg=False, overview=False))
    assert {path.name for path in tmp_path.iterdir()} == {
        "notes.txt",
        "segmentation.nii.gz",
        "segmentation_labels.txt",
        "segmentation_labels.ctbl",
        "segmentation.json",
    }


def test_a_dicom_report_names_its_series_and_an_absolute_path(
    segmenter, write_slice, small_outputs, tmp_path, monkeypatch
):
    for number in range(4):
        hu = np.full((32, 40), -1000)
        hu[4:28, 4:36] = 40
        write_slice(tmp_path / "series" / f"{number}.dcm", hu, (0, 0, 6 * number), SeriesInstanceUID="1.2.3.4")
    monkeypatch.chdir(tmp_path)
    with segmenter.segment("series", ["liver"], replace(SAMPLING, steps=1)) as found:
        report = json.loads(found.save("out", small_outputs).read_text())
    assert report["ct"]["path"] == str(tmp_path / "series")
    assert report["ct"]["series"] == "1.2.3.4"
    assert report["ct"]["notes"][-1].startswith("no DICOM-SEG: the CT's headers have no StudyInstanceUID")
    assert report["identity"]["ct_sha256"] == ct_sha256(read_ct(tmp_path / "series"))


def test_a_save_that_was_cut_off_leaves_nothing_behind_the_next(ct, segmenter, small_outputs, tmp_path):
    both = replace(small_outputs, masks=True)
    names = {"liver.nii.gz", "segmentation.nii.gz", "segmentation_labels.txt", "segmentation_labels.ctbl"}
    with segmenter.segment(ct, ["liver"], replace(SAMPLING, steps=1)) as found:
        found.save(tmp_path, both)
        assert {path.name for path in tmp_path.iterdir()} == {*names, "segmentation.json"}
        room = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:  # a disk that is full after the mask and the list of files
            resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "segmentation.nii.gz").stat().st_size - 1, room[1]))
            with pytest.raises(OSError, match="File too large") as caught:
                found.save(tmp_path, both)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, room)
            signal.signal(signal.SIGXFSZ, ignored)
        assert "cannot be read or written (File too large)" in str(of_the_disk(caught.value))
        assert ".writing.json" in {path.name for path in tmp_path.iterdir()}
        (tmp_path / "liver.nii.gz").write_bytes(b"of the run that was cut off")
        # As `whole_file` names it, by a process that is no more.
        (tmp_path / f".partial-{socket.gethostname()}-{2**22 + 1}-liver.nii.gz").write_bytes(b"half")
        found.save(tmp_path, small_outputs)
    assert {path.name for path in tmp_path.iterdir()} == {*names - {"liver.nii.gz"}, "segmentation.json"}


def test_a_closed_result_says_so(ct, segmenter, tmp_path):
    with segmenter.segment(ct, ["liver"], replace(SAMPLING, steps=1)) as found:
        pass
    for use in (lambda: found.mask("liver"), lambda: found.facts, lambda: found.save(tmp_path / "out")):
        with pytest.raises(InputError, match="its result is closed; use it inside its `with`"):
            use()
    assert not (tmp_path / "out").exists()


def test_unknown_and_untrained_targets_are_refused_before_anything_is_read(segmenter, tmp_path):
    with pytest.raises(InputError, match="nearest: spleen"):
        segmenter.segment(tmp_path / "no.nii", ["spleeen"])
    with pytest.raises(InputError, match=r"'prostate'.*not annotated.*choose from: spleen"):
        segmenter.segment(tmp_path / "no.nii", ["prostate"])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda card: card["architecture"]["denoiser"].update(channels=[8, 16]), "another architecture"),
        (lambda card: card.pop("targets"), "no segmentation model"),
        (lambda card: card.pop("spacing_mm"), r"card\.json\.spacing_mm: is missing.*copy the model"),
        (lambda card: card.update(spacing_mm=None), r"card\.json\.spacing_mm: is None, expected a list of 3"),
        (lambda card: card.update(spacing_mm=[1, 0, 1]), r"expected edges above 0"),
        (lambda card: card.update(hu_window=[250, -175]), "a window that ascends"),
        (lambda card: card.update(patch=0), "says patch 0, expected at least 1"),
        (lambda card: card.pop("prediction"), r"card\.json\.prediction: is missing"),
        (lambda card: card.update(prediction="x0"), "expected one of mask, noise"),
        (lambda card: card.update(targets=["liver", "soul"]), "names 'soul', which is none of the 29"),
        (lambda card: card.update(weights_sha256="0"), "not the file its card"),
    ],
)
def test_models_that_do_not_fit(model, tmp_path, damage, problem):
    copied = shutil.copytree(model, tmp_path / "model")
    card = load_card(copied)
    damage(card)
    write_card(copied, card)
    with pytest.raises(InputError, match=problem):
        Segmenter.load(copied)


def test_devices_that_are_not_there(model):
    with pytest.raises(InputError, match=r"cuda:99.*torch sees"):
        Segmenter.load(model, device="cuda:99")
    with pytest.raises(InputError, match="'tpu': is none of auto, cpu, gpu, cuda and cuda:1; give one"):
        Segmenter.load(model, device="tpu")
    with pytest.raises(InputError, match=r"cuda:99.*torch sees"):
        Segmenter.load(model, device="gpu:99")


def test_presets_have_names(segmenter):
    with pytest.raises(InputError, match="'slow': is none of fast, default, best"):
        segmenter.sampling("slow")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not keep processes to cores")
def test_threads_are_the_cores_that_this_process_may_use(model):
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert Segmenter.load(model, "cpu").threads == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_presets_grow_and_know_what_a_model_can():
    fast, ordinary, best = (PRESETS[name] for name in ("fast", "default", "best"))
    assert fast.calls == 1 < ordinary.calls < best.calls
    assert ordinary.ensemble > 1  # the default has a variance
    assert sampling_of(ordinary, "mask", "cpu").gate is not None
    assert sampling_of(ordinary, "noise", "cpu").gate is None
    assert sampling_of(best, "mask", "cpu").gate is None
    assert [sampling_of(fast, "mask", kind).precision for kind in ("cpu", "cuda")] == ["32-true", "bf16-mixed"]


def test_the_package_imports_torch_only_for_the_segmenter():
    code = "import sys, universal_diffusion; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        universal_diffusion.Segmentor  # noqa: B018


def test_the_example_of_the_documentation_runs(ct, model, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "segment.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shutil.copytree(model, tmp_path / "results/embedded/models/mask_clip")
    shutil.copy(ct, tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/segment.md", "exec"), {})
    volume, bits = map(float, capsys.readouterr().out.split())
    assert volume >= 0
    assert 0 <= bits <= 1
    assert {"liver.nii.gz", "spleen_entropy.nii.gz", "segmentation.json"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
