"""What the study reads that is not its own: archives, the credentials for them, pretrained weights."""

import os
from pathlib import Path

from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.doctor.finding import Asked, Finding


def check_archives(asked: Asked) -> list[Finding]:
    """Where the archives come from, and local ones that are not there."""
    by_origin = {}
    for name, source in asked.study.sources.items():
        by_origin.setdefault(source.origin, []).append(name)
    lines = []
    for name in by_origin.get("local", []):
        place = asked.data_root / asked.study.sources[name].path
        if not place.exists():
            text = f"{name}: {place} is not there"
            lines.append(Finding("data", text, "missing", f"put the archive there, or change sources.{name}.path"))
    told = []
    if "phantom" in by_origin:
        told.append(f"{len(by_origin['phantom'])} sources are written here")
    if "local" in by_origin:
        told.append(f"{len(by_origin['local'])} local ({asked.data_root})")
    if downloads := by_origin.get("download"):
        there = [name for name in downloads if is_fetched(name, asked)]
        told.append(f"{len(there)} of {len(downloads)} downloads are there")
    return [Finding("data", ", ".join(told)), *lines]


def is_fetched(name: str, asked: Asked) -> bool:
    """Whether every archive of a downloaded source lies in its place, or the study has linked them already."""
    if (asked.results / "archives" / name).exists():
        return True
    folder = asked.data_root / "downloads" / name
    return all((folder / archive.name).exists() for archive in entry_of(name, folder).archives)


def check_credentials(asked: Asked) -> list[Finding]:
    """For each download that needs a token whether its variable is set; the value is never looked at further."""
    lines = []
    for name, source in asked.study.sources.items():
        entry = entry_of(name, asked.data_root / (source.path or ""))
        if source.origin != "download" or entry.credential is None:
            continue
        if is_fetched(name, asked):
            lines.append(Finding("credentials", f"{name}: {entry.credential} is not needed, its archives are there"))
        elif os.environ.get(entry.credential, "").strip():
            lines.append(Finding("credentials", f"{name}: {entry.credential} is set"))
        else:
            remedy = f"get a token ({entry.page}, docs/data.md), then export {entry.credential}=..."
            lines.append(Finding("credentials", f"{name}: {entry.credential} is not set", "missing", remedy))
    return lines or [Finding("credentials", "none needed")]


def check_weights(asked: Asked) -> list[Finding]:
    """VGG-16 for LPIPS and CLIP's text tower: untrained, local files, or fetched."""
    weights, made = asked.study.weights, asked.results / "pretrained"
    if weights.origin == "untrained":
        return [Finding("weights", "none needed: VGG-16 and CLIP stay untrained, and every artefact says so")]
    if all((made / f"{name}.safetensors").exists() for name in ("vgg16", "clip_text")):
        return [Finding("weights", f"VGG-16 and CLIP are there ({made})")]
    if weights.origin == "download":
        lying = {"VGG-16": any(made.glob("vgg16-*.pth")), "CLIP": any(made.glob("ViT-B-32*.pt"))}
        told = [f"{name} {'there' if there else 'to be fetched'}" for name, there in lying.items()]
        return [Finding("weights", f"{', '.join(told)}, into {made}")]
    lines = []
    for key in ("vgg16", "clip"):
        path = Path(asked.project, getattr(weights, key))
        if not path.is_file():
            remedy = f"put a copy there, change weights.{key}, or set weights.origin to download"
            lines.append(Finding("weights", f"{key}: {path} is not there", "missing", remedy))
    return lines or [Finding("weights", "VGG-16 and CLIP: the local files are there")]
