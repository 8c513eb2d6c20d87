"""How the picture changes from one frame to the next, and how much of that the camera does."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from avipipe.annotators.base import Frames, Mask
from avipipe.annotators.embedded.flow import Array, pixel_grid
from avipipe.annotators.embedded.register import Homography, register

UNIT_PX = 180
"""Height to which speeds in px/frame refer, that of `motion.SHORT_SIDE_PX`."""
_BLOCK_PX = 8
"""Side of a block: its mean hardly shows the noise of coding, and still shows small motion. A
choice."""
_NOISE = 2.0
"""Levels by which a block's mean differs where nothing has changed but the coding."""
_LEAST_CHANGE = 0.5
"""Mean change of a picture, in levels, that counts as hardly any."""
# Pairs compared in a second, and frames between the two: slow motion shows in two, and the view is
# still shared. Choices.
_PAIRS_PER_S = 4
_STEP_FRAMES = 2
_RESIDUE = 4.0
"""Levels by which pictures differ whose camera was undone: sampling, coding."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Frame-to-frame changes of the pictures (T, H, W) of a clip.

    Attributes:
        still_ratio: share of pictures that repeat the one before.
        change: mean absolute difference of successive ones, in levels of 255.
        largest_jump: the largest of these over the usual one of those that are no repetition.
    """

    still_ratio: float
    change: float
    largest_jump: float


def measure_changes(grey_THW: Frames) -> Changes:
    """Measure changes that need no motion model; 0 for fewer than two pictures."""
    if len(grey_THW) < 2:
        return Changes(0.0, 0.0, 0.0)
    height, width = grey_THW.shape[1:]
    size = max(1, width // _BLOCK_PX), max(1, height // _BLOCK_PX)
    means, largest = [], []
    for before, after in pairwise(grey_THW):
        difference = cv2.absdiff(after, before)
        blocks = cv2.resize(difference, size, interpolation=cv2.INTER_AREA)
        means.append(float(cv2.mean(difference)[0]))
        largest.append(float(blocks.max()))
    change_P = np.array(means)
    is_still_P = np.array(largest) <= _NOISE
    usual = float(np.median(change_P[~is_still_P])) if not is_still_P.all() else 0.0
    return Changes(
        still_ratio=float(is_still_P.mean()),
        change=float(change_P.mean()),
        largest_jump=float(change_P.max()) / max(usual, _LEAST_CHANGE),
    )


@dataclass(frozen=True, slots=True)
class CameraMotion:
    """Camera motion of a clip.

    Attributes:
        camera_px: mean motion of the whole picture in px/frame at 180 px height.
        residual_ratio: share of the change that is left once that motion is undone; None where
            nothing changes.
    """

    camera_px: float
    residual_ratio: float | None


def measure_camera(grey_THW: Frames, shown_HW: Mask, *, fps: float) -> CameraMotion:
    """Compare pictures two frames apart, four times a second.

    Args:
        shown_HW: what is filmed, and not laid over it.
    """
    step = max(1, round(fps / _PAIRS_PER_S))
    starts = range(0, max(0, len(grey_THW) - _STEP_FRAMES), step)
    moved, left, changed = 0.0, 0.0, 0.0
    for start in starts:
        before, after = grey_THW[start], grey_THW[start + _STEP_FRAMES]
        as_is = _difference(before, after, shown_HW)
        matrix = register(before, after) if as_is else None
        undone = as_is if matrix is None else min(as_is, _undone(before, after, matrix, shown_HW))
        changed, left = changed + as_is, left + undone
        if matrix is not None and undone < as_is:
            moved += _motion_px(matrix, before.shape)
    unit = UNIT_PX / min(grey_THW.shape[1:])
    return CameraMotion(
        camera_px=unit * moved / max(1, len(starts)) / _STEP_FRAMES,
        residual_ratio=left / changed if changed else None,
    )


def _undone(before: Frames, after: Frames, matrix: Homography, shown_HW: Mask) -> float:
    size = before.shape[::-1]
    moved = cv2.warpPerspective(before, matrix, size, flags=cv2.INTER_CUBIC)
    inside = cv2.warpPerspective(shown_HW.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
    shared_HW = shown_HW & (inside > 0)
    # What came into view cannot be compared; it counts as the rest does.
    share = shared_HW.sum() / max(1, shown_HW.sum())
    return _difference(moved, after, shared_HW) / max(float(share), 0.1)


def _difference(one: Frames, other: Frames, shown_HW: Mask) -> float:
    """Sum of what differs beyond sampling and coding."""
    smooth = [cv2.GaussianBlur(picture, (5, 5), 1.0) for picture in (one, other)]
    beyond = cv2.absdiff(*smooth)[shown_HW].astype(np.float32) - _RESIDUE
    return float(np.maximum(beyond, 0.0).sum())


def _motion_px(matrix: Homography, shape: tuple[int, ...]) -> float:
    columns, rows = (grid[::8, ::8].ravel() for grid in pixel_grid((shape[1], shape[0])))
    places_N2: Array = np.stack([columns, rows], axis=-1)
    there_N2 = cv2.perspectiveTransform(places_N2[:, None], matrix)[:, 0]
    return float(np.linalg.norm(there_N2 - places_N2, axis=1).mean())
