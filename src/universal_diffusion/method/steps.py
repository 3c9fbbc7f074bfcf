"""Importance sampling of diffusion steps by the second moment of their loss (Improved DDPM, eq. 18).

Under several processes each holds a sampler of its own, and all stay equal because all see the same: every process
draws the steps and weights of the WHOLE batch from a generator of (seed, step), trains on its own rows of them, and
records the whole batch's steps and losses, gathered in batch order. Nothing depends on how many processes there are.
"""

import torch
from torch import Tensor

from universal_diffusion.errors import InputError


class SecondMomentSteps:
    """Draws step t with p_t ~ sqrt(E[L_t^2]), uniformly until `history` losses of every step are known.

    The uniform draws are a coupon collector's: with T = 1000 half of all trainings need more than 23,239 of them for a
    history of 10 (182 batches of 128), more than 9,639 for one of 2.

    Args:
        timesteps: T.
        history: losses kept per step.
        uniform_probability: share of draws that stay uniform, so that no step is ever forgotten.
    """

    def __init__(self, timesteps: int, history: int, uniform_probability: float):
        self.uniform_probability = uniform_probability
        self._losses = torch.zeros(timesteps, history, dtype=torch.float64)
        self._counts = torch.zeros(timesteps, dtype=torch.int64)

    @property
    def warm(self) -> bool:
        """Whether every step has its full history, and draws follow the losses."""
        return bool((self._counts >= self._losses.shape[1]).all())

    def probabilities(self) -> Tensor:
        """Probability of drawing each step: (T,) float64, summing to 1."""
        timesteps = len(self._counts)
        if not self.warm:
            return torch.full((timesteps,), 1 / timesteps, dtype=torch.float64)
        moment = self._losses.square().mean(1).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
        return (1 - self.uniform_probability) * moment / moment.sum() + self.uniform_probability / timesteps

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Steps (count,) int64 and weights 1 / (T p_t) (count,) float32: the weighted loss has the uniform mean."""
        probabilities = self.probabilities()
        steps = torch.multinomial(probabilities, count, replacement=True, generator=generator)
        return steps, (1 / (len(probabilities) * probabilities[steps])).float()

    def record(self, steps: Tensor, losses: Tensor) -> None:
        """Remember the unweighted `losses` (N,) seen at `steps` (N,); the oldest of a step give way.

        Meant for `Losses.mse`, the paper's "denoising loss". When z0 is predicted the bound is hundreds of bits at the
        first steps, whose posterior is narrow, and a history of `Losses.hybrid` would spend most draws below step 10.
        Weights keep the hybrid loss unbiased whichever is recorded.

        Raises InputError for a loss that is not finite, which would poison every later draw.
        """
        losses = losses.detach().to("cpu", torch.float64)
        if not bool(losses.isfinite().all()):
            raise InputError("diffusion loss", "is not finite", "lower the learning rate or use more precision")
        history, counts = self._losses.numpy(), self._counts.numpy()  # views, for tensors are slow to fill one by one
        for step, loss in zip(steps.tolist(), losses.tolist(), strict=True):
            history[step, counts[step] % history.shape[1]] = loss
            counts[step] += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The history as plain tensors, for a checkpoint."""
        return {"losses": self._losses.clone(), "counts": self._counts.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a history from `state_dict`. Raises InputError if it is of another T or history length."""
        if state["losses"].shape != self._losses.shape:
            raise InputError(
                "step history of the checkpoint",
                f"is {tuple(state['losses'].shape)}, expected {tuple(self._losses.shape)} (timesteps, history)",
                "resume with the diffusion settings it was trained with, or delete the checkpoint",
            )
        self._losses, self._counts = state["losses"].clone(), state["counts"].clone()
