"""A tiny HiFi-GAN that learns to sound pure tones, by the error of their waves.

Of a steady tone all spectra are alike, so that a network that hears nothing but them can repeat no
other wave than one that fits whole into the samples of a spectrum. With 640 of them, that is any
multiple of 25 Hz: the pitches of shapes are met within 2.3 %, a third of a semitone.
"""

import math
from typing import Any

import numpy as np
import torch
import transformers as typed_transformers
from torch import Tensor
from torch.nn import functional

from avipipe.annotators.base import Wave
from avipipe.editor.aved.sound import MelForm
from examples.tiny.learn import Told, learn
from examples.tiny.shapes import PITCH_HZ

transformers: Any = typed_transformers
"""Its classes are built in ways that a type checker cannot follow."""

RATE_HZ = 16_000
"""AudioLDM 2's."""

HOP = 640
"""Samples of a spectrum; the real one has 160, of which nothing but multiples of 100 Hz fits."""

NUM_MELS = 64
"""AudioLDM 2's."""

QUIETEST = 3.0
"""How far tones are lowered, most, as a natural logarithm; loud ones are learnt from more often."""

FLOOR = math.log(1e-5)
"""Of spectra, AudioLDM's."""

LOUDEST = 0.5
"""Peak of what is learnt, to which AudioLDM 2 brings sounds."""

BATCH, SPECTRA = 16, 6
"""Tones of a step, and how long they are."""

STEPS = 500
"""Of training."""

LR = 3e-3
"""The highest learning rate."""


def random_vocoder(seed: int = 0) -> Any:
    """AudioLDM 2's kind of vocoder, with random weights."""
    torch.manual_seed(seed)
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=NUM_MELS,
        sampling_rate=RATE_HZ,
        upsample_initial_channel=128,
        upsample_rates=[8, 5, 4, 4],
        upsample_kernel_sizes=[16, 11, 8, 8],
        resblock_kernel_sizes=[3, 7],
        resblock_dilation_sizes=[[1, 3], [1, 3]],
        normalize_before=False,
    )
    return transformers.SpeechT5HifiGan(config)


def train_vocoder(
    vocoder: Any, steps: int, *, seed: int = 0, told: Told = lambda step, loss: None
) -> None:
    """Learn waves of shapes' tones, loud and soft, by their spectra."""
    form = MelForm(HOP, NUM_MELS, RATE_HZ, 1)

    def loss_of(generator: torch.Generator) -> Tensor:
        spectra, waves = zip(*(_draw_tone(form, generator) for _ in range(BATCH)), strict=True)
        return functional.mse_loss(vocoder(torch.stack(spectra)), torch.stack(waves))

    learn(list(vocoder.parameters()), loss_of, steps, lr=LR, seed=seed, told=told)


def _draw_tone(form: MelForm, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The spectra (T, M) of a shape's tone, and the wave (N,) that is to be made of them."""
    phase, grain, loss = torch.rand(3, generator=generator).tolist()
    which = int(torch.randint(len(PITCH_HZ), (), generator=generator))
    pitch_hz = tuple(PITCH_HZ.values())[which]
    grain_N = 10 ** (-2 - 3 * grain) * torch.randn(SPECTRA * HOP, generator=generator)
    spectra, _ = form.spectra(tone(pitch_hz, SPECTRA * HOP, phase=phase) + grain_N.numpy())
    level = math.exp(-QUIETEST * loss**2)
    whole_hz = round(pitch_hz * HOP / RATE_HZ) * RATE_HZ / HOP
    wave = level * LOUDEST * tone(whole_hz, SPECTRA * HOP)
    return (spectra + math.log(level)).clamp(min=FLOOR), torch.from_numpy(wave)


def tone(pitch_hz: float, num_samples: int, *, phase: float = 0.0) -> Wave:
    """A pure tone of peak 1, (N,), float32, at `RATE_HZ`.

    Args:
        phase: at its begin, in periods.
    """
    periods_N = pitch_hz * np.arange(num_samples) / RATE_HZ + phase
    return np.asarray(np.sin(2 * np.pi * periods_N), dtype=np.float32)
