"""Divergence between what a tagger hears in a source's and in an edit's sound.

Source: hkchengrex/av-benchmark@050a5cd, av_bench/metrics/kl.py (kl_softmax, of PaSST and PANN).
"""

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import require_finite, require_same_shape

Logits = npt.NDArray[np.floating]


def kl_divergence(source_C: Logits, edit_C: Logits) -> float:
    """KL(source || edit) of the softmax over classes, in nats; lower is better.

    Args:
        source_C: logits of one clip, before the softmax; `edit_C` likewise.
    Raises:
        Undefined: other classes, NaN, infinity.
    """
    require_same_shape(source_C, edit_C)
    require_finite(source_C, "logits")
    require_finite(edit_C, "logits")
    source, edit = (scipy.special.log_softmax(x.astype(np.float64)) for x in (source_C, edit_C))
    return float((np.exp(source) * (source - edit)).sum())
