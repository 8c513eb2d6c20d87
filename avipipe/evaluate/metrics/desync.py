"""DeSync: by how much the sound is off, as Synchformer tells it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Logits = npt.NDArray[np.floating[Any]]

OFFSETS_S = np.linspace(-2.0, 2.0, 21)
"""Offsets of Synchformer's 21 classes; so DeSync of one end is a multiple of 0.2 s."""
NUM_SEGMENTS = 14
"""Segments of 0.64 s every 0.32 s that are compared, the first and the last: 4.8 s."""
AVE_COMPASS_REACH_S = 2.0
"""Offset at which AVE-Compass' score is 0."""


def desync_s(logits_EK: Logits) -> float:
    """Mean absolute offset of the likeliest class at each end of a clip; of a set, the mean.

    Args:
        logits_EK: of the 21 classes for the first and for the last 14 segments.
    Raises:
        Undefined: no end was compared, or a logit is not finite.
    Source: hkchengrex/av-benchmark@050a5cd, `evaluate`.
    """
    return float(np.abs(OFFSETS_S[_checked(logits_EK).argmax(axis=1)]).mean())


def expected_desync_s(logits_EK: Logits) -> float:
    """Mean absolute value of the expected offset: `desync_s` without its steps of 0.2 s.

    It is small, too, where the network cannot tell, as early and late cancel each other.

    Raises:
        Undefined: as `desync_s`.
    """
    return float(np.abs(_probabilities(logits_EK) @ OFFSETS_S).mean())


def expected_abs_desync_s(logits_EK: Logits) -> float:
    """Mean expected absolute offset; about 1 s where the network cannot tell.

    Raises:
        Undefined: as `desync_s`.
    """
    return float((_probabilities(logits_EK) @ np.abs(OFFSETS_S)).mean())


def ave_compass_sync(offset_s: float, *, is_silent: bool = False) -> float:
    """Score 1 - abs(offset) / 2 s, not below 0; and 0 for silence.

    Source: NJU-LINK/AVE-Compass@2b11dd0, cross_modal/av_sync.py.
    """
    return 0.0 if is_silent else max(0.0, 1.0 - abs(offset_s) / AVE_COMPASS_REACH_S)


def _probabilities(logits_EK: Logits) -> npt.NDArray[np.float64]:
    return np.asarray(scipy.special.softmax(_checked(logits_EK), axis=1), np.float64)


def _checked(logits_EK: Logits) -> npt.NDArray[np.float64]:
    logits = np.asarray(logits_EK, np.float64)
    if not logits.size:
        raise Undefined(f"the clip is shorter than {NUM_SEGMENTS} segments (4.8 s)")
    require_finite(logits, "logits")
    return logits
