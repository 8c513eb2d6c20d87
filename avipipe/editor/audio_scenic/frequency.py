"""Frequency Fuser: a sound weighs the high frequencies of a video's features, and no low ones."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Response = Literal["butterworth", "gaussian", "ideal"]

SIZE_DIMS = (-3, -2, -1)
"""Time, rows and columns of what is transformed."""

ORDER = 4
"""Of the Butterworth filter, as FreeInit has it."""


@dataclass(frozen=True, slots=True)
class LowPass:
    """Which frequencies of a video are low.

    Attributes:
        space_stop, time_stop: where they end, as shares of the highest frequency.
    """

    space_stop: float
    time_stop: float
    response: Response = "butterworth"

    def at(self, size: tuple[int, int, int]) -> Tensor:
        """How much of each frequency is low, (T, h, w) in [0, 1], zero first as FFTs have it.

        Args:
            size: T, h, w.
        Source: FreeInit@410286d, freeinit_utils.py, which misses the zero frequency by half a step
            where a side is odd; here it is met.
        """
        scales = (self.space_stop / self.time_stop, 1.0, 1.0)
        squares = [
            (2 * scale * torch.fft.fftfreq(side)) ** 2
            for side, scale in zip(size, scales, strict=True)
        ]
        distance = squares[0][:, None, None] + squares[1][:, None] + squares[2]
        return answer(distance, self.space_stop, self.response)


def answer(distance: Tensor, stop: float, response: Response) -> Tensor:
    """What a low-pass filter leaves at squared distances from the zero frequency.

    Source: FreeInit@410286d, freeinit_utils.py, whose `ideal` ends at `2 stop` instead of
        `stop ** 2`.
    """
    if response == "butterworth":
        return 1 / (1 + (distance / stop**2) ** ORDER)
    if response == "gaussian":
        return torch.exp(-distance / (2 * stop**2))
    return (distance <= stop**2).to(distance.dtype)


def fuse(video: Tensor, weight: Tensor, low: Tensor) -> Tensor:
    """Weigh the high frequencies of features; weights of 1 give them back.

    Of what is no longer the spectrum of real values, the real part is taken: that of equal
    weights for each frequency and its negative, their mean.

    Args:
        video: (…, T, h, w).
        weight: of its frequencies, broadcast to it.
        low: how much of them is low, (T, h, w).
    Returns:
        float32.
    Source: AudioScenic (arXiv 2404.16581), Eq. 9.
    """
    spectrum = torch.fft.fftn(video.float(), dim=SIZE_DIMS)
    fused = spectrum * (low + (1 - low) * weight.float())
    back: Tensor = torch.fft.ifftn(fused, dim=SIZE_DIMS).real
    return back


class FrequencyFuser(nn.Module):
    """Weighs the high frequencies of features by what the sound's mel bands say, frame by frame.

    The paper reshapes these weights "to align with the video frequency features": here the weight
    of frame n is that of the n-th frequency along time, from the most negative to the highest. At
    first all weights are 1.
    """

    def __init__(self, num_bands: int, num_channels: int) -> None:
        super().__init__()
        last = nn.Linear(num_channels, num_channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.encoder = nn.Sequential(nn.Linear(num_bands, num_channels), nn.SiLU(), last)

    def forward(
        self, video_FChw: Tensor, mel_FM: Tensor, low_Fhw: Tensor, strength: float
    ) -> Tensor:
        """Features of a video, weighed; those at strength 0 are what they were."""
        weight_FC = 1 + strength * self.encoder(mel_FM)
        weight_CF11 = torch.fft.ifftshift(weight_FC, dim=0).t()[..., None, None]
        fused_CFhw = fuse(video_FChw.transpose(0, 1), weight_CF11, low_Fhw)
        return fused_CFhw.transpose(0, 1).to(video_FChw.dtype)
