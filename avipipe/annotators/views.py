"""Parts of a frame that a network is shown."""

import numpy as np

from avipipe.annotators.base import Box, Frames
from avipipe.errors import AnnotatorError

View = tuple[slice, slice]
"""A part of a frame: its rows and columns."""

_PART = 0.6
"""Sides of a smaller view over the picture's: two in a column and three in a row overlap. A
choice."""


def tiles(frame_HWC: Frames) -> list[View]:
    """Views of a picture: the whole, and six of 0.6 of its sides in two rows of three."""
    height, width = frame_HWC.shape[:2]
    high, wide = max(1, round(_PART * height)), max(1, round(_PART * width))
    tops = (0, height - high)
    lefts = (0, (width - wide) // 2, width - wide)
    smaller = [np.s_[top : top + high, left : left + wide] for top in tops for left in lefts]
    return [np.s_[0:height, 0:width], *smaller]


def pad_box(box: Box, growth: float, frame_HWC: Frames) -> View:
    """Grow a box by a share of its sides on each, in whole pixels inside the frame.

    Raises:
        AnnotatorError: there are none.
    """
    height, width = frame_HWC.shape[:2]
    x0, y0, x1, y1 = box
    add_x, add_y = growth * (x1 - x0), growth * (y1 - y0)
    left, right = max(0, int(x0 - add_x)), min(width, int(np.ceil(x1 + add_x)))
    top, bottom = max(0, int(y0 - add_y)), min(height, int(np.ceil(y1 + add_y)))
    if right <= left or bottom <= top:
        raise AnnotatorError(message=f"expected a box inside a {(width, height)} frame, got {box}")
    return slice(top, bottom), slice(left, right)


def box_of(view: View) -> Box:
    rows, columns = view
    return float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)
