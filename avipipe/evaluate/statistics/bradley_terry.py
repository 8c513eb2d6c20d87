"""Strengths of methods from who was preferred to whom, with intervals.

Source: Zermelo, Die Berechnung der Turnier-Ergebnisse als ein Maximumproblem der
Wahrscheinlichkeitsrechnung, 1929 (the iteration); Bradley and Terry, Rank analysis of incomplete
block designs, 1952; Hunter, MM algorithms for generalized Bradley-Terry models, 2004 (that it
converges). A tie counts as half a win of either.
"""

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.bootstrap import LEVEL, NUM_RESAMPLES, Array, Clusters

Indices = npt.NDArray[np.intp]

HALF_WIN = 0.5
"""Added to both sides of every pair that met (Haldane and Anscombe), so that a method that never
lost has a finite strength; with ten comparisons of a pair it moves a strength of 1 by about 0.1."""
_TOLERANCE = 1e-7
"""Change of a log strength in one round at which the iteration ends; 0.01 is all that is shown."""
_MAX_ROUNDS = 20_000
"""Far above what a table of ten methods takes, some hundreds."""


def bradley_terry(wins_SMM: Array) -> Array:
    """Log strengths (S, M), of mean 0: i is preferred to j at odds of exp(log_i - log_j).

    Args:
        wins_SMM: of S tables, how often the method of the row was preferred to that of the column;
            may be fractions.
    Raises:
        Undefined: methods were never compared with each other, not even by way of others.
    """
    met_MM = (wins_SMM + wins_SMM.transpose(0, 2, 1)).sum(axis=0) > 0
    num_parts, _ = scipy.sparse.csgraph.connected_components(met_MM, directed=False)
    if num_parts > 1:
        raise Undefined("some methods were never compared, not even by way of others")
    won_SMM = wins_SMM + HALF_WIN * met_MM
    met_SMM = won_SMM + won_SMM.transpose(0, 2, 1)
    won_SM = won_SMM.sum(axis=2)
    log_SM = np.zeros(won_SM.shape)
    for _ in range(_MAX_ROUNDS):
        strength_SM = np.exp(log_SM)
        both_SMM = strength_SM[:, :, None] + strength_SM[:, None, :]
        found_SM = np.log(won_SM / (met_SMM / both_SMM).sum(axis=2))
        found_SM -= found_SM.mean(axis=1, keepdims=True)
        change = np.abs(found_SM - log_SM).max()
        log_SM = found_SM
        if change < _TOLERANCE:
            break
    return log_SM


def bradley_terry_interval(
    first_N: Indices,
    second_N: Indices,
    preferred_N: Array,
    clusterings: tuple[Clusters, ...],
    *,
    num_methods: int,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Log strengths (M,) of mean 0, and the ends of their intervals of 95 %.

    Each clustering, such as raters and clips, is drawn anew by itself, and a comparison counts as
    often as all of its clusters were drawn (Owen, The pigeonhole bootstrap, 2007).

    Args:
        first_N: the one method of each comparison; `second_N` the other.
        preferred_N: 1 where the first one was preferred, 0 where the second, 0.5 for a tie.
        clusterings: of each, the cluster of every comparison.
        rng: seeded by the caller.
    Raises:
        Undefined: as `bradley_terry`.
    """
    num = len(preferred_N)
    tables = np.zeros((num, num_methods, num_methods))
    tables[np.arange(num), first_N, second_N] = preferred_N
    tables[np.arange(num), second_N, first_N] = 1.0 - preferred_N
    weights_SN = np.ones((NUM_RESAMPLES, num))
    for clusters_N in clusterings:
        _, index_N = np.unique(clusters_N, return_inverse=True)
        num_clusters = int(index_N.max()) + 1
        drawn_SK = rng.multinomial(num_clusters, [1 / num_clusters] * num_clusters, NUM_RESAMPLES)
        weights_SN *= drawn_SK[:, index_N]
    drawn_SMM = (weights_SN @ tables.reshape(num, -1)).reshape(-1, num_methods, num_methods)
    strengths_M = bradley_terry(tables.sum(axis=0)[None])[0]
    tail = (1.0 - LEVEL) / 2
    low_M, high_M = np.quantile(bradley_terry(drawn_SMM), [tail, 1.0 - tail], axis=0)
    return strengths_M, low_M, high_M
