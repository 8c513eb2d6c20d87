"""What a video hears: the meaning of a sound, its loudness and its mel bands, frame by frame."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from avipipe.annotators.base import HEARING_HZ, Mask, Wave
from avipipe.annotators.signal import mel_spectrogram, to_db
from avipipe.manifests.samples import FPS

NUM_BANDS = 128
"""Mel bands, as many as ImageBind hears, by which the paper's sounds are read."""

_WINDOW_S = 0.064
"""Of the spectrum: bins of 16 Hz, so that no band is without one."""

_FLOOR_DB = -100.0
"""What counts as silence; mel bands are told as 0 there, and as 1 at full scale."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A sound as the network hears it with F frames.

    Attributes:
        meaning_D: embedding of the whole.
        loudness_F: how loud each frame is, 1 on average.
        mel_FM: mel bands of each frame, 0 silence … 1 full scale.
        scene_F1hw: which cells hear it: 1 the scene, 0 what stays.
        magnitude, frequency: how far loudness (0 to 1) and mel bands (from 0) count.
    """

    meaning_D: Tensor
    loudness_F: Tensor
    mel_FM: Tensor
    scene_F1hw: Tensor
    magnitude: float = 1.0
    frequency: float = 1.0

    def to(self, device: torch.device | str) -> Self:
        """This with its tensors on a device."""
        names = ("meaning_D", "loudness_F", "mel_FM", "scene_F1hw")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    @property
    def gains(self) -> Tensor:
        """By how much the sound counts in each frame, (F,), 1 on average."""
        return 1 + self.magnitude * (self.loudness_F - 1)

    def scene_at(self, size: tuple[int, int]) -> Tensor:
        """Which cells of a coarser grid hear it, (F, 1, h, w): those in which nothing stays."""
        stays_F1hw = 1 - self.scene_F1hw
        return 1 - functional.adaptive_max_pool2d(stays_F1hw, size)


def scene_cells(mask_FHW: Mask, size: tuple[int, int]) -> Tensor:
    """The cells of a grid that lie in a mask of the scene with all their pixels, (F, 1, h, w)."""
    stays = torch.from_numpy(np.ascontiguousarray(~mask_FHW))[:, None].float()
    return 1 - functional.adaptive_max_pool2d(stays, size)


def loudness(wave_N: Wave, num_frames: int, temperature: float) -> Tensor:
    """How loud each frame is, (F,), 1 on average: the softmax of mean magnitudes, times F.

    Source: AudioScenic (arXiv 2404.16581), Eq. 4; without F all of it would fade in long videos.
    """
    magnitudes = [np.abs(part).mean() for part in np.array_split(wave_N, num_frames)]
    shares_F = torch.softmax(torch.tensor(np.array(magnitudes)).double() / temperature, dim=0)
    return (num_frames * shares_F).float()


def mel_bands(wave_N: Wave, num_frames: int) -> Tensor:
    """Mel bands in the middle of each frame, (F, `NUM_BANDS`), 0 silence … about 1 full scale.

    Args:
        wave_N: mono at 16 kHz, of so many frames at 24 fps.
    """
    half = HEARING_HZ // FPS // 2
    power_TM = mel_spectrogram(
        np.pad(wave_N[half:], (0, half)),
        sample_rate_hz=HEARING_HZ,
        num_mels=NUM_BANDS,
        window_s=_WINDOW_S,
        hop_s=1 / FPS,
    )
    bands_FM = (to_db(power_TM[:num_frames], floor_db=_FLOOR_DB) - _FLOOR_DB) / -_FLOOR_DB
    return torch.from_numpy(bands_FM).float()
