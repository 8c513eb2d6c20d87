"""Maximum mean discrepancy between two sets of features, with a polynomial kernel: KID, JEDi.

Unlike a Fréchet distance it has an unbiased estimator, whose mean is 0 for equal distributions at
any number of clips; so it may be slightly negative. Lower is better. Kernel: (g x.y + c)^p.

Source: Gretton et al., A kernel two-sample test, JMLR 2012; Bińkowski et al., Demystifying MMD
GANs, ICLR 2018 (KID); torch-fidelity 0.4.0, metric_kid.py; oooolga/JEDi@c03d178,
videojedi/mmd_polynomial.py.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined, require_finite
from avipipe.evaluate.statistics.bootstrap import Clusters

Array = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating]
Estimator = Literal["unbiased", "biased", "u-statistic"]

_JEDI_SCALE = 100.0
"""JEDi prints its distances times this."""


def kid(reference_ND: Features, edits_MD: Features, *, estimator: Estimator = "unbiased") -> float:
    """Kernel distance of KID, cubic kernel, on the first min(N, M) rows of each.

    Args:
        reference_ND: features of the reference set; `edits_MD` of the edits.
        estimator: "unbiased" leaves the diagonals of the sets' own kernels out, "biased" keeps
            them, "u-statistic" leaves out that of the cross kernel too (paired rows).
    Raises:
        Undefined: fewer than two features, NaN, infinity, other dimensions.
    """
    num = min(len(reference_ND), len(edits_MD))
    return _mmd(reference_ND[:num], edits_MD[:num], degree=3, offset=1.0, estimator=estimator)


def kid_subsets(
    reference_ND: Features, edits_MD: Features, *, num_subsets: int, subset_size: int, seed: int
) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0) of unbiased KID over subsets without replacement.

    The draws are those of torch-fidelity.

    Raises:
        Undefined: as `kid`; fewer features than a subset has.
    """
    least = min(len(reference_ND), len(edits_MD))
    if least < subset_size:
        raise Undefined(f"expected at least {subset_size} features for a subset, got {least}")
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(num_subsets):
        parts = [
            features[rng.choice(len(features), subset_size, replace=False)]
            for features in (reference_ND, edits_MD)
        ]
        values.append(kid(*parts))
    return float(np.mean(values)), float(np.std(values))


def jedi(reference_ND: Features, edits_MD: Features, *, is_unbiased: bool = False) -> float:
    """Kernel distance of JEDi, quadratic kernel without offset, on all rows, times 100.

    JEDi's own keeps the diagonals, so it is above 0 for equal distributions, by about 1/N.

    Args:
        reference_ND: features of the reference set; `edits_MD` of the edits.
        is_unbiased: leave the diagonals out.
    Raises:
        Undefined: as `kid`.
    """
    estimator: Estimator = "unbiased" if is_unbiased else "biased"
    return _JEDI_SCALE * _mmd(reference_ND, edits_MD, degree=2, offset=0.0, estimator=estimator)


def kvd(
    reference_ND: Features,
    edits_MD: Features,
    reference_clusters_N: Clusters,
    edit_clusters_M: Clusters,
) -> float:
    """Kernel distance with the cubic kernel of KID, over pairs of different source videos alone.

    An edit is no independent draw: it resembles its own source, and other edits of it, so that an
    estimator that takes such pairs for independent ones puts a copy below 0. Without them the mean
    is 0 for equal distributions, whatever the number of clips, and a copy has 0.

    Args:
        reference_ND: features of the reference set; `edits_MD` of the edits.
        reference_clusters_N: source video of each reference row; `edit_clusters_M` of each edit.
    Raises:
        Undefined: a single source video, NaN, infinity, other dimensions.
    """
    for features in (reference_ND, edits_MD):
        require_finite(features, "features")
    if reference_ND.shape[1] != edits_MD.shape[1]:
        raise Undefined(f"expected equal dimensions, got {reference_ND.shape} and {edits_MD.shape}")

    def mean(a_ND: Features, b_MD: Features, a_of_N: Clusters, b_of_M: Clusters) -> float:
        is_apart = a_of_N[:, None] != b_of_M[None]
        if not is_apart.any():
            raise Undefined("all clips are of one source video: nothing can be compared")
        kernel = (a_ND.astype(np.float64) @ b_MD.astype(np.float64).T / a_ND.shape[1] + 1.0) ** 3
        return float(kernel[is_apart].mean())

    here, there = (reference_ND, reference_clusters_N), (edits_MD, edit_clusters_M)
    pairs = ((here, here), (there, there), (here, there))
    xx, yy, xy = (mean(a, b, a_of, b_of) for (a, a_of), (b, b_of) in pairs)
    return xx + yy - 2.0 * xy


def _mmd(
    x_ND: Features, y_MD: Features, *, degree: int, offset: float, estimator: Estimator
) -> float:
    require_finite(x_ND, "features")
    require_finite(y_MD, "features")
    n, m = len(x_ND), len(y_MD)
    if min(n, m) < 2 or x_ND.shape[1] != y_MD.shape[1]:
        raise Undefined(
            "expected at least two features a set, of equal dimensions, got "
            f"{x_ND.shape} and {y_MD.shape}"
        )
    x, y = x_ND.astype(np.float64), y_MD.astype(np.float64)

    def kernel(a: Array, b: Array) -> Array:
        return np.asarray((a @ b.T / a.shape[1] + offset) ** degree)

    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    if estimator == "biased":
        return float(xx.mean() + yy.mean() - 2.0 * xy.mean())
    within = _off_diagonal_mean(xx) + _off_diagonal_mean(yy)
    between = _off_diagonal_mean(xy) if estimator == "u-statistic" else xy.mean()
    return float(within - 2.0 * between)


def _off_diagonal_mean(kernel_NN: Array) -> float:
    num = len(kernel_NN)
    return float((kernel_NN.sum() - np.trace(kernel_NN)) / (num * (num - 1)))
