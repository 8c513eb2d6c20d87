"""What an object looks like: pixel descriptors, and a memory that tells it from its surroundings.

A hand-made counterpart of the feature memory of learnt propagators: each pixel is described by its
colour, the colours around it at two scales, texture and gradient; the memory holds descriptors of
object and background from the seed frame and from the last few frames.
"""

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.embedded.linear import row_blocks

Array = npt.NDArray[np.float32]

MAX_LOG_ODDS = 3.0
"""One pixel's look never decides alone: the odds are at most e^3."""

_SEED_SAMPLES = (200, 300)
"""Descriptors of the object and of the rest that are kept of the seed frame: twice a later frame's,
as the seed alone is surely right. How many is a choice between cost and detail."""
_FRAME_SAMPLES = (100, 150)
"""The same of each of the last frames."""
_RECENT_FRAMES = 3
"""Frames remembered beside the seed, so that turns and changes of light are followed; a choice."""
_CONTRAST = 6.0
"""Log odds for a relative contrast of distances of 1, its maximum: half of it gives
`MAX_LOG_ODDS`."""
_SOFT = 0.15
"""Distance of descriptors, 4.5 of 100 levels of light, added under the ratio: where both are near,
small differences decide nothing."""
_RING_PX = 7
"""Distance from the object, at the matching size, within which half of the rest is sampled: that is
what it may be mistaken for. A choice."""


def describe(frame_HWC: Frames) -> Array:
    """Descriptors (H, W, 12) of an RGB frame; Euclidean distances between them mean something."""
    lab = cv2.cvtColor(frame_HWC.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    lab *= np.array([1.0, 2.5, 2.5], np.float32) / 30.0
    near = cv2.GaussianBlur(lab, (0, 0), 2.0)
    wide = cv2.GaussianBlur(lab, (0, 0), 5.0)
    light, light_near = np.ascontiguousarray(lab[..., 0]), np.ascontiguousarray(near[..., 0])
    variance = cv2.GaussianBlur(light * light, (0, 0), 2.0) - light_near * light_near
    texture = np.sqrt(np.maximum(variance, 0.0))
    gradient_x = 0.5 * cv2.Sobel(light_near, -1, 1, 0)
    gradient_y = 0.5 * cv2.Sobel(light_near, -1, 0, 1)
    return np.dstack([lab, near, 0.7 * wide, texture, gradient_x, gradient_y])


class AppearanceMemory:
    """Descriptors of object and background: the seed frame's for good, and of the last frames."""

    def __init__(self, features_HWD: Array, object_HW: Array) -> None:
        self._seed = _sample(features_HWD, object_HW, _SEED_SAMPLES)
        self._recent: deque[tuple[Array, Array]] = deque(maxlen=_RECENT_FRAMES)

    def add(self, features_HWD: Array, object_HW: Array) -> None:
        """Remember a frame, given how probable the object is in each pixel (H, W)."""
        if (object_HW > 0.8).sum() > 10:
            self._recent.append(_sample(features_HWD, object_HW, _FRAME_SAMPLES))

    def log_odds(self, features_QD: Array) -> Array:
        """How much each of Q descriptors speaks for the object: (Q,), within `MAX_LOG_ODDS`."""
        known_object = np.concatenate([self._seed[0], *(one for one, _ in self._recent)])
        known_rest = np.concatenate([self._seed[1], *(rest for _, rest in self._recent)])
        if known_rest.size == 0:  # the object fills the picture
            return np.full(features_QD.shape[0], MAX_LOG_ODDS, np.float32)
        to_object, to_rest = _nearest(features_QD, known_object), _nearest(features_QD, known_rest)
        contrast = (to_rest - to_object) / (to_rest + to_object + _SOFT)
        return np.clip(_CONTRAST * contrast, -MAX_LOG_ODDS, MAX_LOG_ODDS).astype(np.float32)


def _sample(features_HWD: Array, object_HW: Array, counts: tuple[int, int]) -> tuple[Array, Array]:
    """Evenly spread descriptors of the object and, half from close by, of the rest."""
    flat = features_HWD.reshape(-1, features_HWD.shape[-1])
    inside = object_HW > 0.8
    if not inside.any():
        inside = object_HW >= object_HW.max()
    touched = (object_HW > 0.2).astype(np.uint8)
    ring = np.ones((2 * _RING_PX + 1, 2 * _RING_PX + 1), np.uint8)
    close = cv2.dilate(touched, ring) > 0
    num_object, num_rest = counts
    rest = np.concatenate(
        [
            _spread(close & (object_HW < 0.2), num_rest // 2),
            _spread(~close, num_rest - num_rest // 2),
        ]
    )
    if rest.size == 0:
        rest = _spread(~inside, num_rest)
    return flat[_spread(inside, num_object)], flat[rest]


def _spread(where_HW: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.intp]:
    index = np.flatnonzero(where_HW)
    if index.size <= count:
        return index
    return index[np.linspace(0, index.size - 1, count).astype(np.intp)]


def _nearest(features_QD: Array, known_KD: Array) -> Array:
    """Distance from each descriptor to the closest remembered one."""
    squared = np.einsum("qd,qd->q", features_QD, features_QD)
    # min |q - k|^2 = |q|^2 - max(2 q.k - |k|^2): one matrix product and one pass over it.
    bias = -np.einsum("kd,kd->k", known_KD, known_KD)
    closest = np.empty_like(squared)
    for rows, block in row_blocks(features_QD, np.ascontiguousarray(2.0 * known_KD.T)):
        closest[rows] = (block + bias).max(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared - closest, 1e-6)))
