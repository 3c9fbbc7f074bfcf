"""e_k: what tells the network which target to segment."""

import torch
from torch import Tensor, nn

from universal_diffusion.targets import all_targets


class LearntEmbedding(nn.Module):
    """A trained table with one vector per target."""

    def __init__(self, channels: int):
        super().__init__()
        self.table = nn.Embedding(len(all_targets()), channels)

    def forward(self, target_ids: Tensor) -> Tensor:
        """(N,) target ids, 1 to 29 -> (N, channels)."""
        return self.table(target_ids - 1)


class ClipEmbedding(nn.Module):
    """Frozen CLIP text features of the targets' prompts, centred over the vocabulary, then projected.

    CLIP features of prompts that differ in one word are nearly parallel; their mean over the 29 says nothing about
    which target is meant, so it is removed and the rest scaled to unit root mean square before the trained projection.

    Args:
        features: (29, F) text features in the order of the target ids.
    """

    def __init__(self, features: Tensor, channels: int):
        super().__init__()
        centred = features - features.mean(dim=0)
        self.register_buffer("features", centred / centred.square().mean().sqrt().clamp_min(1e-12))
        self.projection = nn.Linear(features.shape[1], channels)

    def forward(self, target_ids: Tensor) -> Tensor:
        """(N,) target ids, 1 to 29 -> (N, channels)."""
        return self.projection(self.features[target_ids - 1])


def embedding(kind: str, channels: int, clip_features: Tensor | None) -> nn.Module:
    """The embedding of a variant: "learnt", or "clip" over (29, F) text features."""
    if kind == "learnt":
        return LearntEmbedding(channels)
    return ClipEmbedding(torch.zeros(len(all_targets()), 512) if clip_features is None else clip_features, channels)
