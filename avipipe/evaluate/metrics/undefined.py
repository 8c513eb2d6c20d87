"""What has no value: the one exception of all metrics, and what they ask of their inputs.

A metric returns a finite number or raises `Undefined`: never NaN, which spreads, and never a
number that stands for "none", which wins or loses a table.
"""

from collections.abc import Sized

import numpy as np
import numpy.typing as npt


class Undefined(Exception):
    """A metric has no value for this input; `reason` says why, for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def require_frames(video: Sized, at_least: int) -> None:
    """Refuse a video with fewer frames than a metric needs.

    Raises:
        Undefined: `video` is shorter than `at_least`.
    """
    if len(video) < at_least:
        raise Undefined(f"expected at least {at_least} frames, got {len(video)}")


def require_same_shape(source: npt.NDArray[np.generic], edit: npt.NDArray[np.generic]) -> None:
    """Refuse an edit that does not lie on its source sample by sample.

    Raises:
        Undefined: their shapes differ.
    """
    if source.shape != edit.shape:
        raise Undefined(f"expected the edit to have the shape {source.shape}, got {edit.shape}")


def require_finite(values: npt.NDArray[np.number], what: str) -> None:
    """Refuse values from which no number can be made.

    Args:
        what: they are, in the plural, for the message.
    Raises:
        Undefined: there are none, or one is NaN or infinite.
    """
    if values.size == 0:
        raise Undefined(f"there are no {what}")
    if not np.isfinite(values).all():
        raise Undefined(f"the {what} hold NaN or infinity")
