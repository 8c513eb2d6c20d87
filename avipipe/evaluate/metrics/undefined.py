"""What has no value: the one exception of all metrics, and what they ask of their inputs.

A metric returns a finite number or raises `Undefined`: never NaN, which spreads, and never a
number that stands for "none", which wins or loses a table.
"""

from collections.abc import Sized

import numpy as np
import numpy.typing as npt

SILENCE_DBFS = -70.0
"""Peak under which a sound is silence, as codecs leave it; also the absolute gate of BS.1770."""


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


def require_same_shape(
    source: npt.NDArray[np.generic], other: npt.NDArray[np.generic], what: str = "edit"
) -> None:
    """Refuse an edit, or masks, that do not lie on the source sample by sample.

    Args:
        what: the other is, for the message.
    Raises:
        Undefined: their shapes differ.
    """
    if source.shape != other.shape:
        raise Undefined(f"expected the {what} to have the shape {source.shape}, got {other.shape}")


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


def require_sound(wav: npt.NDArray[np.floating], what: str = "sound") -> None:
    """Refuse a sound in which nothing is to be heard.

    Args:
        what: it is, for the message.
    Raises:
        Undefined: no samples, NaN, infinity, or none above -70 dBFS.
    """
    require_finite(wav, f"samples of the {what}")
    if float(np.abs(wav).max()) < 10 ** (SILENCE_DBFS / 20):
        raise Undefined(f"the {what} is silent")
