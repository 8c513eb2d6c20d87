"""Dense optical flow between small grey pictures, and what of it the camera does.

Source: DIS flow, Kroeger et al., Fast optical flow using dense inverse search, ECCV 2016 (OpenCV).
"""

from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames

Array = npt.NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)
Size = tuple[int, int]
"""(width, height) in pixels, as OpenCV wants it."""

_CAMERA_STEP_PX = 6
"""Every n-th pixel each way is fitted to: six numbers need no more, and it costs a 36th."""
_CAMERA_ROUNDS = 4
"""Least-squares fits, each with weights from the last; a choice."""
_MIN_SPREAD_PX = 0.05
"""Least spread of the residuals, or weights had no scale where all pixels move alike; a choice."""


class DenseFlow:
    """Flow fields (H, W, 2) in pixels: where each pixel of one picture is in the other."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(1)

    def __call__(self, here: Frames, there: Frames) -> Array:
        return np.asarray(self._dis.calc(here, there, None))


def pixel_grid(size: Size) -> tuple[Array, Array]:
    """Columns and rows of every pixel, each (H, W)."""
    width, height = size
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    return columns, rows


def follow(
    values: npt.NDArray[Scalar], columns: Array, rows: Array, *, outside: float | None = None
) -> npt.NDArray[Scalar]:
    """Sample values (H, W[, C]) at other places; beyond the picture the nearest, or `outside`."""
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    found: npt.NDArray[Scalar] = cv2.remap(
        values, columns, rows, cv2.INTER_LINEAR, borderMode=border, borderValue=outside or 0.0
    )
    return found


def camera_flow(flow: Array) -> Array:
    """The affine part (H, W, 2) of a flow field that most of the picture shares.

    Fitted by least squares with Cauchy weights, so that things that move by themselves count less
    and less; deterministic, unlike RANSAC.
    """
    height, width = flow.shape[:2]
    columns, rows = pixel_grid((width, height))
    across, down = columns / width - 0.5, rows / height - 0.5
    step = np.s_[_CAMERA_STEP_PX // 2 :: _CAMERA_STEP_PX, _CAMERA_STEP_PX // 2 :: _CAMERA_STEP_PX]
    places = np.stack([np.ones_like(across)[step], across[step], down[step]], axis=-1)
    places, seen = places.reshape(-1, 3).astype(np.float64), flow[step].reshape(-1, 2)
    away_px = np.linalg.norm(seen - np.median(seen, axis=0), axis=1)
    for _ in range(_CAMERA_ROUNDS):
        spread_px = max(1.5 * float(np.median(away_px)), _MIN_SPREAD_PX)
        weighted = places / (1.0 + (away_px / spread_px) ** 2)[:, None]
        normal = weighted.T @ places + 1e-6 * len(places) * np.eye(3)
        affine = np.linalg.solve(normal, weighted.T @ seen)
        away_px = np.linalg.norm(seen - places @ affine, axis=1)
    fitted = affine[0] + across[..., None] * affine[1] + down[..., None] * affine[2]
    return np.asarray(fitted, dtype=np.float32)


def fit_size(size: Size, scale: float) -> Size:
    """A picture's size after scaling, never enlarged, at least 16 px a side."""
    width, height = size
    scale = min(1.0, scale)
    return max(16, round(width * scale)), max(16, round(height * scale))


def shrink(image: npt.NDArray[Scalar], size: Size) -> npt.NDArray[Scalar]:
    """The picture (H, W[, C]) at a smaller size, each pixel the mean of those that it covers."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    shrunk: npt.NDArray[Scalar] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk


def grey(frame_HWC: Frames) -> Frames:
    """Luma of an RGB picture."""
    return np.asarray(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY))
