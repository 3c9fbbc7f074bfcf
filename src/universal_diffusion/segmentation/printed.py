"""What a person reads in the terminal of a result: made of its `segmentation.json`."""

from collections.abc import Sequence

NOTHING = "-"
RESEARCH = "for research only, no medical device"


def result_text(report: dict, targets: Sequence[str]) -> str:
    """A line per target (volume and its deviation over the ensemble, density, uncertainty), and who the model knows."""
    rows = [("target", "ml", "± sd", "mean HU", "uncertainty")]
    for name in targets:
        facts = report["targets"][name]
        volume, deviation = _number(facts["volume_ml"], 1), _number(facts["volume_sd_ml"], 1)
        rows.append((name, volume, deviation, _number(facts["mean_hu"], 0), _number(facts["uncertainty"], 3)))
    return f"{columns(rows)}\nmodel trained on: {report['model']['card']['cohort']}; {RESEARCH}"


def decisions_text(report: dict) -> str:
    """What was decided on the way and what it cost."""
    ct, harmonised, sampling, kept = (report[part] for part in ("ct", "harmonised", "sampling", "gate"))
    gate = "off" if kept is None else ", ".join(f"{name} {share:.0%}" for name, share in kept.items())
    seconds = ", ".join(f"{part} {spent:.1f}" for part, spent in report["seconds"].items())
    return f"""\
CT: {ct["format"]}, {_grid(ct)}; as the model sees it: {_grid(harmonised)}
sampling: {sampling["sampler"]}, steps {sampling["steps"]}, samples {sampling["ensemble"]}, seed {report["seed"]}
machine: {report["device"]}, {sampling["precision"]}, batch {report["batch"]}, threads {report["threads"]}
gate, share of windows kept: {gate}
seconds: {seconds}; peak memory {_number(report["peak_memory_gib"], 2)} GiB"""


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _grid(grid: dict) -> str:
    shape, spacing = (" x ".join(f"{size:g}" for size in grid[key]) for key in ("shape", "spacing_mm"))
    return f"{shape} voxels of {spacing} mm"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
