"""What is laid over a moving picture and stays: logos, captions, frames.

Its edges are where they were, and point as they did, while everything around them changes. With a
camera that keeps still, most edges do so; then nothing can be told, and nothing is said.
"""

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask
from avipipe.annotators.embedded.flow import Array
from avipipe.annotators.picture.bars import Bounds

_LEAST_EDGE = 8.0
"""Levels by which what is laid over must step in nearly every picture."""
_QUANTILE = 0.1
"""Share of the pictures that an edge may be missing in, as where the ground behind has the same
colour; a choice."""
_STRAY_PX = 5
"""Lines and letters that are no farther apart belong together."""
# Edge pixels that one must have, and their share of its box; less is stray texture. Choices.
_LEAST_PIXELS = 30
_LEAST_FILL = 0.15
# Of edges, and share of them that a direction must have to count; see below.
_NUM_DIRECTIONS = 8
_LEAST_DIRECTIONS = 5
_SOME_EDGES = 0.05
_MOST_ONE_WAY = 0.45
"""Letters and logos have edges in five of eight directions or more, and none has this share of
them. What else stays, a horizon or a pole, has two."""
_LARGEST = 0.3
"""Share of the picture that one of them may take."""
_MOST_STEADY = 0.3
"""Share of all edges that may be steady: beyond, the camera keeps still."""
# Widths around a box: of the soft outlines that letters have, and of the surroundings beyond.
# Choices.
_OUTLINE_PX = 2
_RING_PX = 5
_RING_SHARE = 0.5
"""Share of the surroundings that must keep changing, on every side."""


def find_overlays(grey_SHW: Frames, moving_HW: Mask) -> list[Bounds]:
    """Boxes around what stays over the moving picture, from the largest to the smallest.

    Args:
        grey_SHW: pictures of one shot, evenly spread, without bars.
        moving_HW: where they keep changing.
    """
    steady_HW, direction_HW, usual_HW = _edges(grey_SHW)
    is_steady_HW = steady_HW > _LEAST_EDGE
    is_edge_HW = usual_HW > _LEAST_EDGE
    if is_steady_HW.sum() > _MOST_STEADY * max(1, int(is_edge_HW.sum())):
        return []
    joined = cv2.dilate(
        is_steady_HW.astype(np.uint8), np.ones((_STRAY_PX, 2 * _STRAY_PX - 1), np.uint8)
    )
    count, labels_HW = cv2.connectedComponents(joined)
    labels_HW[~is_steady_HW] = 0
    boxes = []
    for number in range(1, count):
        y, x = np.nonzero(labels_HW == number)
        box = int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1
        area = (box[2] - box[0]) * (box[3] - box[1])
        if len(x) < max(_LEAST_PIXELS, _LEAST_FILL * area) or area > _LARGEST * labels_HW.size:
            continue
        if _is_drawn(direction_HW[y, x]) and _moves_around(moving_HW, box):
            boxes.append(_padded(box, labels_HW.shape))
    return sorted(boxes, key=lambda box: (-(box[2] - box[0]) * (box[3] - box[1]), box))


def _edges(grey_SHW: Frames) -> tuple[Array, npt.NDArray[np.intp], Array]:
    """How strong edges (H, W) are in nine pictures of ten in the same direction; which; and all."""
    steps_2SHW = np.stack(
        [
            [cv2.Sobel(grey_HW, cv2.CV_32F, *order, ksize=3, scale=0.25) for grey_HW in grey_SHW]
            for order in ((1, 0), (0, 1))
        ]
    )
    middle_2HW = np.median(steps_2SHW, axis=1)
    direction_2HW = middle_2HW / np.maximum(np.linalg.norm(middle_2HW, axis=0), 1e-6)
    along_SHW = np.einsum("dshw,dhw->shw", steps_2SHW, direction_2HW)
    rank = int(_QUANTILE * len(grey_SHW))
    low_HW = np.partition(along_SHW, rank, axis=0)[rank]
    usual_HW = np.linalg.norm(steps_2SHW, axis=0).mean(axis=0)
    turns_HW = np.arctan2(middle_2HW[1], middle_2HW[0]) / (2 * np.pi)
    sector_HW = np.asarray(np.floor(turns_HW * _NUM_DIRECTIONS), np.intp) % _NUM_DIRECTIONS
    return np.asarray(low_HW, np.float32), sector_HW, np.asarray(usual_HW, np.float32)


def _is_drawn(direction_N: npt.NDArray[np.intp]) -> bool:
    """Whether edges point as those of letters and logos do."""
    shares = np.bincount(direction_N, minlength=_NUM_DIRECTIONS) / len(direction_N)
    return bool((shares >= _SOME_EDGES).sum() >= _LEAST_DIRECTIONS and shares.max() < _MOST_ONE_WAY)


def _padded(box: Bounds, size: tuple[int, ...]) -> Bounds:
    """With the soft outlines that letters have."""
    left, top, right, bottom = box
    return (
        max(0, left - _OUTLINE_PX),
        max(0, top - _OUTLINE_PX),
        min(size[1], right + _OUTLINE_PX),
        min(size[0], bottom + _OUTLINE_PX),
    )


def _moves_around(moving_HW: Mask, box: Bounds) -> bool:
    """Whether the picture keeps changing on each side of a box that is not the picture's edge."""
    height, width = moving_HW.shape
    left, top, right, bottom = box
    outer = (
        max(0, left - _RING_PX - _OUTLINE_PX),
        max(0, top - _RING_PX - _OUTLINE_PX),
        min(width, right + _RING_PX + _OUTLINE_PX),
        min(height, bottom + _RING_PX + _OUTLINE_PX),
    )
    sides = (
        moving_HW[outer[1] : max(0, top - _OUTLINE_PX), left:right],
        moving_HW[bottom + _OUTLINE_PX : outer[3], left:right],
        moving_HW[top:bottom, outer[0] : max(0, left - _OUTLINE_PX)],
        moving_HW[top:bottom, right + _OUTLINE_PX : outer[2]],
    )
    return all(side.mean() >= _RING_SHARE for side in sides if side.size)
