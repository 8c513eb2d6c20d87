"""Intervals of means over clips, by a bootstrap that draws whole source videos.

Edits of one source share its difficulty: an interval that draws clips alone is about half as wide
as it should be.

Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapters 13 and 14 (BCa), by
scipy.stats.bootstrap; Cameron, Gelbach and Miller, Bootstrap-based improvements for inference with
clustered errors, 2008.
"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import Undefined, require_finite, require_same_shape

Array = npt.NDArray[np.float64]
Clusters = npt.NDArray[np.generic]
"""The source video that each row belongs to: any values that can be compared."""
BootstrapMethod = Literal["percentile", "BCa"]

LEVEL = 0.95
"""Of every interval; the usual one."""
SIGMAS = 1.959963984540054
"""Standard errors either way that make a normal interval of that level. Not asked of scipy's
statistics, which take half a second to load."""
NUM_RESAMPLES = 2000
"""Draws of an interval: its ends then move by about 2 % of its width from seed to seed."""


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean over clips with the interval that holds it, and how that was found."""

    mean: float
    low: float
    high: float
    num_clips: int
    num_clusters: int
    method: BootstrapMethod


def clustered_interval(
    values_N: Array,
    clusters_N: Clusters,
    *,
    rng: np.random.Generator,
    method: BootstrapMethod = "BCa",
    num_resamples: int = NUM_RESAMPLES,
) -> MeanInterval:
    """Interval of 95 % of the mean over clips (each counts once), drawn by source video.

    For the difference of two methods give the differences per clip.

    Args:
        values_N: a value per clip.
        clusters_N: the source video of each: any values that can be compared.
        rng: seeded by the caller.
        method: BCa corrects for bias and skew; where it has no value, which happens with very few
            videos, the result is the percentile interval and says so.
    Raises:
        Undefined: no values, NaN, infinity, or one source video only.
    """
    sums_K, counts_K = cluster_sums(values_N, clusters_N)
    if len(sums_K) < 2:
        raise Undefined("all clips are of one source video: no interval can be drawn")
    mean = float(values_N.mean())

    def interval(low: float, high: float, used: BootstrapMethod) -> MeanInterval:
        return MeanInterval(mean, low, high, len(values_N), len(sums_K), used)

    if np.ptp(values_N) == 0.0:
        return interval(mean, mean, method)
    # Where nothing varies between videos, BCa divides 0 by 0: its NaN is looked at below.
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        drawn = scipy.stats.bootstrap(
            (sums_K, counts_K),
            _pooled_mean,
            paired=True,
            vectorized=True,
            n_resamples=num_resamples,
            confidence_level=LEVEL,
            method=method,
            random_state=rng,
        )
    low, high = map(float, drawn.confidence_interval)
    if np.isfinite([low, high]).all():
        return interval(low, high, method)
    tail = (1.0 - LEVEL) / 2
    low, high = map(float, np.quantile(drawn.bootstrap_distribution, [tail, 1.0 - tail]))
    return interval(low, high, "percentile")


def cluster_sums(values_N: Array, clusters_N: Clusters) -> tuple[Array, Array]:
    """Sum and number of the values of each cluster, float64 (K,), in the clusters' order.

    Raises:
        Undefined: no values, NaN, infinity, or not one cluster a value.
    """
    require_finite(values_N, "values")
    require_same_shape(values_N, clusters_N, "source videos")
    _, index_N = np.unique(clusters_N, return_inverse=True)
    counts_K = np.bincount(index_N).astype(np.float64)
    return np.bincount(index_N, weights=values_N).astype(np.float64), counts_K


def _pooled_mean(sums_K: Array, counts_K: Array, axis: int) -> Array:
    return np.asarray(sums_K.sum(axis=axis) / counts_K.sum(axis=axis))
