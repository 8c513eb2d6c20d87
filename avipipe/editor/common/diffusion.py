"""Diffusion models by timesteps: how noisy a sample is at each, and steps between them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diffusers import DDIMScheduler
from torch import Tensor

from avipipe.editor.common.pretrained import read_part
from avipipe.errors import WeightsError

SCHEDULER: Any = DDIMScheduler
"""Untyped in its library."""

Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How much of a sample is left at each timestep of training.

    Attributes:
        kept_T: share of the variance, falling; 1 before the first.
        prediction: what the network says: the noise, or the velocity between sample and noise.
    """

    kept_T: Tensor
    prediction: Prediction

    @property
    def num_timesteps(self) -> int:
        """Of training."""
        return len(self.kept_T)

    def shares(self, timestep: int) -> tuple[float, float]:
        """What of sample and of noise, whose squares add up to 1, there is at a timestep."""
        kept = 1.0 if timestep < 0 else float(self.kept_T[timestep])
        return math.sqrt(kept), math.sqrt(1 - kept)

    def noisy(self, latents: Tensor, noise: Tensor, timestep: int) -> Tensor:
        """Latents with the noise of a timestep."""
        alpha, sigma = self.shares(timestep)
        return alpha * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, timestep: int) -> Tensor:
        """What the network is to say of noisy latents."""
        if self.prediction == "epsilon":
            return noise
        alpha, sigma = self.shares(timestep)
        return alpha * noise - sigma * latents

    def noise(self, latents: Tensor, said: Tensor, timestep: int) -> Tensor:
        """The noise that the network means by what it says of latents at a timestep."""
        if self.prediction == "epsilon":
            return said
        alpha, sigma = self.shares(timestep)
        return alpha * said + sigma * latents

    def step(self, latents: Tensor, noise: Tensor, here: int, there: int) -> Tensor:
        """From one timestep to another, earlier or later, by the noise in latents.

        Source: DDIM (arXiv 2010.02502), Eq. 12 with sigma 0, which holds in both directions.
        """
        alpha, sigma = self.shares(here)
        return self.noisy((latents - sigma * noise) / alpha, noise, there)


def load_schedule(folder: Path, remedy: str) -> Schedule:
    """The schedule that a folder of diffusers tells of.

    Args:
        remedy: what to do where it tells of none.
    Raises:
        WeightsError: it cannot be read, or predicts something else.
    """
    return schedule_of(read_part(SCHEDULER, folder, remedy), folder, remedy)


def schedule_of(scheduler: Any, folder: Path, remedy: str) -> Schedule:
    """The schedule of any of diffusers' schedulers.

    Args:
        folder: where it was read from.
        remedy: what to do where it tells of none.
    Raises:
        WeightsError: it predicts something else.
    """
    prediction = scheduler.config.prediction_type
    if prediction not in ("epsilon", "v_prediction"):
        raise WeightsError(
            f"{folder}: expected a network that predicts epsilon or v_prediction, found "
            f"{prediction}. {remedy}"
        )
    return Schedule(scheduler.alphas_cumprod.double(), prediction)
