"""The benchmarks' parts on small cases: both sides of each comparison do what they are timed for."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from universal_diffusion.benchmarks import demand, harmonise, layouts, plan, store
from universal_diffusion.benchmarks.record import forget, seconds, write_record
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.beyond.cost import flops
from universal_diffusion.method.autoencoders import ImageAutoencoder, MaskAutoencoder
from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.settings import Study, read
from universal_diffusion.targets import bits
from universal_diffusion.volumes import Grid, Volume, VolumeFile, write_volume

SHAPE = (24, 20, 6)


def volume_of(case: str) -> Volume:
    generator, grid = np.random.default_rng(3), Grid(SHAPE, np.diag([1.5, 1.5, 2, 1]))
    labels = np.zeros(SHAPE, np.uint32)
    labels[4:12, 6:14, 2:5] = bits(["liver"])
    return Volume("amos", case, ("liver",), case, generator.random(SHAPE, np.float32), labels, grid, labels, grid)


def test_seconds_is_the_median_of_the_timed_part():
    calls = []
    assert 0 <= seconds(lambda: calls.append("work"), 3, lambda: calls.append("before")) < 0.1
    assert calls == ["before", "work"] * 3


def test_forgotten_files_are_unchanged(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    forget([tmp_path / "file"])
    assert (tmp_path / "file").read_bytes() == b"content"


def test_record_names_the_machine_and_the_commit(tmp_path):
    write_record(
        tmp_path / "b.csv", pd.DataFrame([{"what": "a|b", "rate": 1234.5, "share": 0.1234}]), "Title", ["Note."]
    )
    assert pd.read_csv(tmp_path / "b.csv").loc[0, "rate"] == pytest.approx(1234.5, rel=1e-3)
    page = (tmp_path / "b.md").read_text()
    assert page.startswith("# Title\n\nMeasured on ")
    assert "cores of" in page
    assert "at commit" in page
    assert "| a\\|b | 1,234 | 0.123 |" in page
    assert page.endswith("- Note.\n")


def test_every_pipeline_cuts_its_patches(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PATCH", 16)
    volumes = [volume_of(str(number)) for number in range(store.CASES)]
    paths = [tmp_path / f"{volume.case}.h5" for volume in volumes]
    for path, volume in zip(paths, volumes, strict=True):
        write_volume(path, volume)
    own, files = store.store(paths, images=True), store.nifti(volumes, tmp_path)
    assert own.visit(0).image.shape == own.afresh(0).image.shape == (store.PER_CASE, 1, 16, 16)
    assert store.store(paths, images=False).visit(0).image.shape == (store.PER_CASE, 0, 16, 16)
    assert [cut.shape for cut in files.visit(0)] == [(16, 16)] * 2 * store.PER_CASE
    for indexed in (False, True):
        other = store.monai(files.files, tmp_path, indexed)
        patches = other.visit(1)
        assert [tuple(patch["image"].shape) for patch in patches] == [(1, 16, 16, 1)] * store.PER_CASE
        assert all(path.exists() for paths in other.files for path in paths)
        assert len({path for paths in other.files for path in paths}) == store.CASES
    row = store.measured(own)
    assert row["warm patches/s"] > 0
    assert row["MB per case"] == pytest.approx((tmp_path / "0.h5").stat().st_size / 1e6)


def test_a_training_step_costs_about_three_forward_passes(project_root):
    """Backward is twice forward but for the first layer, whose input needs no gradient."""
    study = read(Study, yaml.safe_load((project_root / "config/paper.yaml").read_text()))
    counted = demand.step_flops(study)
    for network, settings, kind in (
        ("mask auto-encoder", study.mask_autoencoder, MaskAutoencoder),
        ("image auto-encoder", study.image_autoencoder, ImageAutoencoder),
    ):
        with torch.device("meta"):
            module = kind(settings.channels, settings.latent_channels, settings.residual_blocks)
            patch = torch.zeros(1, 1, 256, 256)
            noise = [] if kind is MaskAutoencoder else [torch.zeros(1, 3, 64, 64)]
            forward = flops(lambda module=module, given=(patch, *noise): module(*given))
        assert 2.9 * forward < counted[network] <= 3 * forward
    assert demand.patches_per_second(study) == {name: demand.PEAK_FLOPS / count for name, count in counted.items()}


@pytest.mark.parametrize("layout", layouts.LAYOUTS, ids=lambda layout: layout.name)
def test_every_layout_is_written_and_read(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(layouts, "PATCH", 16)
    one = volume_of("1")
    monkeypatch.setattr(layouts, "PATCHES", 3)
    edge = layouts.Layout(layout.name, layout.image, layout.labels, layout.edge and 8, layout.filters)
    row = layouts.measured(edge, one.image, one.labels, tmp_path / "layout.h5")
    assert row["MB per case"] == (tmp_path / "layout.h5").stat().st_size / 1e6


def test_both_harmonisations_run_on_the_same_case(tmp_path):
    image = np.full((60, 60, 12), -1000, np.int16)
    image[10:50, 10:50] = 40 + np.random.default_rng(1).integers(-20, 20, (40, 40, 12))
    labels = np.zeros(image.shape, np.uint32)
    labels[20:30, 20:30, 3:9] = bits(["liver"])
    harmonise.write_case(Scan(image, np.diag([5.0, 5.0, 5.0, 1.0]), labels), tmp_path)
    for name in harmonise.PIPELINES:
        figures = harmonise.run(name, tmp_path)
        assert figures["seconds"] > figures["of which reading"] > 0
        assert 0.05 < figures["peak GiB"] < 8
    with VolumeFile(tmp_path / f"{harmonise.CASE}.h5") as file:
        assert file.slice_counts.any()


def test_planned_jobs_reads_the_total_and_tells_a_failure(tmp_path):
    script = tmp_path / "plan.py"
    script.write_text("print('job  count')\nprint('total     321')\n")
    assert plan.planned_jobs([sys.executable, str(script)]) == 321
    script.write_text("import sys; sys.exit('no such rule')")
    with pytest.raises(InputError, match="no such rule"):
        plan.planned_jobs([sys.executable, str(script)])
