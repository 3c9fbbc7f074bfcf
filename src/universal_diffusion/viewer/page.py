"""`view.html` in a result folder: CT, masks and uncertainty in one page that loads nothing from anywhere."""

import json
from collections.abc import Mapping
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

CT_VOXELS, MAP_VOXELS = 12_000_000, 4_000_000  # on the page; more of the CT's are averaged in blocks


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
    script, licences = niivue()
    ct = segmented_ct(result, report, ct)
    coarse = reduction(ct.grid, None if full else CT_VOXELS)
    maps = reduction(ct.grid, None if full else MAP_VOXELS)
    targets = sorted(map(target, report["targets"]), key=lambda one: one.id)
    found = [shown(result, one, coarse, maps) for one in targets]
    volumes = {"ct": packed_ct(ct.hu, coarse)} | _volumes(found)
    page = Template(_asset("view.html")).substitute(
        title=escape(_ct_name(report)),
        style=_asset("view.css"),
        facts=json.dumps(_facts(report, found, coarse, maps), sort_keys=True).replace("<", "\\u003c"),
        volumes="\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in volumes.items()),
        licences=licences,
        niivue=script,
        drawing=_asset("drawing.js"),
        panel=_asset("panel.js"),
    )
    try:
        write_text(result / VIEW, page)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(
            result / VIEW, problem, "make room and make it writable, or copy the result elsewhere"
        ) from None
    return result / VIEW


def _asset(name: str) -> str:
    return files("universal_diffusion.viewer").joinpath("assets", name).read_text(encoding="utf-8")


def _ct_name(report: Mapping) -> str:
    """The CT's file name, with "?" for what is no text in it."""
    return Path(report["ct"]["path"]).name.encode("utf-8", "replace").decode("utf-8")


def _volumes(found: list[Shown]) -> dict[str, str]:
    volumes = {f"mask-{one.target.id}": one.mask for one in found if one.mask}
    return volumes | {f"{kind}-{one.target.id}": text for one in found for kind, text in one.maps.items()}


def _facts(report: Mapping, found: list[Shown], coarse: Reduction, maps: Reduction) -> dict:
    """What the page's script reads."""
    voxels = {one.target.id: report["targets"][one.target.name]["voxels"] for one in found}
    layers = sorted(found, key=lambda one: (one.target.kind != "organ", -voxels[one.target.id], one.target.id))
    return {
        "ct": _ct_name(report),
        "described": _described(coarse, maps),
        "made": _made(report),
        "shape": coarse.grid.shape,
        "file_axes": _file_axes(coarse.grid.affine),
        "to_voxels": np.linalg.inv(coarse.grid.affine)[:3].tolist(),
        "targets": [_target_facts(one, report["targets"][one.target.name], coarse) for one in found],
        "layers": [one.target.id for one in layers if one.mask],
        "largest": max(voxels, key=lambda identity: (voxels[identity], -identity)),
    }


def _file_axes(affine: np.ndarray) -> list[int]:
    """The array axis that runs most along each of R, A and S."""
    along = nibabel.io_orientation(affine)[:, 0].astype(int).tolist()
    return [along.index(axis) for axis in range(3)]


def _target_facts(one: Shown, facts: Mapping, coarse: Reduction) -> dict:
    return {
        "id": one.target.id,
        "name": one.target.name,
        "colour": [round(255 * channel) for channel in colour(one.target)],
        "found": bool(one.mask),
        "start": one.start,
        "centre": (coarse.grid.affine @ [*one.centre, 1])[:3].tolist(),
        "maps": sorted(one.maps),
        **{key: facts[key] for key in ("volume_ml", "volume_sd_ml", "uncertainty")},
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
