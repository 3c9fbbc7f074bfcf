"""`view.html` in a result folder: CT, masks and uncertainty in one page that loads nothing from anywhere."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.files import write_text
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.report import VIEW
from universal_diffusion.targets import target
from universal_diffusion.viewer.layers import Column, Layer, facts, volumes
from universal_diffusion.viewer.library import niivue
from universal_diffusion.viewer.reduction import Reduction, reduction
from universal_diffusion.viewer.source import result_report, segmented_ct
from universal_diffusion.viewer.volumes import Shown, packed_ct, shown
from universal_diffusion.volumes import Grid

CT_VOXELS, MAP_VOXELS = 12_000_000, 4_000_000  # on the page; more of the CT's are averaged in blocks


DOUBT = Column(
    "bits",
    "doubt: mean entropy of the ensemble's probability over the voxels where it is at least 0.05, in bits; 0: all "
    "samples agree; 1: as likely the target as not",
)
COLUMNS = (
    Column("ml", "volume of the mask, in millilitres"),
    Column("± sd", "standard deviation of the volumes of the ensemble's samples, in millilitres"),
    DOUBT,
)


def write_page(result: Path, ct: CT | None = None, full: bool = False) -> Path:
    """Write the page of what `segment` wrote into `result`; equal results and CTs give equal bytes.

    Args:
        result: the folder with `segmentation.json`, masks and, if they are to be seen, maps.
        ct: the CT that was segmented; read again from where it was when None.
        full: every voxel, however large the page becomes.

    Raises:
        InputError: no result there, its CT is not where it was, another CT was given, a file is missing or damaged, the
            folder cannot be written to, or the package was installed without niivue.
    """
    result = Path(result)
    report = result_report(result)
    ct = segmented_ct(result, report, ct)
    coarse, maps = reductions(ct.grid, full)
    targets = sorted(map(target, report["targets"]), key=lambda one: one.id)
    layers = [_layer(shown(result, one, coarse, maps), report["targets"][one.name]) for one in targets]
    page = compose(_ct_name(report), _made(report), ct.hu, layers, COLUMNS, coarse, maps)
    try:
        write_text(result / VIEW, page)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(
            result / VIEW, problem, "make room and make it writable, or copy the result elsewhere"
        ) from None
    return result / VIEW


def reductions(grid: Grid, full: bool = False) -> tuple[Reduction, Reduction]:
    """How a CT and its masks, and how its maps, are reduced for the page."""
    return reduction(grid, None if full else CT_VOXELS), reduction(grid, None if full else MAP_VOXELS)


def compose(
    name: str,
    made: Sequence[tuple[str, str]],
    hu: np.ndarray,
    layers: Sequence[Layer],
    columns: Sequence[Column],
    coarse: Reduction,
    maps: Reduction,
    home: str = "",
) -> str:
    """The page as HTML.

    Args:
        name: of the CT.
        made: how what it shows was made, as pairs of words.
        hu: (X, Y, Z) Hounsfield units on the full grid of `coarse`.
        columns: of the figures in the list.
        home: address of the page that this one belongs to, relative to it; "" for a page of its own.

    Raises:
        InputError: the package was installed without niivue.
    """
    script, licences = niivue()
    packed = {"ct": packed_ct(hu, coarse)} | volumes(layers)
    told = {"home": home, "ct": name, "made": list(made), "described": _described(coarse, maps)}
    told |= facts(layers, columns, coarse)
    return Template(_asset("view.html")).substitute(
        title=escape(name),
        style=_asset("view.css"),
        facts=json.dumps(told, sort_keys=True).replace("<", "\\u003c"),
        volumes="\n".join(f'<script type="text/plain" id="{key}">{text}</script>' for key, text in packed.items()),
        licences=licences,
        niivue=script,
        drawing=_asset("drawing.js"),
        panel=_asset("panel.js"),
    )


def _layer(found: Shown, known: Mapping) -> Layer:
    figures = {"ml": (known["volume_ml"], 1), "± sd": (known["volume_sd_ml"], 1), "bits": (known["uncertainty"], 2)}
    return Layer(found, known["voxels"], {name: _fixed(*figure) for name, figure in figures.items()})


def _fixed(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _asset(name: str) -> str:
    return files("universal_diffusion.viewer").joinpath("assets", name).read_text(encoding="utf-8")


def _ct_name(report: Mapping) -> str:
    """The CT's file name, with "?" for what is no text in it."""
    return Path(report["ct"]["path"]).name.encode("utf-8", "replace").decode("utf-8")


def _described(coarse: Reduction, maps: Reduction) -> str:
    spacing = " x ".join(f"{edge:.4g}" for edge in coarse.full.spacing_mm)
    text = f"{' x '.join(map(str, coarse.full.shape))} voxels of {spacing} mm"
    if max(coarse.factors) > 1:
        text += f"; shown here in blocks of {' x '.join(map(str, coarse.factors))} (all voxels: --full)"
    if maps.factors != coarse.factors:
        text += f"; maps in blocks of {' x '.join(map(str, maps.factors))}"
    return text


def _made(report: Mapping) -> list[tuple[str, str]]:
    """How the result was made, in words."""
    sampling, model = report["sampling"], report["model"]
    return [
        ("Model", Path(model["path"]).name),
        ("Trained on", model["card"]["cohort"]),
        ("Sampling", f"{sampling['sampler']}, {sampling['steps']} steps, ensemble of {sampling['ensemble']}"),
        ("Seed", str(report["seed"])),
        ("Version", report["version"]),
        *(("Note", note) for note in report["ct"].get("notes", ())),
    ]
