"""By how much a sound is of other classes than its reference, where it may be of many at once.

The divergence over classes that exclude each other is `kl_divergence`. C classes; logits are those
of PANNs or PaSST.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import require_finite

Logits = npt.NDArray[np.floating[Any]]

_LEAST_SCORE = 1e-7
"""Scores are kept this far from 0 and 1, where logits are infinite: float32's rounding at 1."""


def kl_scores(reference_C: Logits, edit_C: Logits) -> float:
    """As `kl_sigmoid`, of scores in [0, 1] in place of logits.

    Raises:
        Undefined: there is no score, or one is not finite.
    """
    scores = np.stack([reference_C, edit_C]).astype(np.float64)
    require_finite(scores, "scores")
    reference, edit = scipy.special.logit(scores.clip(_LEAST_SCORE, 1 - _LEAST_SCORE))
    return kl_sigmoid(reference, edit)


def kl_sigmoid(reference_C: Logits, edit_C: Logits) -> float:
    """Sum of the divergences of each class being there or not, in nats; 0 at best.

    Raises:
        Undefined: there is no logit, or one is not finite.
    """
    return kl_sigmoid_half(reference_C, edit_C) + kl_sigmoid_half(-reference_C, -edit_C)


def kl_sigmoid_half(reference_C: Logits, edit_C: Logits) -> float:
    """What av-benchmark calls so: the half that is of classes being there, which can be negative.

    Of a set, the mean over clips. For parity alone.

    Raises:
        Undefined: there is no logit, or one is not finite.
    Source: hkchengrex/av-benchmark@050a5cd, metrics/kl.py (`kl_sigmoid`).
    """
    logits = np.stack([reference_C, edit_C]).astype(np.float64)
    require_finite(logits, "logits")
    reference, edit = scipy.special.log_expit(logits)
    return float((np.exp(reference) * (reference - edit)).sum())
