"""Adaptive magnitude modulation: what the edit changes most is changed more, in long videos."""

import math
from typing import Literal

from torch import Tensor

Contrast = Literal["signed", "abs"]

LONGEST = 21
"""Latent frames of the longest video that Wan2.1 makes, 81 frames."""

_EPSILON = 1e-7
"""Keeps a contrast of nothing from dividing by zero; the paper's own value."""


def contrast_of(change_CThw: Tensor, contrast: Contrast) -> Tensor:
    """How much a change stands out at each cell, (T, h, w), from 0 to 1 over the whole video.

    Args:
        change_CThw: velocity of the target less that of the source.
        contrast: of the channels' mean, or (`abs`) of its magnitude.
    Source: FlowAnchor (arXiv 2604.22586), Eqs. 24-25; `abs` is a choice of our own.
    """
    mean_Thw = change_CThw.mean(0)
    if contrast == "abs":
        mean_Thw = mean_Thw.abs()
    lowest, highest = mean_Thw.min(), mean_Thw.max()
    return (mean_Thw - lowest) / (highest - lowest + _EPSILON)


def modulate(change_CThw: Tensor, gamma: float, contrast: Contrast) -> Tensor:
    """A change made up to `1 + gamma ln T / ln 21` times as large; that of one frame is left."""
    gain = gamma * math.log(change_CThw.shape[1]) / math.log(LONGEST)
    return (1 + gain * contrast_of(change_CThw, contrast)) * change_CThw
