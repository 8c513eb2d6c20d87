"""Where the camera looks in each frame: homographies from feature points, and runs of like views.

Source: Tomasi and Shi, Good features to track, CVPR 1994; Bouguet's pyramidal Lucas-Kanade
tracker; RANSAC (all in OpenCV).
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.embedded.flow import Array

Homography = npt.NDArray[np.float64]

_CELL_PX = 12
"""Side of a grid cell, of which each gives one corner: about 400 in a picture of 320x180."""
_MIN_TEXTURE = 1e-5
"""OpenCV's smaller eigenvalue from which a corner can be tracked: nearly all but plain ones. A
choice."""
_MIN_POINTS = 12
"""Fewest corners: three times the four that a homography needs."""
_RETURN_PX = 0.7
"""How far a corner that is tracked there and back may come out from where it was; a choice."""
_INLIER_PX = 1.0
"""How far a corner may be from where the homography takes it: about what tracking errs by. A
choice."""
_MIN_INLIERS = 0.25
"""Share of the corners that must follow the camera; things that move by themselves have the rest. A
choice."""


def register(here: Frames, there: Frames) -> Homography | None:
    """Homography from one grey picture's background to another's; None if unknown."""
    points = _corners(here)
    if len(points) < _MIN_POINTS:
        return None
    found, seen = _track(here, there, points)
    back, seen_back = _track(there, here, found)
    returns = np.abs(back - points).max(axis=(1, 2)) < _RETURN_PX
    good = seen & seen_back & returns
    if good.sum() < _MIN_POINTS:
        return None
    cv2.setRNGSeed(0)
    matrix, inliers = cv2.findHomography(points[good], found[good], cv2.RANSAC, _INLIER_PX)
    if matrix is None or inliers.sum() < max(_MIN_POINTS, _MIN_INLIERS * len(points)):
        return None
    return np.asarray(matrix, np.float64)


def _corners(picture: Frames) -> Array:
    """The best corner of each cell of a grid: a thing has as many as its area is worth."""
    height, width = (n // _CELL_PX for n in picture.shape)
    texture = cv2.cornerMinEigenVal(picture, 3)[: height * _CELL_PX, : width * _CELL_PX]
    cells = texture.reshape(height, _CELL_PX, width, _CELL_PX).swapaxes(1, 2)
    cells = cells.reshape(height, width, -1)
    y, x = np.divmod(cells.argmax(axis=-1), _CELL_PX)
    y += _CELL_PX * np.arange(height)[:, None]
    x += _CELL_PX * np.arange(width)
    good = cells.max(axis=-1) > _MIN_TEXTURE
    return np.stack([x[good], y[good]], axis=-1).astype(np.float32)[:, None]


def _track(here: Frames, there: Frames, points: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    found, seen, _ = cv2.calcOpticalFlowPyrLK(
        here, there, points, None, winSize=(15, 15), maxLevel=4
    )
    return np.asarray(found), np.asarray(seen.ravel() > 0)


def camera_path(grey_THW: Sequence[Frames]) -> list[Homography] | None:
    """Homography from each frame to the first; None if the camera is lost on the way."""
    path: list[Homography] = [np.eye(3)]
    for here, there in zip(grey_THW[1:], grey_THW[:-1], strict=True):
        step = register(here, there)
        if step is None:
            return None
        path.append(path[-1] @ step)
    return path


def displacement_px(matrix: Homography, width: int, height: int) -> float:
    """Largest displacement of a corner in pixels; infinite if the picture is turned inside out."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    moved = corners @ matrix.T
    if (moved[:, 2] <= 0).any():
        return float("inf")
    return float(np.linalg.norm(moved[:, :2] / moved[:, 2:] - corners[:, :2], axis=1).max())
