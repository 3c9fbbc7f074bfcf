"""Safetensors files that carry a SHA-256 of themselves, in their metadata.

It is the hash of the whole file in which its own 64 digits are zeros: names, types, shapes and bytes of the tensors,
and all other metadata. Any safetensors reader reads such a file.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from universal_diffusion.method.weights import write_through

SEAL, NONE = "sha256", "0" * 64
AT_ONCE = 2**22
LENGTH = 8  # bytes at the start, which tell the header's


def save_sealed(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata whole or not at all, and through to the disk; equal content gives equal bytes."""
    content = memoryview(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
    start = LENGTH + int.from_bytes(content[:LENGTH], "little")
    entries = json.loads(bytes(content[LENGTH:start]))
    header = _header({"__metadata__": {SEAL: NONE} | dict(sorted(metadata.items()))} | entries)
    digest = hashlib.sha256(header)
    digest.update(content[start:])
    write_through(path, header.replace(NONE.encode(), digest.hexdigest().encode(), 1), content[start:])


def _header(entries: dict) -> bytes:
    """With its length before it, and blanks after it, so that the tensors are aligned."""
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)
    return len(text).to_bytes(LENGTH, "little") + text


def load_sealed(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors. Raises ValueError, or as safetensors does, for a file that is damaged or bears no hash."""
    with open(path, "rb") as file:
        metadata = _verified(file)
    with safe_open(path, "pt") as tensors:
        return metadata, {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 (no dictionary)


def _verified(file: BinaryIO) -> dict[str, str]:
    prefix = file.read(LENGTH)
    length = int.from_bytes(prefix, "little")
    if length > os.fstat(file.fileno()).st_size:
        raise ValueError("its header reaches beyond its end")
    header = file.read(length)
    metadata = json.loads(header).get("__metadata__", {})
    known = metadata.pop(SEAL, None)
    if known is None:
        raise ValueError("it holds no hash of itself: another version wrote it")
    digest = hashlib.sha256(prefix + header.replace(known.encode(), NONE.encode(), 1))
    while part := file.read(AT_ONCE):
        digest.update(part)
    if digest.hexdigest() != known:
        raise ValueError("its content has another SHA-256 than it says")
    return metadata
