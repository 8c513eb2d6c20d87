"""Straight steps in a picture that are always in the same place: where pictures or bars meet."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask

STEP_PX = 2
"""Columns between those that are compared: scaling blurs a seam over two."""
_NEAR_PX = (-5, -4, -3, 3, 4, 5)
"""Columns that are a seam's surroundings: near, but beyond its blur."""
# What makes a step a seam; see below.
_STEEPER = 2.0
_LEAST_STEP = 4.0
"""A seam steps this many times as much as its surroundings do, and this many levels more."""

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steps:
    """Where pictures step sharply across (a vertical seam) and down, all the time, summed up."""

    across_YX: npt.NDArray[np.float64]
    down_YX: npt.NDArray[np.float64]

    @classmethod
    def of(cls, grey_SHW: Frames) -> "Steps":
        across_HW = _steps(grey_SHW)
        down_HW = _steps(grey_SHW.swapaxes(1, 2)).T
        return cls(
            np.pad(np.cumsum(across_HW, axis=0), ((1, 0), (0, 0))),
            np.pad(np.cumsum(down_HW, axis=1), ((0, 0), (1, 0))),
        )

    def vertical(self, x: npt.NDArray[np.intp], top: int, bottom: int) -> Shares:
        """Share of the rows in which there is a step at each column."""
        return np.asarray((self.across_YX[bottom, x] - self.across_YX[top, x]) / (bottom - top))

    def horizontal(self, y: npt.NDArray[np.intp], left: int, right: int) -> Shares:
        return np.asarray((self.down_YX[y, right] - self.down_YX[y, left]) / (right - left))


def _steps(grey_SHW: Frames) -> Mask:
    """Where a vertical line runs (H, W): between a column and the one before, or next to it."""
    steps_HW = np.zeros(grey_SHW.shape[1:], np.float32)
    across_SHW = [cv2.absdiff(grey[:, STEP_PX:], grey[:, :-STEP_PX]) for grey in grey_SHW]
    steps_HW[:, 1:-1] = _mostly(np.stack(across_SHW))
    width = grey_SHW.shape[2]
    near = [steps_HW[:, np.clip(np.arange(width) + px, 0, width - 1)] for px in _NEAR_PX]
    is_step_HW = steps_HW > _STEEPER * np.mean(near, axis=0) + _LEAST_STEP
    is_step_HW[:, 1:] |= is_step_HW[:, :-1]
    return np.asarray(is_step_HW)


def _mostly(values_SHW: Frames) -> Frames:
    """What is passed in four pictures of five: what shakes a little is not always there."""
    rank = len(values_SHW) // 5
    return np.asarray(np.partition(values_SHW, rank, axis=0)[rank])
