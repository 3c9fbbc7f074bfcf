"""A whole volume: the gate, then every slab that is not finished, into a store that an interrupted run goes on from."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from universal_diffusion import settings
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.segmentation.sampling.batch_size import batch_size
from universal_diffusion.segmentation.sampling.engine import sampled_pairs, segment_slabs, slab_depth
from universal_diffusion.segmentation.sampling.gate import gate
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

ENCODED = 8  # windows encoded at once; fixed, so that latents do not depend on the batch


def sample_volume(
    bundle: Bundle,
    image: np.ndarray,
    grid: Grid,
    targets: Sequence[str],
    sampling: settings.Segmentation,
    seed: int,
    folder: Path,
    identity: dict,
    show: bool,
) -> SlabStore:
    """Sample every target of a harmonised volume into the store in `folder`.

    Args:
        image: (X, Y, Z) float32 in [0, 1], harmonised as the model was trained, on `grid`.
        targets: names in any order, of which nothing depends; the store has them in the study's.
        identity: what the maps depend on besides grid, targets, ensemble and batch; a store of another is emptied.
        show: progress on stderr: slabs, (window, target, sample) rows per second, remaining time; what is made anew.

    Returns:
        The store, with all slabs; its `batch` is the size that was given or measured.

    Raises:
        InputError: an unknown target, a folder that is no store, a broken model, a gate that the model cannot do.
    """
    ordered = sorted(targets, key=lambda name: target(name).id)
    store = SlabStore.open(folder, identity, grid, ordered, sampling.ensemble, show)
    if store.batch is None:
        store.batch = sampling.batch or batch_size(bundle, sampling)
    sampling = replace(sampling, batch=store.batch)
    latents = ImageLatents(bundle, image, sampling.overlap, ENCODED)
    kept = store.kept
    if kept is None and sampling.gate is not None:
        kept = gate(bundle, latents, store.targets, sampling, seed, show)
        store.keep(kept)
    depth, finished = slab_depth(grid.shape[:2], len(store.targets)), store.done
    pairs = sampled_pairs(latents.body, len(store.targets), kept)
    starts = range(0, grid.shape[2], depth)
    if finished and show:
        print(f"{folder}: goes on, {len(finished)} of {len(starts)} slabs are finished", file=sys.stderr)
    rows = {first: int(pairs[:, first : first + depth].sum()) * sampling.ensemble for first in starts}
    left = sum(count for first, count in rows.items() if first not in finished)
    with tqdm(total=left, unit="row", unit_scale=True, disable=not show, file=sys.stderr) as bar:
        for number, slab in enumerate(
            segment_slabs(bundle, latents, store.targets, sampling, seed, kept, finished, bar.update), len(finished) + 1
        ):
            store.write(slab)
            bar.set_description(f"slab {number}/{len(starts)}")
    return store
