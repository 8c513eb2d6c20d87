"""How many pictures a picture is put together from: side by side, in a grid, or one in another.

Where two pictures meet, there is a straight step over their whole common side, always in the same
place, and things move on both sides of it. The edges of rooms and doors are seldom that straight,
and then nothing moves behind one of them.
"""

from collections.abc import Iterator
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask
from avipipe.annotators.picture.bars import Bounds
from avipipe.annotators.picture.steps import STEP_PX, Steps

_COVERAGE = 0.8
"""Share of a seam's length on which it must step so: what meets is alike here and there."""
_LEAST_SIDE = 0.12
"""Of the whole picture: a narrower part is a border, or a caption."""
_LARGEST_INSET = 0.45
"""Share of the picture; what is larger is the picture itself, in a frame."""
_INSET_COVERAGE = 0.7
"""The same for each side of a picture in a picture."""
_BESIDE_PX = 8
"""Width of what lies close to a side; a choice."""
_MOVING_BESIDE = 0.3
"""Share of what lies close to a side of such a picture, inside or outside, that must move: the
edges of doors and windows stand still in what does."""
_ALIVE = 0.05
"""Share of a part in which something moves, from which it counts as a picture that is filmed."""
_LEAST_AREA = 0.04
"""Share of the picture that one of several has at least."""
_NUM_LINES = 24
"""Longest lines each way among which a picture in a picture is sought: pairs grow with the square.
A choice."""


def num_panels(grey_SHW: Frames, moving_HW: Mask) -> int:
    """Count the pictures; 1 for one that is whole, or where nothing moves.

    Args:
        grey_SHW: pictures of one shot, evenly spread, without bars.
        moving_HW: where they keep changing.
    """
    steps = Steps.of(grey_SHW)
    height, width = moving_HW.shape
    whole = (0, 0, width, height)
    side_by_side = [
        part
        for part in _parts(steps, whole)
        if _area(part) >= _LEAST_AREA * width * height and _is_alive(moving_HW, part)
    ]
    if len(side_by_side) > 1:
        return len(side_by_side)
    return 1 + _has_inset(steps, moving_HW)


def _parts(steps: Steps, part: Bounds) -> Iterator[Bounds]:
    """What seams from side to side leave of a part, cut again and again at the clearest one."""
    left, top, right, bottom = part
    least_px = round(_LEAST_SIDE * min(steps.across_YX.shape[0] - 1, steps.across_YX.shape[1]))
    xs = np.arange(left + least_px, right - least_px)
    ys = np.arange(top + least_px, bottom - least_px)
    best, cut = _COVERAGE, None
    if xs.size and (seams := steps.vertical(xs, top, bottom)).max() >= best:
        best, x = float(seams.max()), int(xs[seams.argmax()])
        cut = (left, top, x, bottom), (x, top, right, bottom)
    if ys.size and (seams := steps.horizontal(ys, left, right)).max() > best:
        y = int(ys[seams.argmax()])
        cut = (left, top, right, y), (left, y, right, bottom)
    if cut is None:
        yield part
        return
    for half in cut:
        yield from _parts(steps, half)


def _area(part: Bounds) -> int:
    left, top, right, bottom = part
    return (right - left) * (bottom - top)


def _is_alive(moving_HW: Mask, part: Bounds) -> bool:
    left, top, right, bottom = part
    return bool(moving_HW[top:bottom, left:right].mean() >= _ALIVE)


def _has_inset(steps: Steps, moving_HW: Mask) -> bool:
    """Whether a smaller picture lies in the picture, by itself or in a corner."""
    height, width = moving_HW.shape
    xs = [0, *_lines(steps.across_YX), width]
    ys = [0, *_lines(steps.down_YX.T), height]
    for top, bottom in combinations(ys, 2):
        if not _LEAST_SIDE * height <= bottom - top < height:
            continue
        # The picture's own edge is as good as a seam, but not on both sides.
        edges_X = steps.vertical(np.minimum(xs, width - 1), top, bottom)
        good = [
            x
            for x, edge in zip(xs, edges_X, strict=True)
            if edge >= _INSET_COVERAGE or x in (0, width)
        ]
        for left, right in combinations(good, 2):
            part = left, top, right, bottom
            is_inset = (
                _LEAST_SIDE * width <= right - left < width
                and _area(part) <= _LARGEST_INSET * width * height
                and _has_edges(steps, part)
            )
            if is_inset and _is_alive(moving_HW, part) and _moves_beside(moving_HW, part):
                return True
    return False


def _has_edges(steps: Steps, part: Bounds) -> bool:
    left, top, right, bottom = part
    height = steps.down_YX.shape[0]
    edges = steps.horizontal(np.array([y for y in (top, bottom) if 0 < y < height]), left, right)
    return bool((edges >= _INSET_COVERAGE).all())


def _moves_beside(moving_HW: Mask, part: Bounds) -> bool:
    """Whether something moves along each side of a part that is not the picture's own edge."""
    height, width = moving_HW.shape
    left, top, right, bottom = part
    beside = [
        [moving_HW[top:bottom, band] for band in _bands(x)] for x in (left, right) if 0 < x < width
    ]
    beside += [
        [moving_HW[band, left:right] for band in _bands(y)] for y in (top, bottom) if 0 < y < height
    ]
    return all(
        max((float(band.mean()) for band in pair if band.size), default=0.0) >= _MOVING_BESIDE
        for pair in beside
    )


def _bands(edge: int) -> tuple[slice, slice]:
    """The places before and after an edge, without those next to it."""
    near, far = STEP_PX, STEP_PX + _BESIDE_PX
    return slice(max(0, edge - far), max(0, edge - near)), slice(edge + near, edge + far)


def _lines(sums_LX: npt.NDArray[np.float64]) -> list[int]:
    """The places across with the longest lines along, none beside another."""
    length = sums_LX.shape[0] - 1
    size = max(1, round(_LEAST_SIDE * length))
    most_X = (sums_LX[size:] - sums_LX[:-size]).max(axis=0) / size
    is_peak_X = (most_X >= _INSET_COVERAGE) & (
        most_X == cv2.dilate(most_X[None], np.ones((1, 3)))[0]
    )
    places = np.flatnonzero(is_peak_X)
    kept: list[int] = []
    for x in places[np.argsort(-sums_LX[-1][places], kind="stable")]:
        if all(abs(int(x) - other) > STEP_PX for other in kept):
            kept.append(int(x))
    return sorted(kept[:_NUM_LINES])
