"""Cuts out of each frame what LR-ASD looks at: the lower middle of a face, in grey.

Source: the demo of LR-ASD, which has the rule from SyncNet's (Chung and Zisserman, Out of time,
ACCV workshops 2016).
"""

import cv2
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Frames

Boxes = npt.NDArray[np.float64]
Faces = npt.NDArray[np.uint8]

# The numbers of LR-ASD's demo: side of the crop in pixels, of the picture that it is the middle of,
# margin around the face over half its size, frames of the median, and grey level of what lies
# beyond the frame.
SIZE_PX = 112
_WHOLE_PX = 224
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
    return np.stack(
        [
            _crop_one(frame_HWC, *place_3)
            for frame_HWC, place_3 in zip(frames_THWC, smooth(boxes_T4).tolist(), strict=True)
        ]
    )


def _crop_one(frame_HWC: Frames, half: float, row: float, column: float) -> Faces:
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
    whole = cv2.cvtColor(cv2.resize(padded, (_WHOLE_PX, _WHOLE_PX)), cv2.COLOR_RGB2GRAY)
    edge = (_WHOLE_PX - SIZE_PX) // 2
    return np.asarray(whole[edge : edge + SIZE_PX, edge : edge + SIZE_PX], np.uint8)
