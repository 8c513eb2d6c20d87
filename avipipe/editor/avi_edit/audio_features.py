"""Hidden states of wav2vec2 at 50 Hz to the frames of a video.

State j stands for the time j / 50 s; a little after the last one come zeros, for silence.
"""

from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Rule = Literal["exact", "released"]

STATES_HZ = 50
"""Of wav2vec2: a hidden state each 20 ms."""

_RELEASED_HZ = 30
"""To which the released code interpolates these states."""
_BUCKET = 80
"""Frames; the released code thinks of a clip as so many of these as it needs."""


def resample_states(
    states_LTC: Tensor, fps: Fraction, num_frames: int, rule: Rule = "exact"
) -> Tensor:
    """The hidden states at each frame of a video.

    Args:
        states_LTC: L layers of width C at 50 Hz.
        fps: of the video.
        num_frames: of the video, F.
        rule: `exact`: interpolated at the very time of a frame. `released`: AVI-Edit's way, the
            nearest of samples at 30 Hz; at 24 fps rounding errors choose every fourth one.
    Returns:
        (F, L, C), as `AudioEncoder` takes a batch of them.
    """
    if rule == "released":
        return _as_released(states_LTC, float(fps), num_frames)
    last = states_LTC.shape[1] - 1
    positions = [STATES_HZ * frame / fps for frame in range(num_frames)]
    heard = [position for position in positions if position <= last + 1]
    below = torch.tensor([min(position // 1, last) for position in heard])
    share = torch.tensor([float(position % 1) for position in heard], dtype=states_LTC.dtype)
    above = (below + 1).clamp(max=last)
    mixed_LFC = torch.lerp(states_LTC[:, below], states_LTC[:, above], share[None, :, None])
    return _silence_after(mixed_LFC.transpose(0, 1), num_frames)


def released_frame_index(num_samples: int, fps: float) -> Tensor:
    """Which sample at 30 Hz the released code takes for each frame of its buckets.

    Source: Wan2.2-S2V's audio encoder, as released with AVI-Edit.
    """
    num_buckets = int(num_samples / (_BUCKET * _RELEASED_HZ / fps)) + 1
    num_frames = _BUCKET * num_buckets
    times_s = np.linspace(0, num_frames / fps, num_frames, endpoint=False)
    return torch.from_numpy(np.round(times_s * _RELEASED_HZ).astype(np.int64))


def at_released_rate(states_LTC: Tensor) -> Tensor:
    """Interpolate to 30 Hz, first and last state staying where they are, (L, N, C)."""
    num_samples = int(states_LTC.shape[1] / STATES_HZ * _RELEASED_HZ)
    sampled_LCN = functional.interpolate(
        states_LTC.mT, num_samples, mode="linear", align_corners=True
    )
    return sampled_LCN.mT


def _as_released(states_LTC: Tensor, fps: float, num_frames: int) -> Tensor:
    sampled_LNC = at_released_rate(states_LTC)
    num_samples = sampled_LNC.shape[1]
    index = released_frame_index(num_samples, fps)[:num_frames]
    return _silence_after(sampled_LNC[:, index[index < num_samples]].transpose(0, 1), num_frames)


def _silence_after(states_FLC: Tensor, num_frames: int) -> Tensor:
    return functional.pad(states_FLC, (0, 0, 0, 0, 0, num_frames - len(states_FLC)))
