"""Cuts the thing in a box out of a frame with GrabCut.

Source: Rother et al., GrabCut, SIGGRAPH 2004 (OpenCV).
"""

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Box, Frames, Mask, Segment
from avipipe.errors import AnnotatorError

_WORK_SHORT_PX = 360
_SURROUND = 0.4
_MIN_SURROUND_PX = 8
_ITERATIONS = 5
_MIN_FILL = 0.05


class GrabCutSegmenter:
    """Colour models of the inside and the surroundings of a box, and a minimal cut."""

    name = "grabcut"
    version = 1

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        cv2.setNumThreads(1)

    def segment(self, frame_HWC: Frames, *, box: Box) -> Segment:
        """The mask of the thing in `box`; all false with score 0 where none stands out.

        The score is how far the colours of the thing and of its surroundings differ, in [0, 1].

        Raises:
            AnnotatorError: no pixel of the frame is in the box.
        """
        height, width = frame_HWC.shape[:2]
        scale = min(1.0, _WORK_SHORT_PX / min(height, width))
        size = (round(width * scale), round(height * scale))
        x0, y0, x1, y1 = _whole_pixels(box, scale, size)
        if x1 <= x0 or y1 <= y0:
            raise AnnotatorError(
                message=f"expected a box inside the {width}x{height} frame, got {box}"
            )
        small = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA)
        pad_x = max(_MIN_SURROUND_PX, round(_SURROUND * (x1 - x0)))
        pad_y = max(_MIN_SURROUND_PX, round(_SURROUND * (y1 - y0)))
        left, top = max(0, x0 - pad_x), max(0, y0 - pad_y)
        window = np.s_[top : y1 + pad_y, left : x1 + pad_x]
        crop = np.ascontiguousarray(small[window])
        inside = np.zeros(crop.shape[:2], np.bool_)
        inside[y0 - top : y1 - top, x0 - left : x1 - left] = True
        cut = _largest(_grab_cut(crop, inside))
        if cut.sum() < _MIN_FILL * inside.sum():
            return Segment(np.zeros((height, width), np.bool_), 0.0)
        mask = np.zeros(size[::-1], np.uint8)
        mask[window] = cut
        full = cv2.resize(255 * mask, (width, height), interpolation=cv2.INTER_LINEAR)
        return Segment(np.asarray(full > 127), _contrast(crop, cut, ~cut & _around(cut)))


def _grab_cut(crop_HWC: Frames, inside_HW: Mask) -> Mask:
    labels = np.where(inside_HW, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if inside_HW.all():
        # A box that fills the picture leaves no background to learn from: take its rim.
        labels[:] = cv2.GC_BGD
        rim_y, rim_x = (max(1, n // 50) for n in labels.shape)
        labels[rim_y:-rim_y, rim_x:-rim_x] = cv2.GC_PR_FGD
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(
            crop_HWC, labels, None, background, foreground, _ITERATIONS, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:  # a class without pixels: nothing there to tell apart
        return np.zeros(inside_HW.shape, np.bool_)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def _largest(mask_HW: Mask) -> Mask:
    """The largest connected part, smoothed by one pixel and with its holes filled."""
    opened = cv2.morphologyEx(mask_HW.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(opened)
    if outlines:
        cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return np.asarray(filled > 0)


def _around(mask_HW: Mask) -> Mask:
    reach = 2 * max(3, round(0.2 * float(np.sqrt(mask_HW.sum())))) + 1
    return np.asarray(cv2.dilate(mask_HW.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0)


def _contrast(crop_HWC: Frames, inside_HW: Mask, outside_HW: Mask) -> float:
    """Share of the colours of two regions that they do not have in common."""
    coarse = (crop_HWC >> 5).astype(np.int64) @ np.array([64, 8, 1])
    one, other = (_histogram(coarse[region]) for region in (inside_HW, outside_HW))
    return float(1.0 - np.minimum(one, other).sum())


def _histogram(values: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.bincount(values, minlength=512) / max(1, values.size)


def _whole_pixels(box: Box, scale: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    x0, y0, x1, y1 = (edge * scale for edge in box)
    return (
        max(0, int(np.floor(x0))),
        max(0, int(np.floor(y0))),
        min(width, int(np.ceil(x1))),
        min(height, int(np.ceil(y1))),
    )
