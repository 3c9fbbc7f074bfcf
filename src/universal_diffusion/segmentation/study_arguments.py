"""What the study's segmenting steps share: a system, the cases of a shard, settings, seed and threads."""

import argparse
from pathlib import Path

from universal_diffusion.preparation.shards import shard_of
from universal_diffusion.preparation.splits import EVALUATED, SplitRow, read_splits, volumes_of
from universal_diffusion.settings import Segmentation, read_json


def add_cases(parser: argparse.ArgumentParser, model: str) -> None:
    """Add the options that name a system and a shard of the cases it is to segment; `model` says which directory."""
    parser.add_argument("--model", type=Path, required=True, help=f"directory of {model}")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--shard", required=True, help="i-of-n")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; sums depend on it")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options of a study's own sampling."""
    parser.add_argument("--settings", required=True, help="JSON of the section `segmentation`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")


def cases_asked(arguments: argparse.Namespace) -> tuple[list[Path], tuple[SplitRow, ...]]:
    """The volumes of the shard's validation and test cases, and the whole split."""
    splits = read_splits(arguments.splits)
    return shard_of(volumes_of(arguments.volumes, splits, EVALUATED), arguments.shard), splits


def sampling_asked(arguments: argparse.Namespace) -> Segmentation:
    """The study's sampling. Raises InputError for a wrong setting."""
    return read_json(Segmentation, arguments.settings, "configuration.segmentation")
