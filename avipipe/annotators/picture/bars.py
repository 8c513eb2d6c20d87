"""The part of a picture that is not bars or borders.

A bar is one colour over its whole length and the whole time, reaches the picture's edge, and ends
in a straight line. A dark sky is neither as even nor does it end so. Players also fill the sides of
an upright picture with a blurred copy of it: that has no detail, and ends in a straight line, too.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.picture.steps import STEP_PX, Steps

_OFF = 10
"""Levels of 255 from the bar's colour that coding does not explain."""
_STRAY = 0.02
"""Share of a line's pixels that may be off all the same: ringing, a speck."""
_EVEN = 1.5
"""Mean distance from the bar's colour in levels: bars are drawn, so only coding is left."""
_MOST = 0.9
"""Share of a bar's end beyond which something else must begin at once, where it stands alone."""
_SOME = 0.3
"""The same for bars on both sides that are equally wide: pictures are often dark somewhere."""
_MIXED = 0.85
"""Contrast of a line with the bar, over that of the next line, under which it is partly bar."""
_BLACK = 32
"""Brightest level of a bar on one side only: a plain wall or sky is brighter."""
_ALIKE = 0.02
"""Difference in width, as a share of the picture, of bars that count as equal."""
_BLURRED = 0.35
"""Detail of a blurred side over that of the picture between, at most."""
_NARROWEST = 0.05
"""Width of a blurred side, as a share of the picture, at least."""
_SEAM = 0.7
"""Share of its length on which a blurred side must end in a step."""
_LEAST_LEFT = 0.15
"""Share of the picture that must be left: what is smaller is a thing on a plain ground."""

Extent = tuple[int, int]
Bounds = tuple[int, int, int, int]
"""Bounds of a picture: (left, top, right, bottom), half-open, in pixels."""


def content_bounds(grey_SHW: Frames) -> Bounds:
    """Bounds of the picture within bars and borders, from grey pictures of one shot."""
    height, width = grey_SHW.shape[1:]
    # Bars at the sides end within the rows that bars above and below leave, and the other way.
    columns: Extent = (0, width)
    for _ in range(2):
        rows = _extent(grey_SHW[:, :, slice(*columns)])
        columns = _extent(grey_SHW[:, slice(*rows)].swapaxes(1, 2))
    if _is_too_little(rows, columns, width * height):
        return 0, 0, width, height
    inside_SHW = grey_SHW[:, slice(*rows), slice(*columns)]
    steps = Steps.of(inside_SHW)
    first, last = _between_blurred(inside_SHW, steps.across_YX[-1] / inside_SHW.shape[1])
    left, right = columns[0] + first, columns[0] + last
    first, last = _between_blurred(
        inside_SHW.swapaxes(1, 2), steps.down_YX[:, -1] / inside_SHW.shape[2]
    )
    top, bottom = rows[0] + first, rows[0] + last
    if _is_too_little((top, bottom), (left, right), width * height):
        return 0, 0, width, height
    return left, top, right, bottom


def _is_too_little(rows: Extent, columns: Extent, whole: int) -> bool:
    height, width = rows[1] - rows[0], columns[1] - columns[0]
    return min(height, width) <= 2 * STEP_PX or height * width < _LEAST_LEFT * whole


def _between_blurred(grey_SHW: Frames, seams_X: npt.NDArray[np.float64]) -> Extent:
    """The columns between two equally wide blurred sides; all where there are none.

    Args:
        seams_X: share of the rows in which there is a step at each column.
    """
    width = grey_SHW.shape[2]
    narrowest, widest = max(STEP_PX + 1, round(_NARROWEST * width)), width // 2 - 2 * STEP_PX
    if widest <= narrowest:
        return 0, width
    mirrored_X = seams_X[: width - widest : -1][narrowest - 1 :]
    pairs_X = np.minimum(seams_X[narrowest:widest], mirrored_X)
    first = int(pairs_X.argmax()) + narrowest
    changes = [cv2.Laplacian(np.ascontiguousarray(grey), cv2.CV_16S) for grey in grey_SHW]
    detail_HW = np.abs(np.stack(changes)).mean(axis=0)
    left, middle, right = np.split(detail_HW, [first, width - first], axis=1)
    sides = max(_clear_detail(left[:, :-STEP_PX]), _clear_detail(right[:, STEP_PX:]))
    is_filled = pairs_X.max() >= _SEAM and sides <= _BLURRED * _clear_detail(middle)
    return (first + 1, width - first - 1) if is_filled else (0, width)


def _clear_detail(detail_HW: npt.NDArray[np.float64]) -> float:
    """Passed by a quarter of the pixels: a logo is less than that."""
    return float(np.percentile(detail_HW, 75)) if detail_HW.size else 0.0


@dataclass(frozen=True, slots=True)
class _Bar:
    """The first `size` lines from one side; `ended` is how much of its end is something else."""

    size: int
    colour: int
    ended: float
    is_even: bool

    def is_drawn(self, *, is_pair: bool) -> bool:
        if is_pair:
            return self.is_even and self.ended >= _SOME
        return self.is_even and self.ended >= _MOST and self.colour <= _BLACK


def _extent(grey_SLW: Frames) -> Extent:
    """Of the lines (L), those between the bars at both ends."""
    first, last = _bar(grey_SLW), _bar(grey_SLW[:, ::-1])
    length = grey_SLW.shape[1]
    alike = abs(first.size - last.size) <= max(1.0, _ALIKE * length)
    is_pair = alike and min(first.size, last.size) > 0
    cut = [bar.size if bar.is_drawn(is_pair=is_pair) else 0 for bar in (first, last)]
    return cut[0], length - cut[1]


def _bar(grey_SLW: Frames) -> _Bar:
    colour = int(np.median(grey_SLW[:, 0]))
    away_LW = np.maximum(
        grey_SLW.max(axis=0).astype(np.int16) - colour,
        colour - grey_SLW.min(axis=0).astype(np.int16),
    )
    off_LW = away_LW > _OFF
    plain_L = off_LW.mean(axis=1) <= _STRAY
    size = len(plain_L) if plain_L.all() else int(plain_L.argmin())
    if size == 0 or size == len(plain_L):
        return _Bar(0, colour, 0.0, is_even=False)
    ended = float(off_LW[size : size + 2].any(axis=0).mean())
    return _Bar(
        size + _is_mixed(grey_SLW, size, colour),
        colour,
        ended,
        _is_even(grey_SLW[:, :size], colour),
    )


def _is_even(bar_SLW: Frames, colour: int) -> bool:
    """Whether lines are of a colour, but for the last one, where the picture rings."""
    lines_SLW = bar_SLW[:, : max(1, bar_SLW.shape[1] - 1)].astype(np.int16)
    return bool(np.abs(lines_SLW - colour).mean() <= _EVEN)


def _is_mixed(grey_SLW: Frames, line: int, colour: int) -> bool:
    """Whether a line is partly bar and partly picture, as scaling leaves it."""
    near = np.abs(grey_SLW[:, line : line + 2].astype(np.int16) - colour).mean(axis=(0, 2))
    return bool(len(near) == 2 and near[0] < _MIXED * near[1])
