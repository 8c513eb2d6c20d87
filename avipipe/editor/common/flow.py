"""Flow matching: between a sample and noise, and what the network is to say there.

Wan's convention: sigma is 0 for the sample z and 1 for noise e, z_t = (1 - sigma) z + sigma e, the
velocity is e - z, and the timestep 1000 sigma. AVI-Edit's text counts the other way: its t is
1 - sigma, its velocity z - e.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

NUM_TIMESTEPS = 1000
"""What sigma 1 is as a timestep of the network."""


class SigmaLaw(BaseModel):
    """How noise levels are drawn for training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["logit_normal", "uniform"] = Field(
        "logit_normal", description="Before the shift: more in the middle, or all alike."
    )
    mean: float = Field(0.0, description="Of the logits.")
    std: float = Field(1.0, gt=0, description="Of the logits.")
    shift: float = Field(5.0, gt=0, description="Above 1: more noise. Wan: 5, at 480p 3.")


def sample_generator(seed: int, *stream: int | str) -> torch.Generator:
    """What a sample draws from: the same whichever process, batch or micro-batch it falls into.

    Args:
        seed: of the run.
        stream: what tells this draw from others, such as its number and a purpose.
    """
    text = "/".join(map(str, (seed, *stream)))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)
    return torch.Generator().manual_seed(number)


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Move noise levels up: Wan's (and SD3's) shift for large videos."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def draw_sigmas(law: SigmaLaw, generators: Sequence[torch.Generator]) -> Tensor:
    """A noise level for each sample, (B,), float32 in (0, 1)."""
    if law.kind == "uniform":
        base = torch.cat([torch.rand(1, generator=generator) for generator in generators])
    else:
        normal = torch.cat([torch.randn(1, generator=generator) for generator in generators])
        base = torch.sigmoid(law.mean + law.std * normal)
    return shift_sigma(base, law.shift)


def draw_noise(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
    """Normal noise on the CPU, (B, *shape), float32; each sample's from its own generator."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def noisy_latents(
    latents_BCThw: Tensor, noise_BCThw: Tensor, sigma_B: Tensor, mask_B1Thw: Tensor
) -> Tensor:
    """What the network sees: noisy inside of the mask, and clean outside of it.

    Source: AVI-Edit (arXiv 2512.10571), composition of z_t with the (degraded) mask.
    """
    sigma = sigma_B.view(-1, 1, 1, 1, 1)
    noisy = (1 - sigma) * latents_BCThw + sigma * noise_BCThw
    return torch.where(mask_B1Thw.bool(), noisy, latents_BCThw)


def velocity_target(latents_BCThw: Tensor, noise_BCThw: Tensor) -> Tensor:
    """What the network is to predict."""
    return noise_BCThw - latents_BCThw
