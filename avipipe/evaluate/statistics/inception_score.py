"""Inception score from logits: of a set in splits, and of a clip over its frames.

exp of the mean KL divergence of p(y|x) from p(y): 1 where all are alike, the number of classes
where each is sure and all are equally frequent; higher is better. Networks and classes differ
between protocols, and the scores with them.

Source: Salimans et al., Improved techniques for training GANs, NeurIPS 2016; universome/stylegan-v@
3fecd69, src/metrics/video_inception_score.py; hkchengrex/av-benchmark@050a5cd, metrics/isc.py.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Array = npt.NDArray[np.float64]
Logits = npt.NDArray[np.floating]

STYLEGAN_V_SEED = 42
"""Of the order in which StyleGAN-V splits videos."""
AV_BENCHMARK_SEED = 2020
"""Of the order in which av-benchmark splits clips."""
NUM_SPLITS = 10
"""Of a set, as all references have it."""


@dataclass(frozen=True, slots=True)
class InceptionScore:
    """Mean and standard deviation (ddof 0) of the score over splits."""

    mean: float
    std: float


def inception_score(
    logits_NC: Logits, *, num_splits: int = NUM_SPLITS, order_seed: int | None = STYLEGAN_V_SEED
) -> InceptionScore:
    """Score of a set in contiguous splits of a shuffled order.

    The order counts: clips of one source side by side lower it.

    Args:
        logits_NC: before the softmax, one row a clip.
        order_seed: seed of numpy's legacy shuffle; None leaves the order as it is.
    Raises:
        Undefined: fewer rows than splits, NaN, infinity.
    """
    require_finite(logits_NC, "logits")
    num = len(logits_NC)
    if num < num_splits:
        raise Undefined(f"expected at least {num_splits} rows of logits, got {num}")
    order = np.arange(num) if order_seed is None else _order(num, order_seed)
    logits = logits_NC[order]
    borders = [split * num // num_splits for split in range(num_splits + 1)]
    scores = [score_of_split(logits[start:end]) for start, end in pairwise(borders)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def inception_score_of_clip(logits_TC: Logits) -> float:
    """Score over the frames of one clip: how much what is seen changes within it.

    Averaged over clips it is near 1, as the scores that AVI-Edit prints are.

    Raises:
        Undefined: fewer than two frames, NaN, infinity.
    """
    if len(logits_TC) < 2:
        raise Undefined(f"expected at least 2 frames, got {len(logits_TC)}")
    require_finite(logits_TC, "logits")
    return score_of_split(logits_TC)


def score_of_split(logits_NC: Logits) -> float:
    """Score of rows of logits taken together, in float64."""
    logits = logits_NC.astype(np.float64)
    p_NC = scipy.special.softmax(logits, axis=1)
    divergence_N = scipy.special.rel_entr(p_NC, p_NC.mean(axis=0)).sum(axis=1)
    return float(np.exp(divergence_N.mean()))


def _order(num: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.RandomState(seed).permutation(num).astype(np.int64)
