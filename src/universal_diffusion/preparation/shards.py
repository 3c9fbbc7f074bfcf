"""Sharing the cases of a source among jobs."""

import re
from collections.abc import Sequence
from typing import TypeVar

from universal_diffusion.errors import InputError

T = TypeVar("T")


def shard_of(items: Sequence[T], shard: str) -> list[T]:
    """Every n-th item from the i-th on, for the shard "i-of-n" (i from 1 to n)."""
    match = re.fullmatch(r"(\d+)-of-(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--shard {shard}", "is not of the form i-of-n", "give for example 1-of-4")
    return list(items[int(match[1]) - 1 :: int(match[2])])
