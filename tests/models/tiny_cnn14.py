"""A narrow random Cnn14 in the layout of PANNs' checkpoints."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FILE = "Cnn14_mAP=0.431.pth"
NUM_MELS, NUM_BINS = 40, 513
CHANNELS = (4, 4, 6, 6, 8, 8)
NUM_HIDDEN = 12


def checkpoint(num_bins: int = NUM_BINS, num_classes: int = 3) -> dict[str, Any]:
    """What PANNs' trainer saves: the network under `model`, and the state of its sampler.

    Args:
        num_bins: of the spectrum, 513 at 32 kHz and 257 at 16.
    """
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    before = 1
    for number, after in enumerate(CHANNELS, start=1):
        block = f"conv_block{number}"
        for place, inner in ((1, before), (2, after)):
            state[f"{block}.conv{place}.weight"] = 0.4 * torch.randn(after, inner, 3, 3)
            norm = nn.BatchNorm2d(after)
            state |= {f"{block}.bn{place}.{key}": v for key, v in norm.state_dict().items()}
        before = after
    norm = nn.BatchNorm2d(NUM_MELS)
    norm.running_mean = torch.full((NUM_MELS,), -20.0)
    norm.running_var = torch.full((NUM_MELS,), 100.0)
    state |= {f"bn0.{key}": value for key, value in norm.state_dict().items()}
    state["logmel_extractor.melW"] = torch.rand(num_bins, NUM_MELS) / num_bins
    state["spectrogram_extractor.stft.conv_real.weight"] = torch.zeros(
        num_bins, 1, 2 * num_bins - 2
    )
    for name, size in (("fc1", NUM_HIDDEN), ("fc_audioset", num_classes)):
        state[f"{name}.weight"] = torch.randn(size, before if name == "fc1" else NUM_HIDDEN)
        state[f"{name}.bias"] = torch.zeros(size)
    return {"iteration": 1, "model": state, "sampler": {"indexes": np.arange(3)}}
