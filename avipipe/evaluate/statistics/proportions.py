"""Intervals of shares of values that resemble each other, such as answers of people.

Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927;
Donner and Klar, Design and analysis of cluster randomization trials, 2000 (ANOVA estimate of the
intra-cluster correlation, design effect).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.bootstrap import SIGMAS, Array, Clusters, cluster_sums


@dataclass(frozen=True, slots=True)
class ShareInterval:
    """A share with its interval, and how many independent values it is worth."""

    share: float
    low: float
    high: float
    effective_num: float


def wilson_interval(successes: float, num: float) -> tuple[float, float]:
    """Wilson's score interval of 95 % of a share, without continuity correction.

    `num` may be fractional.

    Raises:
        Undefined: nothing was tried.
    """
    if num <= 0:
        raise Undefined("there are no clips to take a share of")
    share = successes / num
    scale = 1 + SIGMAS**2 / num
    middle = (share + SIGMAS**2 / (2 * num)) / scale
    half = SIGMAS / scale * np.sqrt(share * (1 - share) / num + SIGMAS**2 / (4 * num**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def crossed_share(successes_N: Array, clusterings: Sequence[Clusters]) -> ShareInterval:
    """Share of successes with Wilson's interval for the number of values that they are worth.

    What each of several crossed clusterings adds to the variance is added up.

    Args:
        successes_N: 1 for a success, 0 for a failure, between them for a part of one.
        clusterings: one or more, such as the rater, and the source video, of each value.
    Raises:
        Undefined: no values, NaN, infinity.
    Source: Cameron, Gelbach and Miller, Robust inference with multiway clustering, 2011.
    """
    num = len(successes_N)
    added = [num / effective_num(successes_N, clusters_N) - 1.0 for clusters_N in clusterings]
    worth = num / (1.0 + sum(added))
    share = float(successes_N.mean())
    low, high = wilson_interval(share * worth, worth)
    return ShareInterval(share, low, high, worth)


def effective_num(values_N: Array, clusters_N: Clusters) -> float:
    """How many independent values a clustered set is worth: N / (1 + (m - 1) ICC).

    m is the mean size of the cluster that a value is in. Between 1 value a cluster (N) and equal
    values in each (the number of clusters).
    """
    num = len(values_N)
    size = _size_of_own_cluster(values_N, clusters_N)
    return num / (1.0 + (size - 1.0) * intra_cluster_correlation(values_N, clusters_N))


def intra_cluster_correlation(values_N: Array, clusters_N: Clusters) -> float:
    """Correlation of values of one cluster in [0, 1], by analysis of variance; at least 0.

    0 where no cluster has two values; 1 where clusters are constant and differ.
    """
    sums_K, counts_K = cluster_sums(values_N, clusters_N)
    num, num_clusters = len(values_N), len(sums_K)
    if num_clusters < 2 or num_clusters == num:
        return 0.0
    means_K, mean = sums_K / counts_K, values_N.mean()
    between = (counts_K * (means_K - mean) ** 2).sum() / (num_clusters - 1)
    total = ((values_N - mean) ** 2).sum()
    within = (total - between * (num_clusters - 1)) / (num - num_clusters)
    size = (num - _size_of_own_cluster(values_N, clusters_N)) / (num_clusters - 1)
    spread = between + (size - 1.0) * within
    return float(np.clip((between - within) / spread, 0.0, 1.0)) if spread > 0.0 else 0.0


def _size_of_own_cluster(values_N: Array, clusters_N: Clusters) -> float:
    _, counts_K = cluster_sums(values_N, clusters_N)
    return float((counts_K**2).sum() / len(values_N))
