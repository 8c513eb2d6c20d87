"""Inception score: how sure a classifier is of each sample, and how much samples differ.

N samples, C classes. What a score means depends on classifier, order and splits: protocols differ
in all three, and scores of small sets grow with the number of samples in a split.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Probabilities = npt.NDArray[np.floating[Any]]
Span = tuple[int, int]

NUM_SPLITS = 10
"""Parts of the set that are scored apart; that of all references here."""
# Seeds by which the references shuffle.
_AV_BENCHMARK_SEED = 2020
_STYLEGANV_SEED = 42


def inception_score(
    probabilities_NC: Probabilities, spans: Sequence[Span], *, ddof: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation over splits of exp(mean KL of each sample from their mean).

    A class of probability 0 adds nothing. (StyleGAN-V gives NaN there.)

    Args:
        probabilities_NC: rows that sum to 1, in the order of the protocol.
        spans: samples of each split, half-open: `even_spans`, `chunk_spans`.
        ddof: of the standard deviation.
    Raises:
        Undefined: a split is empty, or a probability is not finite.
    Source: Salimans et al., Improved techniques for training GANs (2016).
    """
    probabilities = np.asarray(probabilities_NC, np.float64)
    require_finite(probabilities, "probabilities")
    scores = []
    for first, end in spans:
        part_NC = probabilities[first:end]
        if not len(part_NC):
            raise Undefined(f"{len(probabilities)} samples do not fill {len(spans)} splits")
        kl_N = scipy.special.rel_entr(part_NC, part_NC.mean(axis=0)).sum(axis=1)
        scores.append(np.exp(kl_N.mean()))
    return float(np.mean(scores)), float(np.std(scores, ddof=ddof))


def even_spans(num: int, num_splits: int = NUM_SPLITS) -> list[Span]:
    """Splits whose sizes differ by one at most: StyleGAN-V's and av-benchmark's."""
    return [(i * num // num_splits, (i + 1) * num // num_splits) for i in range(num_splits)]


def chunk_spans(num: int, num_splits: int = NUM_SPLITS) -> list[Span]:
    """Splits of equal size but for the last, and fewer where that is too few: torchmetrics'."""
    size = -(-num // num_splits)
    return [(first, min(first + size, num)) for first in range(0, num, max(size, 1))]


def av_benchmark_order(num: int) -> npt.NDArray[np.int64]:
    """The order into which hkchengrex/av-benchmark@050a5cd, metrics/isc.py, brings the samples."""
    return np.random.RandomState(_AV_BENCHMARK_SEED).permutation(num)


def styleganv_order(num: int) -> npt.NDArray[np.int64]:
    """The order of universome/stylegan-v@3fecd69, video_inception_score.py; for pictures: none."""
    order = np.arange(num)
    np.random.RandomState(_STYLEGANV_SEED).shuffle(order)
    return order
