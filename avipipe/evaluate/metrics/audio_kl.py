"""KL: by how much a sound is of other classes than its reference, by logits of PANNs or PaSST."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import require_finite

Logits = npt.NDArray[np.floating[Any]]
"""Of C classes, along the last axis."""


def kl_softmax(reference_C: Logits, edit_C: Logits) -> float:
    """Kullback-Leibler divergence of the reference's classes from the edit's, in nats; 0 at best.

    Of a set, the mean over clips.

    Raises:
        Undefined: a logit is not finite.
    Source: hkchengrex/av-benchmark@050a5cd, metrics/kl.py (`kl_softmax`: KL(reference || edit)).
    """
    reference, edit = (
        scipy.special.log_softmax(_checked(logits), axis=-1) for logits in (reference_C, edit_C)
    )
    return float((np.exp(reference) * (reference - edit)).sum())


def kl_sigmoid_half(reference_C: Logits, edit_C: Logits) -> float:
    """What av-benchmark calls the divergence of classes that are each there or not.

    It lacks the half that is of classes not being there, so it can be negative: for parity alone.

    Raises:
        Undefined: a logit is not finite.
    Source: hkchengrex/av-benchmark@050a5cd, metrics/kl.py (`kl_sigmoid`).
    """
    reference, edit = (
        scipy.special.log_expit(_checked(logits)) for logits in (reference_C, edit_C)
    )
    return float((np.exp(reference) * (reference - edit)).sum())


def kl_sigmoid(reference_C: Logits, edit_C: Logits) -> float:
    """Sum of the divergences of each class being there or not, in nats; 0 at best.

    Raises:
        Undefined: a logit is not finite.
    """
    return kl_sigmoid_half(reference_C, edit_C) + kl_sigmoid_half(
        -np.asarray(reference_C), -np.asarray(edit_C)
    )


def _checked(logits_C: Logits) -> npt.NDArray[np.float64]:
    logits = np.asarray(logits_C, np.float64)
    require_finite(logits, "logits")
    return logits
