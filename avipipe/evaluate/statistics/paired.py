"""Is one method better than another on the same clips: tests that flip whole source videos.

Source: Fisher, The design of experiments, 1935 (sign flips); Phipson and Smyth, Permutation
p-values should never be zero, 2010; Holm, A simple sequentially rejective multiple test procedure,
1979.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined, require_finite, require_same_shape
from avipipe.evaluate.statistics.bootstrap import Array, Clusters, cluster_sums

Features = npt.NDArray[np.floating]

NUM_FLIPS = 9999
"""Random flips: the least p is 0.0001, small enough for Holm over a table of a hundred tests."""
_MAX_EXACT_CLUSTERS = 16
"""Source videos up to which all flips are tried, 65536 of them: still milliseconds."""
_SAME = 1e-12
"""Relative difference up to which two sums of the same numbers in another order are equal."""


def sign_flip_p(
    differences_N: Array, clusters_N: Clusters, *, seed: int, num_flips: int = NUM_FLIPS
) -> float:
    """Two-sided p that the mean difference between two methods is chance.

    Under the null a source video's differences have either sign. All flips are tried up to 16
    videos, else `num_flips` random ones, with the one that was seen counted among them.

    Args:
        differences_N: value of one method minus that of the other, per clip.
        clusters_N: the source video of each.
    Raises:
        Undefined: no values, NaN, infinity, or fewer than two source videos.
    """
    sums_K, _ = cluster_sums(differences_N, clusters_N)
    num = len(sums_K)
    if num < 2:
        raise Undefined("all clips are of one source video: nothing can be tested")
    if num <= _MAX_EXACT_CLUSTERS:
        return _exceeding(_all_signs(num) @ sums_K, sums_K.sum())
    rng = np.random.default_rng(seed)
    signs_FK = np.where(rng.random((num_flips, num)) < 0.5, -1.0, 1.0)
    return _with_seen(_exceeding(signs_FK @ sums_K, sums_K.sum()), num_flips)


def label_swap_p(
    score: Callable[[Features, Features], float],
    a_ND: Features,
    b_ND: Features,
    clusters_N: Clusters,
    *,
    seed: int,
    num_swaps: int,
) -> float:
    """Two-sided p that two methods differ by chance in a score of whole sets, such as FVD.

    Under the null the two edits of a source video are exchangeable: those of random halves of the
    videos are exchanged.

    Args:
        score: of two sets of features, for instance the difference of their distances to a
            reference; must change its sign when they change places.
        a_ND: features of the one method's edits; `b_ND` of the other's, of the same clips.
        clusters_N: the source video of each row.
    Raises:
        Undefined: NaN, infinity, other clips, or fewer than two source videos.
    """
    require_finite(a_ND, "features")
    require_finite(b_ND, "features")
    require_same_shape(a_ND, b_ND, "other method's features")
    videos, index_N = np.unique(clusters_N, return_inverse=True)
    if len(videos) < 2:
        raise Undefined("all clips are of one source video: nothing can be tested")
    rng = np.random.default_rng(seed)
    null = []
    for _ in range(num_swaps):
        stays_N1 = (rng.random(len(videos)) < 0.5)[index_N][:, None]
        null.append(score(np.where(stays_N1, a_ND, b_ND), np.where(stays_N1, b_ND, a_ND)))
    return _with_seen(_exceeding(np.array(null), score(a_ND, b_ND)), num_swaps)


def holm(p_values_N: Array) -> Array:
    """Adjusted p values (N,): rejecting those below a level keeps the chance of any error to it.

    Raises:
        Undefined: no values, NaN, infinity.
    """
    require_finite(p_values_N, "p values")
    order = np.argsort(p_values_N, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order), dtype=np.float64)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values_N[order]), 1.0)
    return adjusted


def _all_signs(num: int) -> Array:
    bits = np.arange(2**num)[:, None] >> np.arange(num) & 1
    return np.where(bits, -1.0, 1.0)


def _exceeding(null_F: Array, seen: float) -> float:
    """Share of the null that is at least as far from 0 as what was seen."""
    return float((np.abs(null_F) >= abs(seen) * (1.0 - _SAME)).mean())


def _with_seen(share: float, num: int) -> float:
    return (share * num + 1.0) / (num + 1.0)
