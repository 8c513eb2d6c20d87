"""Noise levels of the solver's steps."""

import torch
from torch import Tensor

from avipipe.editor.common.flow import shift_sigma


def sigma_grid(num_steps: int, shift: float) -> Tensor:
    """Wan's noise levels: evenly from 1 to 0, then shifted once.

    (diffusers' schedulers shift twice unless they are given the levels.)

    Returns:
        (num_steps + 1,), float64, falling; the first is 1, and the last, where all is solved, 0.
    Source: Wan2.2@42bf4cf, wan/utils/fm_solvers.py, get_sampling_sigmas.
    """
    return shift_sigma(torch.linspace(1, 0, num_steps + 1, dtype=torch.float64), shift)


def euler_step(latents: Tensor, velocity: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Follow the velocity (noise minus sample) from one noise level to the next."""
    return latents + velocity * (sigma_next - sigma)
