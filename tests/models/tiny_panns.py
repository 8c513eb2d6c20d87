"""A tiny Cnn14 in the layout of PANNs' checkpoints; its spectrum and its bands are real ones."""

from itertools import pairwise
from pathlib import Path

import torch

WINDOW, NUM_MELS, NUM_CLASSES = 512, 64, 527
_WIDTHS = (1, 4, 4, 4, 4, 4, 8)


def panns_state() -> dict[str, torch.Tensor]:
    """Random layers behind a Hann window's Fourier transform and bands of eight bins."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        drawn: torch.Tensor = torch.randn(shape, generator=random) / max(1, shape[-1]) ** 0.5
        return drawn

    num_bins = WINDOW // 2 + 1
    angle_KN = 2 * torch.pi * torch.outer(torch.arange(num_bins), torch.arange(WINDOW)) / WINDOW
    hann_N = torch.hann_window(WINDOW)
    state = {
        "spectrogram_extractor.stft.conv_real.weight": (hann_N * angle_KN.cos())[:, None],
        "spectrogram_extractor.stft.conv_imag.weight": (-hann_N * angle_KN.sin())[:, None],
        "logmel_extractor.melW": torch.zeros(num_bins, NUM_MELS),
        "fc1.weight": draw(8, _WIDTHS[-1]),
        "fc1.bias": draw(8),
        "fc_audioset.weight": 4 * draw(NUM_CLASSES, 8),
        "fc_audioset.bias": draw(NUM_CLASSES),
        **_norm("bn0", NUM_MELS),
    }
    for mel in range(NUM_MELS):
        state["logmel_extractor.melW"][4 * mel : 4 * mel + 4, mel] = 1.0
    state["bn0.running_var"] += 400.0  # decibels
    for number, (before, after) in enumerate(pairwise(_WIDTHS), start=1):
        block = f"conv_block{number}"
        state |= {
            f"{block}.conv1.weight": draw(after, before, 3, 3),
            f"{block}.conv2.weight": draw(after, after, 3, 3),
            **_norm(f"{block}.bn1", after),
            **_norm(f"{block}.bn2", after),
        }
    return state


def _norm(name: str, width: int) -> dict[str, torch.Tensor]:
    return {
        f"{name}.weight": torch.ones(width),
        f"{name}.bias": torch.zeros(width),
        f"{name}.running_mean": torch.zeros(width),
        f"{name}.running_var": torch.ones(width),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def write_panns(path: Path, state: dict[str, torch.Tensor]) -> None:
    """As it is published: with the number of its last iteration."""
    torch.save({"iteration": 1, "model": state}, path)
