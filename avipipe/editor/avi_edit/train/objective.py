"""From a batch to its losses: what is drawn, what the network is given, what it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.losses import (
    DropConfig,
    LossConfig,
    Losses,
    draw_dropped,
    training_losses,
)
from avipipe.editor.avi_edit.network.transformer import EditorOutput, EditorTransformer
from avipipe.editor.common.flow import (
    NUM_TIMESTEPS,
    SigmaLaw,
    draw_noise,
    draw_sigmas,
    noisy_latents,
    velocity_target,
)


@dataclass(frozen=True, slots=True)
class Draws:
    """What chance decides for a batch.

    Attributes:
        sigma: noise levels, (B,).
        noise: as the latents.
        no_text, no_audio: samples that go without, bool (B,).
    """

    sigma: Tensor
    noise: Tensor
    no_text: Tensor
    no_audio: Tensor


def draw(
    batch: Batch,
    generators: Sequence[torch.Generator],
    sigmas: SigmaLaw,
    drop: DropConfig,
) -> Draws:
    """Draw for training; each sample from its own generator."""
    no_text, no_audio = draw_dropped(drop, generators)
    sigma = draw_sigmas(sigmas, generators)
    noise = draw_noise(batch.latents.shape[1:], generators)
    to = batch.latents.device
    return Draws(sigma.to(to), noise.to(to), no_text.to(to), no_audio.to(to))


def draw_at(batch: Batch, generators: Sequence[torch.Generator], sigma: float) -> Draws:
    """Draw noise for validation at a fixed level, with all conditions."""
    to, count = batch.latents.device, len(batch.latents)
    noise = draw_noise(batch.latents.shape[1:], generators).to(to)
    none = torch.zeros(count, dtype=torch.bool, device=to)
    return Draws(torch.full((count,), sigma, device=to), noise, none, none)


def predict(
    model: EditorTransformer, batch: Batch, draws: Draws, dtype: torch.dtype
) -> EditorOutput:
    """Ask the network about a noisy batch; all but timesteps is given to it in `dtype`."""
    noisy = noisy_latents(batch.latents, draws.noise, draws.sigma, batch.mask)
    text = torch.where(draws.no_text[:, None, None], batch.no_text, batch.text)
    output: EditorOutput = model(
        noisy.to(dtype),
        NUM_TIMESTEPS * draws.sigma,
        text.to(dtype),
        mask=batch.mask,
        precision=batch.precision,
        audio=batch.audio.to(dtype),
        has_audio=batch.has_audio & ~draws.no_audio,
    )
    return output


def losses_of(output: EditorOutput, batch: Batch, draws: Draws, config: LossConfig) -> Losses:
    """How wrong the network was."""
    assert output.mask_logits is not None
    return training_losses(
        output.velocity,
        output.mask_logits,
        target=velocity_target(batch.latents, draws.noise),
        mask=batch.mask,
        exact_mask=batch.exact_mask,
        config=config,
    )
