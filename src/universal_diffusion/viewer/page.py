"""`view.html` in a result folder: CT, masks and uncertainty in one page that loads nothing from anywhere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import nibabel
import numpy as np

from universal_diffusion.colours import colour
from universal_diffusion.errors import InputError
from universal_diffusion.files import write_text
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.report import VIEW
from universal_diffusion.targets import target
from universal_diffusion.viewer.library import niivue
from universal_diffusion.viewer.reduction import Reduction, reduction
from universal_diffusion.viewer.source import result_report, segmented_ct
from universal_diffusion.viewer.volumes import Shown, packed_ct, shown
from universal_diffusion.volumes import Grid

CT_VOXELS, MAP_VOXELS = 12_000_000, 4_000_000  # on the page; more of the CT's are averaged in blocks


@dataclass(frozen=True)
class Layer:
    """A mask on the page, with its row in the list.

    Attributes:
        number: which tells it from the others, 1 to 255.
        name, colour: of its row; RGB from 0 to 1.
        voxels: of the mask at full size; the smaller lies on top, a tumour on every organ.
        volume_ml, volume_sd_ml, uncertainty: of its row; None where unknown.
        outlined: drawn as an outline on top of all others, so that what it is compared with stays in sight.
    """

    number: int
    name: str
    colour: tuple[float, float, float]
    shown: Shown
    voxels: int
    volume_ml: float | None
    volume_sd_ml: float | None
    uncertainty: float | None
    outlined: bool = False


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
    page = compose(_ct_name(report), _made(report), ct.hu, layers, coarse, maps)
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
    coarse: Reduction,
    maps: Reduction,
    home: str = "",
) -> str:
    """The page as HTML.

    Args:
        name: of the CT.
        made: how what it shows was made, as pairs of words.
        hu: (X, Y, Z) Hounsfield units on the full grid of `coarse`.
        home: address of the page that this one belongs to, relative to it; "" for a page of its own.

    Raises:
        InputError: the package was installed without niivue.
    """
    script, licences = niivue()
    volumes = {"ct": packed_ct(hu, coarse)} | _volumes(layers)
    return Template(_asset("view.html")).substitute(
        title=escape(name),
        style=_asset("view.css"),
        facts=json.dumps({"home": home} | _facts(name, made, layers, coarse, maps), sort_keys=True).replace(
            "<", "\\u003c"
        ),
        volumes="\n".join(f'<script type="text/plain" id="{key}">{text}</script>' for key, text in volumes.items()),
        licences=licences,
        niivue=script,
        drawing=_asset("drawing.js"),
        panel=_asset("panel.js"),
    )


def _layer(found: Shown, facts: Mapping) -> Layer:
    one = found.target
    known = (facts[key] for key in ("voxels", "volume_ml", "volume_sd_ml", "uncertainty"))
    return Layer(one.id, one.name, colour(one), found, *known)


def _asset(name: str) -> str:
    return files("universal_diffusion.viewer").joinpath("assets", name).read_text(encoding="utf-8")


def _ct_name(report: Mapping) -> str:
    """The CT's file name, with "?" for what is no text in it."""
    return Path(report["ct"]["path"]).name.encode("utf-8", "replace").decode("utf-8")


def _volumes(layers: Sequence[Layer]) -> dict[str, str]:
    volumes = {f"mask-{one.number}": one.shown.mask for one in layers if one.shown.mask}
    return volumes | {f"{kind}-{one.number}": text for one in layers for kind, text in one.shown.maps.items()}


def _facts(
    name: str, made: Sequence[tuple[str, str]], layers: Sequence[Layer], coarse: Reduction, maps: Reduction
) -> dict:
    """What the page's script reads."""
    below = sorted(layers, key=lambda one: (one.outlined, one.shown.target.kind != "organ", -one.voxels, one.number))
    return {
        "ct": name,
        "described": _described(coarse, maps),
        "made": list(made),
        "shape": coarse.grid.shape,
        "file_axes": _file_axes(coarse.grid.affine),
        "to_voxels": np.linalg.inv(coarse.grid.affine)[:3].tolist(),
        "targets": [_row(one, coarse) for one in layers],
        "layers": [one.number for one in below if one.shown.mask],
        "largest": max(layers, key=lambda one: (one.voxels, -one.number)).number,
    }


def _file_axes(affine: np.ndarray) -> list[int]:
    """The array axis that runs most along each of R, A and S."""
    along = nibabel.io_orientation(affine)[:, 0].astype(int).tolist()
    return [along.index(axis) for axis in range(3)]


def _row(one: Layer, coarse: Reduction) -> dict:
    return {
        "id": one.number,
        "name": one.name,
        "colour": [round(255 * channel) for channel in one.colour],
        "found": bool(one.shown.mask),
        "outlined": one.outlined,
        "start": one.shown.start,
        "centre": (coarse.grid.affine @ [*one.shown.centre, 1])[:3].tolist(),
        "maps": sorted(one.shown.maps),
        "volume_ml": one.volume_ml,
        "volume_sd_ml": one.volume_sd_ml,
        "uncertainty": one.uncertainty,
    }


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
