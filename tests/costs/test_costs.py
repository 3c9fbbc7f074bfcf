"""What a study costs: figures from the records, sizes against what was counted, the page against its command."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.benchmarks.demand import PEAK_FLOPS
from universal_diffusion.costs import disk, page
from universal_diffusion.costs.amounts import Range, figure, shown, total
from universal_diffusion.costs.operations import trainings, windows
from universal_diffusion.doctor.command import read_study
from universal_diffusion.errors import InputError
from universal_diffusion.method.bundle import architecture_of, build_autoencoder, build_denoiser
from universal_diffusion.training.denoiser import architecture_of as denoiser_architecture

amounts = st.floats(0, 1e6)


@pytest.fixture
def study(project_root, monkeypatch):
    """Reads a configuration of the project, in its folder."""
    monkeypatch.chdir(project_root)
    return lambda name: read_study(Path("config", f"{name}.yaml"))


@given(amounts, amounts, amounts)
def test_ranges_add_and_scale_by_their_bounds(low, width, factor):
    one = Range(low, low + width)
    assert total([one, one]) == one * 2.0
    scaled = one * Range(factor, factor + 1)
    assert scaled.low == low * factor
    assert scaled.high == (low + width) * (factor + 1)
    assert scaled.low <= scaled.high


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (0.123, "0.12"), (9.94, "9.9"), (9.96, "10"), (1234, "1,200")])
def test_two_digits_are_shown(number, text):
    assert shown(number) == text
    assert str(Range(number, number)) == text


def test_a_figure_that_is_not_recorded_is_refused(tmp_path):
    (tmp_path / "store.csv").write_text("pipeline,MB per case\nours,8.5\n")
    assert figure(tmp_path, "store", "ours", "MB per case") == 8.5
    with pytest.raises(InputError, match=r"store\.csv: has no row 'theirs'"):
        figure(tmp_path, "store", "theirs", "MB per case")
    with pytest.raises(InputError, match=r"none\.csv: is missing"):
        figure(tmp_path, "none", "ours", "MB per case")


@pytest.mark.parametrize("name", ["config", "paper"])
def test_parameters_are_about_those_of_the_built_networks(study, name):
    given = study(name)
    with torch.device("meta"):
        coders = [build_autoencoder(architecture_of(kind, getattr(given, kind))) for kind in CODERS]
        architecture = denoiser_architecture(given.denoiser, "learnt")
        denoiser = build_denoiser(architecture, *(coder.latent_channels for coder in coders), None)
    sections = [*(getattr(given, kind) for kind in CODERS), given.denoiser]
    for network, section in zip([*coders, denoiser], sections, strict=True):
        counted = sum(parameter.numel() for parameter in network.parameters())
        assert disk.parameters(section) == pytest.approx(counted, rel=0.15)


CODERS = ("mask_autoencoder", "image_autoencoder")


def test_volumes_shrink_with_the_cube_of_their_voxels(study, project_root):
    paper = study("paper")
    coarse = replace(paper, preparation=replace(paper.preparation, spacing_mm=(3.0, 3.0, 4.0)))
    fine, small = (disk.volumes_of(100, each, project_root / "benchmarks") for each in (paper, coarse))
    assert fine.high == pytest.approx(8 * small.high)
    assert fine.high == pytest.approx(0.1 * figure(project_root / "benchmarks", "store", STORE, "MB per case"))


STORE = "volume store, one process"


def test_archives_of_the_paper(study, project_root):
    paper, records = study("paper"), project_root / "benchmarks"
    of = {name: disk.source_disk(name, paper, records) for name in paper.sources}
    assert of["msd03"].archives == Range(28, 28) == of["msd03"].unpacked
    assert of["kits23"].archives.low == pytest.approx(489 * 0.1007)
    assert of["kits23"].unpacked == Range(0, 0)  # linked
    assert of["pancreas_ct"].unpacked.high <= 0.1  # its slices are linked, its masks are not
    assert of["abdomenct1k"].archives.low < 722 * 28 / 131 == pytest.approx(of["abdomenct1k"].archives.high)
    assert sum(each.cases for each in of.values()) == 2706


def test_local_and_written_sources_need_no_archives_of_their_own(study, tmp_path):
    embedded = study("config")
    folder = tmp_path / "word"
    folder.mkdir()
    (folder / "word.zip").write_bytes(bytes(3_000_000))
    (folder / "read.me").write_bytes(bytes(5_000_000))
    source = replace(embedded.sources["word"], origin="local", path="word")
    local = replace(embedded, sources={"word": source}, data_root=str(tmp_path))
    found = disk.source_disk("word", local, Path("benchmarks"))
    assert found.archives == Range(0, 0)
    assert found.unpacked == Range(0.003, 0.003)


def test_gpu_hours_are_operations_by_peak_and_efficiency():
    hours = page.gpu_hours(Range(PEAK_FLOPS * 3600, PEAK_FLOPS * 7200))
    assert hours.low == pytest.approx(1 / page.EFFICIENCY.high)
    assert hours.high == pytest.approx(2 / page.EFFICIENCY.low)


def test_trainings_count_every_patch(study):
    works = {work.name: work for work in trainings(study("config"))}
    training = study("config").denoiser.training
    assert works["denoiser"].patches == training.steps * training.batch
    assert works["denoiser"].operations == 4 * training.steps * training.batch * works["denoiser"].each
    finer, coarser = works["mask auto-encoder, f = 4"], works["mask auto-encoder, f = 8"]
    assert finer.each < coarser.each < 1.2 * finer.each


def test_windows_of_a_ct(study):
    fewest = windows(study("paper"))
    assert fewest.low == round(237 / 2)  # one window holds a body of 384 mm
    assert fewest.high == 4 * 268


def test_the_page_in_docs_is_what_the_command_prints(study, project_root):
    written = (project_root / "docs/costs.md").read_text(encoding="utf-8")
    paper = study("paper")
    for table in [
        *page.disk_tables(paper),
        page.cpu_table(paper),
    ]:  # counting the operations takes longer than a test may
        assert table in written
