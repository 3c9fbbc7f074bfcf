"""Random numbers from explicit generators, seeded by (study seed, purpose, index)."""

import hashlib

import numpy as np


def seed_of(study_seed: int, *purpose: object) -> int:
    """A 63-bit seed that depends on the study's seed and on what the numbers are for, and on nothing else."""
    text = "\0".join([str(study_seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(study_seed: int, *purpose: object) -> np.random.Generator:
    """A NumPy generator for one purpose, e.g. `numpy_generator(seed, "split", "amos")`."""
    return np.random.default_rng(seed_of(study_seed, *purpose))
