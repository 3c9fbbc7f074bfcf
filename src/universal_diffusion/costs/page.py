"""`universal-diffusion costs`: disk, time and money of a study, as Markdown (docs/costs.md).

GPU-hours are no measurement: counted operations divided by an assumed GPU's peak and a range of efficiencies.
"""

import argparse
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from universal_diffusion.benchmarks.demand import PEAK, PEAK_FLOPS
from universal_diffusion.costs import disk
from universal_diffusion.costs.amounts import Range, figure, shown, total
from universal_diffusion.costs.operations import annotated, segmentation, trainings, windows
from universal_diffusion.doctor.command import read_study
from universal_diffusion.settings import Study

RECORDS = Path("benchmarks")
EFFICIENCY = Range(0.10, 0.40)  # of the GPU's peak: assumed; the upper one is the goal of benchmarks/README.md
NETWORK_MBIT_S = Range(100, 1000)  # assumed
HOUR = 3600.0
SYSTEMS = disk.VARIANTS + 2  # scored: the variants and the baselines
SCORED_TARGETS, SCORED_SLICES, HARMONISED_SLICES = 4, 150, 600  # of the cases of benchmarks/scoring.md and harmonise.md


def gpu_hours(operations: Range) -> Range:
    """Of the assumed GPU, from its most to its least efficient use."""
    return operations * Range(1 / EFFICIENCY.high, 1 / EFFICIENCY.low) * (1 / PEAK_FLOPS / HOUR)


def disk_tables(study: Study) -> list[str]:
    """By source, then by step."""
    sources = [disk.source_disk(name, study, RECORDS) for name in study.sources]
    sums = [total(getattr(each, step) for each in sources) for step in ("archives", "unpacked", "volumes")]
    rows = [(f"`{each.source}`", each.cases, each.archives, each.unpacked, each.volumes) for each in sources]
    rows.append(("all", sum(each.cases for each in sources), *sums))
    steps = [
        ("archives (kept in `data_root`)", sums[0]),
        ("unpacked", sums[1]),
        ("harmonised volumes", sums[2]),
        ("models, checkpoints, pretrained weights", disk.models(study)),
        ("predictions of the four variants", disk.predictions(study)),
        ("tables, figures, pages, logs", disk.ARTEFACTS),
    ]
    steps.append(("**all**", total(amount for _, amount in steps)))
    return [
        markdown(("source", "CTs", "archives, GB", "unpacked, GB", "volumes, GB"), rows),
        markdown(("step", "GB"), steps),
    ]


def gpu_table(study: Study, price: float, currency: str) -> str:
    """A row for each kind of training, one for segmentation, their sum."""
    rows = []
    for work in trainings(study):
        times = f" x {work.runs}" if work.runs > 1 else ""
        operations = Range(work.operations, work.operations)
        here = operations * (1 / (figure(RECORDS, *work.record, "TFLOP/s") * 1e12 * HOUR * 24))
        told = f"{work.patches / 1e6:.1f} M patches{times}, {work.each / 1e9:.0f} GFLOP each"
        rows.append((work.name + times, told, operations * 1e-18, gpu_hours(operations), here))
    segmented = segmentation(study)
    rate = figure(RECORDS, "inference", "this study, gate off", "TFLOP/s") * 1e12
    cases = sum(disk.evaluated(study).values())
    told = f"{cases:.0f} CTs x {disk.VARIANTS}, {windows(study)} windows each, annotated targets"
    rows.append(("segmentation", told, segmented * 1e-18, gpu_hours(segmented), segmented * (1 / (rate * HOUR * 24))))
    hours, cpu = total(row[3] for row in rows), total(row[4] for row in rows)
    rows.append(("**all**", "", total(row[2] for row in rows), hours, cpu))
    priced = [(*row[:4], row[3] * price, row[4]) for row in rows]
    return markdown(("work", "counted", "EFLOP", "GPU-hours", currency, "days on the CPU that was measured"), priced)


def cpu_table(study: Study) -> str:
    """Core-hours of what needs no GPU, and the download."""
    cases = sum(disk.case_count(name, study) for name in study.sources)
    seconds = figure(RECORDS, "harmonise", "this study, volume written", "seconds")
    harmonised = disk.NATIVE_SLICES * (cases * seconds / HARMONISED_SLICES / HOUR)
    evaluated = disk.evaluated(study)
    targets = sum(count * annotated(name, study) for name, count in evaluated.items())
    each = Range(*(figure(RECORDS, "scoring", kind, "seconds") for kind in ("compact", "scattered")))
    scored = disk.NATIVE_SLICES * each * (SYSTEMS * targets / SCORED_TARGETS / SCORED_SLICES / HOUR)
    downloads = [
        disk.source_disk(name, study, RECORDS).archives
        for name, source in study.sources.items()
        if source.origin == "download"
    ]
    megabits = total(downloads) * (disk.GB * 8 / 1e6)
    fetched = Range(megabits.low / NETWORK_MBIT_S.high / HOUR, megabits.high / NETWORK_MBIT_S.low / HOUR)
    rows = [
        ("download", f"{NETWORK_MBIT_S} Mbit/s", fetched, "hours"),
        ("harmonise", f"{cases} CTs of {disk.NATIVE_SLICES} slices", harmonised, "core-hours"),
        (
            "score",
            f"{targets:.0f} targets in {sum(evaluated.values()):.0f} CTs x {SYSTEMS} systems",
            scored,
            "core-hours",
        ),
    ]
    return markdown(("work", "of what", "from ... to", "unit"), rows)


def days(study: Study) -> str:
    """How long the GPUs are busy: one after the other on one GPU, and side by side on four."""
    hours = {work.name: gpu_hours(Range(work.operations, work.operations)) for work in trainings(study)}
    segmented = gpu_hours(segmentation(study))
    one = (total(hours.values()) + segmented) * (1 / 24)
    slowest = max((hours[name] for name in hours if "auto-encoder" in name), key=lambda each: each.high)
    four = (slowest + (hours["denoiser"] + segmented) * (1 / disk.VARIANTS)) * (1 / 24)
    return (
        f"On one such GPU the work of this table takes {one} days; on four, with the auto-encoders side by side, then "
        f"the four denoisers, then the segmentation shared, {four} days."
    )


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers align right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    return str(value) if isinstance(value, str | Range | int) else shown(value)


def page(study: Study, configfile: Path, price: float, currency: str) -> str:
    """The whole page."""
    template = files("universal_diffusion.costs").joinpath("page.md").read_text(encoding="utf-8")
    sources, steps = disk_tables(study)
    return template.format(
        configfile=configfile,
        price=f"{price:g}",
        currency=currency,
        sources=sources,
        steps=steps,
        gpu=gpu_table(study, price, currency),
        cpu=cpu_table(study),
        days=days(study),
        rates=disk.gb_per_case(),
        dicom=disk.DICOM_UNPACKED,
        stored=disk.STORED_MM,
        evaluated=round(sum(disk.evaluated(study).values())),
        slices=disk.NATIVE_SLICES,
        mask=disk.PREDICTED["mask"],
        noise=disk.PREDICTED["noise"],
        peak=PEAK,
        efficiency=f"{EFFICIENCY.low:.0%} to {EFFICIENCY.high:.0%}",
        coarser=2 ** len(study.mask_autoencoder.channels),
        sampling_steps=study.segmentation.steps,
        ensemble=study.segmentation.ensemble,
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the page."""
    print(page(read_study(arguments.configfile), arguments.configfile, arguments.price, arguments.currency), end="")
