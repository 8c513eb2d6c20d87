"""The course of training that tiny diffusion models have in common."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from avipipe.editor.common.diffusion import Schedule

Told = Callable[[int, float], None]
"""Is told a step, from 1, and its loss."""

WARM_UP = 100
"""Steps over which the learning rate rises; over the last third it falls to 0."""

NO_CAPTION = 0.15
"""Share of examples without their caption, as guidance needs it."""


def learn(
    weights: Sequence[torch.nn.Parameter],
    loss_of: Callable[[torch.Generator], Tensor],
    steps: int,
    *,
    lr: float,
    seed: int = 0,
    told: Told = lambda step, loss: None,
) -> None:
    """Train weights by AdamW.

    Args:
        loss_of: the loss of a step, by what is drawn.
        lr: the highest learning rate.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    course = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / WARM_UP, 3 * (1 - step / steps))
    )
    for step in range(steps):
        loss = loss_of(generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        course.step()
        told(step + 1, loss.item())


def dropped(captions: Sequence[str], generator: torch.Generator) -> list[str]:
    """Captions, some of them empty."""
    shares = torch.rand(len(captions), generator=generator)
    pairs = zip(captions, shares, strict=True)
    return ["" if share < NO_CAPTION else caption for caption, share in pairs]


def velocity_loss(
    schedule: Schedule,
    latents_BChw: Tensor,
    said: Callable[[Tensor, Tensor], Tensor],
    generator: torch.Generator,
) -> Tensor:
    """How far velocities are from what a network says of latents at any noise.

    Args:
        said: noisy latents and timesteps (B,) -> velocities.
    """
    times = torch.randint(schedule.num_timesteps, (len(latents_BChw),), generator=generator)
    noise = torch.randn(latents_BChw.shape, generator=generator)
    kept = schedule.kept_T[times].float().view(-1, 1, 1, 1)
    alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
    found = said(alpha * latents_BChw + sigma * noise, times)
    return functional.mse_loss(found, alpha * noise - sigma * latents_BChw)


def printed(name: str, steps: int) -> Told:
    """Prints a line each 100 steps."""
    began_s = time.monotonic()

    def told(step: int, loss: float) -> None:
        if step % 100 == 0:
            seconds = time.monotonic() - began_s
            print(f"{name}, step {step}/{steps}: loss {loss:.4f}, {seconds:.0f} s", flush=True)

    return told
