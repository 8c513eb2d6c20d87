"""How far people agree who answered the same questions."""

import numpy as np

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.bootstrap import Clusters


def krippendorff_alpha(units_N: Clusters, values_N: Clusters) -> float:
    """Krippendorff's alpha of nominal values: 1 is agreement, 0 is chance, below is worse.

    Any number of raters may have judged each unit; those that one alone judged do not count.

    Args:
        units_N: what each value is of; `values_N` the values themselves.
    Raises:
        Undefined: no unit has two values, or all values are one.
    Source: Krippendorff, Computing Krippendorff's alpha-reliability, 2011, section C.
    """
    units, unit_N = np.unique(units_N, return_inverse=True)
    values, value_N = np.unique(values_N, return_inverse=True)
    counts_UV = np.zeros((len(units), len(values)))
    np.add.at(counts_UV, (unit_N, value_N), 1.0)
    counts_UV = counts_UV[counts_UV.sum(axis=1) > 1]
    if len(counts_UV) == 0:
        raise Undefined("nothing was judged by two people")
    weights_U = 1.0 / (counts_UV.sum(axis=1) - 1.0)
    agreeing = float((weights_U @ (counts_UV * (counts_UV - 1.0))).sum())
    totals_V = counts_UV.sum(axis=0)
    num = totals_V.sum()
    by_chance = (num**2 - (totals_V**2).sum()) / (num - 1.0)
    if by_chance == 0.0:
        raise Undefined("all that two people judged got one and the same answer")
    return float(1.0 - (num - agreeing) / by_chance)
