"""The benchmarks of inference on tiny networks: both sides do the same thing, and what is not run is told rightly."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from universal_diffusion.benchmarks import (
    at_scale,
    denoisers,
    inference,
    large_ct,
    others_at_scale,
    presets,
    segmentation,
    volumetric,
)
from universal_diffusion.benchmarks.budget import Budgeted
from universal_diffusion.benchmarks.parts import DECODE, DENOISE, ENCODE, FEATURES, Parts, flops_of
from universal_diffusion.benchmarks.plain_inference import plain_segmentation, scheduler_of
from universal_diffusion.benchmarks.tiny_networks import write_tiny
from universal_diffusion.benchmarks.volumetric import NNUNET, SEGRESNET
from universal_diffusion.benchmarks.whole_ct import engine, whole
from universal_diffusion.evaluation.beyond.cost import flops
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.method.weights import save_model
from universal_diffusion.segmentation.report import read_report
from universal_diffusion.segmentation.sampling.run import sample_volume
from universal_diffusion.settings import Segmentation, Study, read
from universal_diffusion.targets import all_targets, bits, target
from universal_diffusion.volumes import Grid, Volume, write_volume

PATCH, SHAPE, NAMES = 16, (28, 16, 3), ("liver", "spleen", "right kidney")
GUIDED = {"channels": (8, 8), "attention_levels": (False, True), "num_res_blocks": 1, "num_head_channels": 8}
GUIDED |= {"norm_num_groups": 8}
PIXEL = (denoisers.SAME, denoisers.GUIDED_DIFFUSION)


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Undo what `start_torch` sets for a whole process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def small(project_root) -> Study:
    """The paper's configuration with narrow networks on small windows."""
    paper = read(Study, yaml.safe_load((project_root / "config/paper.yaml").read_text()))
    return replace(
        paper,
        preparation=replace(paper.preparation, patch=PATCH),
        mask_autoencoder=replace(paper.mask_autoencoder, channels=(8, 8), residual_blocks=1),
        image_autoencoder=replace(paper.image_autoencoder, channels=(8, 8), residual_blocks=1),
        denoiser=replace(
            paper.denoiser, channels=(8, 16), residual_blocks=1, attention_scales=(1,), embedding_channels=8
        ),
    )


@pytest.fixture(scope="module")
def bundle(small) -> Bundle:
    """Random weights, the last layer too, which starts at zero."""
    made = at_scale.random_bundle(small, "cpu")
    torch.nn.init.normal_(made.denoiser.leave[-1].weight, std=0.3)
    return made


@pytest.fixture(scope="module")
def volume() -> Volume:
    generator, grid, labels = np.random.default_rng(3), Grid(SHAPE, np.diag([5.0, 5.0, 6.0, 1.0])), np.zeros(SHAPE)
    labels = labels.astype(np.uint32)
    labels[4:20, 6:14, :2] = bits(["liver"])
    image = generator.random(SHAPE, np.float32)
    return Volume("ircadb", "case", ("liver", "spleen"), "", image, labels, grid, labels, grid)


@pytest.fixture(scope="module")
def ct(tmp_path_factory, volume) -> Path:
    path = tmp_path_factory.mktemp("ct") / "ct.npy"
    np.save(path, volume.image)
    return path


@pytest.mark.parametrize(("steps", "ensemble"), [(1, 1), (5, 2)])
def test_the_plain_way_and_the_engine_give_the_same_maps(bundle, volume, tmp_path, steps, ensemble):
    """MONAI's inferers and scheduler on one side, the study's on the other, from the same noise."""
    sampling = Segmentation("ddim", steps, 0.0, ensemble, 0.5, batch=4)
    store = sample_volume(bundle, volume.image, volume.grid, NAMES, sampling, 7, tmp_path / "store", {}, show=False)
    masks = []
    for plain in plain_segmentation(bundle, volume.image, NAMES, sampling, 7):
        mean, variance = store.read(plain.target)
        np.testing.assert_allclose(plain.mean, mean, atol=1e-4)
        np.testing.assert_allclose(plain.variance, variance, atol=1e-4)
        masks.append(mean >= 0.5)
    assert 0 < np.mean(masks) < 1
    assert not np.array_equal(masks[0], masks[1])


def test_the_plain_way_refuses_what_monai_cannot_do(bundle, volume):
    for sampling in (Segmentation("ddim", 1, 1.0, 1, 0.5), Segmentation("ancestral", 1, 0.0, 1, 0.5)):
        with pytest.raises(ValueError, match="eta 0"):
            next(plain_segmentation(bundle, volume.image, NAMES, sampling, 7))
    with pytest.raises(ValueError, match="divisor"):
        scheduler_of(bundle.process, "mask", 3)


def test_monai_visits_the_steps_that_the_engine_visits(bundle):
    for steps in (1, 5, 20):
        visited = scheduler_of(bundle.process, "mask", steps).timesteps.tolist()
        assert visited == bundle.process.respace(steps).timestep_map.flip(0).tolist()


def test_rows_through_the_networks_are_those_of_each_way(bundle, volume):
    sampling, windows = Segmentation("ddim", 5, 0.0, 2, 0.5), 3 * 3
    with Parts(bundle) as parts:
        list(plain_segmentation(bundle, volume.image, NAMES, sampling, 7))
    passes = windows * len(NAMES) * 2
    assert parts.rows == {ENCODE: passes, FEATURES: 5 * passes, DENOISE: 5 * passes, DECODE: passes}
    assert all(0 < seconds < 60 for seconds in parts.seconds.values())
    each = flops_of(bundle)
    assert parts.operations(each) == passes * (each[ENCODE] + 5 * (each[FEATURES] + each[DENOISE]) + each[DECODE])
    assert not any(bundle.denoiser._forward_hooks or bundle.denoiser._forward_pre_hooks)


def test_operations_by_formula_are_those_that_torch_counts(bundle, volume, monkeypatch):
    monkeypatch.setattr(at_scale, "NAMES", NAMES[:1])
    sampling = Segmentation("ddim", 5, 0.0, 2, 0.5)
    counted = flops(lambda: list(plain_segmentation(bundle, volume.image[..., :1], NAMES[:1], sampling, 7)))
    expected = at_scale.operations(bundle, 3, (5, 2), cached=False)
    assert counted == pytest.approx(expected, rel=0.02)
    saved = expected - at_scale.operations(bundle, 3, (5, 2), cached=True)
    each = flops_of(bundle)
    assert saved == 3 * (1 * each[ENCODE] + 9 * each[FEATURES])


def test_a_budgeted_predictor_works_first_and_then_pretends():
    budgeted = Budgeted(lambda patches: patches + 1, "cpu", budget=0.0)
    full, last = torch.zeros(4, 1), torch.ones(2, 1)
    assert torch.equal(budgeted(full), full + 1)
    assert torch.equal(budgeted(torch.ones(4, 1)), full + 1)
    assert torch.equal(budgeted(last), last + 1)
    assert (budgeted.worked, budgeted.pretended) == (2, 1)
    assert budgeted.share == pytest.approx(2 / 3)
    assert budgeted.missing_seconds == pytest.approx(budgeted.working / 2)
    patient = Budgeted(lambda patches: patches, "cpu", budget=60.0)
    assert torch.equal(patient(full), patient(full))
    assert (patient.share, patient.missing_seconds) == (1, 0)


def test_a_whole_ct_is_told_from_a_part_of_it():
    """Twice the windows and thrice the targets: encoding doubles, all else takes six times as long."""
    figures = {"seconds": 10.0, ENCODE: 1.0, FEATURES: 1.0, DENOISE: 4.0, DECODE: 2.0}
    told = whole(figures, 2, 3, once=0.5)
    assert told["seconds"] == pytest.approx(2 + 6 + 24 + 12 + 12 + 0.5)
    assert told["measured %"] == pytest.approx(100 / 6)
    assert sum(told[f"{part} %"] for part in (ENCODE, FEATURES, DENOISE, DECODE, "other")) == pytest.approx(100)
    assert told["denoise %"] == pytest.approx(2400 / told["seconds"])


def test_each_system_tells_the_whole_ct(small, ct, monkeypatch):
    monkeypatch.setattr(denoisers, "GUIDED", GUIDED)
    monkeypatch.setattr(others_at_scale, "WINDOW", 16)
    monkeypatch.setattr(volumetric, "WINDOW", 16)
    monkeypatch.setattr(others_at_scale, "NETWORKS", {SEGRESNET: lambda: torch.nn.Conv3d(1, 30, 3, padding=1)})
    threads, cells = torch.get_num_threads(), [(1, 1), (5, 2)]
    found = [
        engine(small, ct, cells, "cpu", threads, 0.0),
        others_at_scale.plain(small, ct, cells, "cpu", threads, 0.0),
        *(others_at_scale.pixel(name, small, ct, cells, "cpu", threads, 0.0) for name in PIXEL),
        others_at_scale.volumetric(SEGRESNET, ct, "cpu", threads, 0.0),
    ]
    assert [len(one["rows"]) for one in found] == [2, 2, 2, 2, 1]
    for row in (row for one in found for row in one["rows"]):
        assert row["seconds"] > 0
        assert 0 < row["measured %"] <= 100
        assert row["operations"] > 0
    assert found[0]["rows"][0]["operations"] < found[1]["rows"][0]["operations"]


@pytest.mark.parametrize(
    ("build", "millions", "teraflops"), [(volumetric.segresnet, 18.8, 1.16), (volumetric.nnunet, 31.2, 0.96)]
)
def test_volumetric_networks_are_of_the_size_that_people_run(build: Callable, millions: float, teraflops: float):
    with torch.device("meta"):
        network, window = build(), torch.zeros(1, 1, 128, 128, 128)
        assert network(window).shape == (1, 30, 128, 128, 128)
        assert flops(lambda: network(window)) / 1e12 == pytest.approx(teraflops, rel=0.01)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_record_of_inference_states_every_cell_and_ratio(small):
    rows = [
        inference._row(system, cell, {"seconds": 2.0, "measured %": 10.0, "operations": 4e15}, 2000.0)
        | {"peak GiB": 1.0}
        for system, cells in (inference.CELLS | dict.fromkeys((SEGRESNET, NNUNET), inference.NO_CELL)).items()
        for cell in cells
    ]
    table = pd.DataFrame(rows)
    assert len(table) == 14
    assert table["% of peak"].eq(100).all()
    told = {device: " ".join(inference.report(table, small, 2000.0, device, 2)) for device in ("cpu", "cuda")}
    assert "not known yet" in told["cpu"]
    assert "2 s here, reached" in told["cuda"]
    assert told["cuda"].count("1 times the time, 1 times the operations, 1 times the memory") == 6


def test_segmentations_are_compared_with_the_plain_way_and_the_truth(bundle, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation, "STEPS", (1,))
    monkeypatch.setattr(segmentation, "ENSEMBLES", (1,))
    monkeypatch.setattr("universal_diffusion.segmentation.sampling.run.batch_size", lambda *_: 4)
    monkeypatch.setattr(segmentation, "all_targets", lambda: [target(name) for name in NAMES])
    rows = segmentation.compare(bundle, volume, 0.5, tmp_path)
    systems = rows.set_index("system")
    assert list(systems.index) == [segmentation.PLAIN, segmentation.TUNED, segmentation.OURS, segmentation.GATED]
    assert systems.loc[segmentation.OURS, "lowest"] > 99
    assert systems.loc[segmentation.OURS, "windows encoded"] < systems.loc[segmentation.PLAIN, "windows encoded"]
    assert rows["Dice with the truth"].between(0, 100).all()
    card = {"study": "test", "variant": "mask_learnt", "cohort": "noise", "patch": PATCH}
    notes = segmentation.report(rows, volume, card, "cpu", 1)
    assert "Goal 10 times: " in notes[1]
    assert "Goal 30 times: " in notes[2]
    assert list(tmp_path.iterdir()) == []


def test_the_case_with_the_most_targets_is_chosen(volume, tmp_path):
    for number, annotated in enumerate((("liver",), ("liver", "spleen"), ("spleen", "colon"))):
        write_volume(tmp_path / f"{number}.h5", replace(volume, case=str(number), annotated=annotated))
    assert segmentation.chosen(sorted(tmp_path.glob("*.h5"))).case == "1"


@pytest.fixture(scope="module")
def model(bundle, tmp_path_factory) -> Path:
    """The bundle as a directory, for CTs of 6 mm."""
    card = bundle.card | {"hu_window": [-175.0, 250.0], "spacing_mm": [6.0, 6.0, 6.0]}
    card |= {"prediction": "mask", "study": "test", "variant": "mask_learnt", "cohort": "noise"}
    directory = tmp_path_factory.mktemp("models") / "model"
    save_model(directory, bundle.networks, card)
    return directory


def test_a_preset_is_timed_as_a_command_and_scored_with_the_truth(model, tmp_path):
    presets.write_ct(tmp_path / "ct.nii.gz", 24)
    row = presets.timed("fast", model, tmp_path / "ct.nii.gz", tmp_path / "fast", 1)
    assert (row["preset"], row["steps"], row["samples"], row["gate"]) == ("fast", 1, 1, "on")
    assert 0 < row["sampling s"] < row["seconds"]
    assert 0.1 < row["peak GiB"] < 8
    report = read_report(tmp_path / "fast")
    truth, scores = np.load(tmp_path / "labels.npy"), presets.dices(report, tmp_path / "labels.npy", tmp_path / "fast")
    assert set(scores) == {known.name for known in all_targets() if (truth & bits([known.name])).any()}
    for name, score in scores.items():
        wanted, found = truth & bits([name]) > 0, nibabel.load(tmp_path / "fast" / f"{target(name).slug}.nii.gz")
        found = found.get_fdata() == 1
        assert score == pytest.approx(2 * (wanted & found).sum() / (wanted.sum() + found.sum()))
    assert row["Dice %"] == pytest.approx(100 * np.mean(list(scores.values())))
    card = {"study": "test", "variant": "mask_learnt", "cohort": "noise", "targets": []}
    assert f"mean over the {len(scores)} of" in presets.notes(pd.DataFrame([row]), list(truth.shape), card, 1)[2]


def test_tiny_networks_on_the_papers_grid_find_a_little(project_root, tmp_path):
    """On windows of 32 instead of 256; the rest is the paper's."""
    paper = read(Study, yaml.safe_load((project_root / "config/paper.yaml").read_text()))
    paper = replace(paper, preparation=replace(paper.preparation, patch=32))
    write_tiny(tmp_path, paper)
    made = load_bundle(tmp_path)
    assert (made.card["spacing_mm"], made.card["patch"]) == ([1.5, 1.5, 2.0], 32)
    generator = torch.Generator().manual_seed(1)
    logits = made.mask_autoencoder.decode(torch.randn(8, made.latent_channels, 8, 8, generator=generator))
    assert 0 < (logits > 0).float().mean() < 0.1
    assert sum(one.numel() for one in made.networks.parameters()) < 100_000


def test_the_chain_goes_from_file_to_files(model, tmp_path):
    """A CT of constant tissue in air; every part has its seconds and its own peak of memory."""
    image = np.full((40, 36, 8), -1000, np.int16)
    image[8:32, 8:30] = 40 + np.random.default_rng(1).integers(-20, 20, (24, 22, 8))
    nibabel.save(nibabel.Nifti1Image(image, np.diag([6.0, 6.0, 6.0, 1.0])), tmp_path / "ct.nii.gz")
    figures = large_ct.chain(model, tmp_path / "ct.nii.gz", tmp_path, torch.get_num_threads(), steps=2)
    table = large_ct.table_of(figures["rows"], large_ct.TRAINED)
    assert list(table["part"]) == ["load the model", "read", "harmonise", "sample", "export", large_ct.WHOLE]
    assert (table["seconds"] > 0).all()
    assert table["peak GiB"].between(0.1, 8).all()
    notes = large_ct.told(table, figures, 1)
    assert "40 x 36 x 8 voxels" in notes
    assert "29 targets" in notes
    assert "of 6 x 6 x 6 mm, windows of 16 x 16" in notes
    assert "steps 2, ensemble 5, the gate on" in notes
    assert "goal: under 8 GiB, reached" in notes
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"liver.nii.gz", "liver_mean.nii.gz", "overview.png"}
