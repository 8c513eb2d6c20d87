"""The few frames of a clip that stand for it."""

from collections.abc import Sequence

import cv2
import numpy as np

from avipipe.annotators.base import Frames

_STEP_PX = 180
"""Rows or columns of the short side that are looked at, at least: a variance needs no more
pixels."""


def key_frames(frames_THWC: Frames) -> list[int]:
    """The first, the middle, the last and the sharpest frame, ascending: one to four."""
    last = len(frames_THWC) - 1
    sharpest = int(np.argmax([sharpness(frame_HWC) for frame_HWC in frames_THWC]))
    return sorted({0, last // 2, sharpest, last})


def spread(frames: Sequence[int], most: int) -> list[int]:
    """Choose at most `most` of the frames, evenly spread, the ends left out."""
    count = min(most, len(frames))
    return [frames[(2 * n + 1) * len(frames) // (2 * count)] for n in range(count)]


def sharpness(frame_HWC: Frames) -> float:
    """Variance of the Laplacian of luma, on every n-th pixel row and column of a large picture.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    grey_HW = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY)
    laplacian_HW = cv2.Laplacian(grey_HW, cv2.CV_16S)
    step = max(1, min(grey_HW.shape) // _STEP_PX)
    return float(laplacian_HW[::step, ::step].var())
