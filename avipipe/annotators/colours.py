"""Colour histograms of a thing, and their likeness."""

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask

_SHORT_PX = 120
"""Short side at which colours are counted: coarse histograms need no more."""
_BINS = 8
"""Bins of each axis of Lab, 512 in all: so coarse that shades of one colour mostly share one. A
choice."""
_FEWEST_PX = 12
"""Fewest pixels of each half, at that size, that make a histogram; a choice."""

Colours = npt.NDArray[np.float64]
"""Colour histograms (2, bins) of a thing's upper and lower half, each of sum 1."""


class Palette:
    """The colours of the pixels of a clip, as numbers of coarse bins of Lab."""

    def __init__(self, frames_THWC: Frames) -> None:
        height, width = frames_THWC.shape[1:3]
        scale = min(1.0, _SHORT_PX / min(height, width))
        self._size = max(1, round(width * scale)), max(1, round(height * scale))
        self._frames_THWC = frames_THWC
        self._bins_HW: dict[int, npt.NDArray[np.int64]] = {}

    def of(self, frame: int, mask_HW: Mask) -> Colours | None:
        """The colours under a mask of the frames' size; None for next to no pixels."""
        shares_HW = cv2.resize(mask_HW.astype(np.float32), self._size, interpolation=cv2.INTER_AREA)
        inside_HW = shares_HW > 0.5
        rows, _ = np.nonzero(inside_HW)
        if rows.size < 2 * _FEWEST_PX:
            return None
        bins_N = self._bins(frame)[inside_HW]
        upper_N = rows <= np.median(rows)
        if upper_N.all():
            return None
        return np.stack([_shares(bins_N[upper_N]), _shares(bins_N[~upper_N])])

    def _bins(self, frame: int) -> npt.NDArray[np.int64]:
        if frame not in self._bins_HW:
            small = cv2.resize(self._frames_THWC[frame], self._size, interpolation=cv2.INTER_AREA)
            lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.int64)
            # Lightness has 256 steps; the colours of pictures keep to the middle half of theirs.
            steps = lab[..., 0] // 32, (lab[..., 1] - 64) // 16, (lab[..., 2] - 64) // 16
            light, green, blue = (np.clip(step, 0, _BINS - 1) for step in steps)
            self._bins_HW[frame] = (light * _BINS + green) * _BINS + blue
        return self._bins_HW[frame]


def likeness(one: Colours | None, other: Colours | None) -> float:
    """Bhattacharyya's coefficient of the colours, mean of both halves; 0 if any is unknown."""
    if one is None or other is None:
        return 0.0
    return float(np.sqrt(one * other).sum(axis=1).mean())


def _shares(bins_N: npt.NDArray[np.int64]) -> Colours:
    return np.bincount(bins_N, minlength=_BINS**3) / bins_N.size
