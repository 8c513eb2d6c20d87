"""Cuts a face out of each frame: whole as SyncNet sees it, and the grey lower middle for LR-ASD.

Source: the pipeline of SyncNet (Chung and Zisserman, Out of time, ACCV workshops 2016), which the
demo of LR-ASD takes over.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Frames

Boxes = npt.NDArray[np.float64]
Faces = npt.NDArray[np.uint8]

# The numbers of both: side of the grey crop in pixels, of the picture that it is the middle of,
# margin around the face over half its size, frames of the median, and grey level of what lies
# beyond the frame.
SIZE_PX = 112
WHOLE_PX = 224
_MARGIN = 0.4
_SMOOTH_FRAMES = 13
_OUTSIDE_GREY = 110
MIN_FRAMES = _SMOOTH_FRAMES // 2 + 1
"""Fewest boxes that can be smoothed: of fewer, the filter's zeros outnumber them."""


def smooth(boxes_N4: Boxes) -> Boxes:
    """Smooth boxes to half size, centre row and centre column (N, 3): median over 13 frames.

    Zeros lie beyond the ends, so the first and last six frames take the least of their half.
    """
    x0, y0, x1, y1 = boxes_N4.T
    places_N3 = np.stack([np.maximum(y1 - y0, x1 - x0) / 2, (y0 + y1) / 2, (x0 + x1) / 2], axis=1)
    return scipy.signal.medfilt2d(places_N3, (_SMOOTH_FRAMES, 1))


def crop(frames_THWC: Frames, boxes_T4: Boxes) -> Faces:
    """Crop the face out of each RGB frame, grey (T, 112, 112)."""
    edge = (WHOLE_PX - SIZE_PX) // 2
    middle = slice(edge, edge + SIZE_PX)
    return np.stack(
        [
            cv2.cvtColor(whole_HWC, cv2.COLOR_RGB2GRAY)[middle, middle]
            for whole_HWC in _crops(frames_THWC, boxes_T4)
        ]
    )


def crop_whole(frames_THWC: Frames, boxes_T4: Boxes) -> Frames:
    """Crop the face with what is around it out of each RGB frame, (T, 224, 224, 3)."""
    return np.stack(list(_crops(frames_THWC, boxes_T4)))


def _crops(frames_THWC: Frames, boxes_T4: Boxes) -> Iterator[Frames]:
    for frame_HWC, place_3 in zip(frames_THWC, smooth(boxes_T4).tolist(), strict=True):
        yield _crop_one(frame_HWC, *place_3)


def _crop_one(frame_HWC: Frames, half: float, row: float, column: float) -> Frames:
    height, width = frame_HWC.shape[:2]
    pad = int(half * (1 + 2 * _MARGIN))
    # The rule cuts from a padded frame; to pad only what is cut gives the same for less.
    top, bottom = int(row + pad - half) - pad, int(row + pad + half * (1 + 2 * _MARGIN)) - pad
    left = int(column + pad - half * (1 + _MARGIN)) - pad
    right = int(column + pad + half * (1 + _MARGIN)) - pad
    inside = frame_HWC[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    padded = cv2.copyMakeBorder(
        inside,
        max(0, -top),
        max(0, bottom - height),
        max(0, -left),
        max(0, right - width),
        cv2.BORDER_CONSTANT,
        value=(_OUTSIDE_GREY,) * 3,
    )
    return np.asarray(cv2.resize(padded, (WHOLE_PX, WHOLE_PX)), np.uint8)
