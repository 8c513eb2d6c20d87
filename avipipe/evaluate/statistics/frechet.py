"""Fréchet distance between two sets of features, as FVD, FAD and FID use it.

|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) of the sets' means and covariances, in squared
units of the features; lower is better. It is biased upward by about 1/N, more than most
differences between methods at a hundred clips: `frechet_spread` says how much, and
`frechet_infinity` extrapolates it away where there are enough clips.

Source: Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982;
Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Self

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Array = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating]

_NUM_STEPS = 15
"""Sizes from half to all that a limit is extrapolated from; a choice, as in Chong and Forsyth."""


@dataclass(frozen=True, slots=True)
class FeatureMoments:
    """Number, mean (D,) and centred scatter (D, D) of features, in float64.

    Kept centred, so that a large common mean costs no digits; sets are merged without a second
    look at the features.
    """

    num: int
    mean_D: Array
    scatter_DD: Array

    @classmethod
    def of(cls, features_ND: Features) -> Self:
        """Moments of features, any float type.

        Raises:
            Undefined: no features, NaN or infinity.
        """
        require_finite(features_ND, "features")
        features = features_ND.astype(np.float64)
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def merged(self, other: Self) -> Self:
        """Moments of both sets together.

        Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing
        sample variances, 1979.
        """
        num = self.num + other.num
        apart = other.mean_D - self.mean_D
        return type(self)(
            num,
            self.mean_D + apart * (other.num / num),
            self.scatter_DD
            + other.scatter_DD
            + np.outer(apart, apart) * (self.num * other.num / num),
        )

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Moments of the union of several sets, at least one."""
        return reduce(cls.merged, parts)

    def covariance(self, *, ddof: int) -> Array:
        """Covariance (D, D), divided by N - ddof."""
        return self.scatter_DD / (self.num - ddof)

    @property
    def rank(self) -> int:
        """Rank of the covariance; below D, directions are missing for want of features."""
        return int(np.linalg.matrix_rank(self.scatter_DD, hermitian=True))

    def factor(self) -> Array:
        """A (R, D) with A^T A the scatter."""
        values, vectors = np.linalg.eigh(self.scatter_DD)
        return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def frechet_distance(reference_ND: Features, edits_MD: Features, *, ddof: int = 1) -> float:
    """Fréchet distance between two sets of features, exact also where there are fewer than D.

    The trace of the root is the nuclear norm of the product of the centred features: no matrix root
    and nothing added to the diagonal.

    Args:
        reference_ND: features of the reference set, N of D dimensions; `edits_MD` of the edits.
        ddof: 0 divides covariances by N (StyleGAN-V, cd-fvd), 1 by N - 1 (all others).
    Raises:
        Undefined: fewer than two features, NaN, infinity, other dimensions.
    """
    sets = [np.asarray(features, dtype=np.float64) for features in (reference_ND, edits_MD)]
    for features in sets:
        require_finite(features, "features")
    means = [features.mean(axis=0) for features in sets]
    centred = [features - mean for features, mean in zip(sets, means, strict=True)]
    factors = [
        rows if len(rows) <= rows.shape[1] else np.asarray(np.linalg.qr(rows, mode="r"))
        for rows in centred
    ]
    nums = [len(features) for features in sets]
    return _distance(means, factors, nums, ddof=ddof)


def frechet_distance_of_moments(
    reference: FeatureMoments, edits: FeatureMoments, *, ddof: int = 1
) -> float:
    """As `frechet_distance`, of sets too large to hold; eight digits where N < D."""
    sets = (reference, edits)
    return _distance(
        [moments.mean_D for moments in sets],
        [moments.factor() for moments in sets],
        [moments.num for moments in sets],
        ddof=ddof,
    )


def _distance(means: list[Array], factors: list[Array], nums: list[int], *, ddof: int) -> float:
    if means[0].shape != means[1].shape:
        raise Undefined(f"features have {means[0].size} dimensions here, {means[1].size} there")
    if min(nums) < 2:
        raise Undefined(
            f"{min(nums)} features are too few for a Fréchet distance, expected at least 2"
        )
    scaled = [factor / np.sqrt(num - ddof) for factor, num in zip(factors, nums, strict=True)]
    traces = sum(float((factor**2).sum()) for factor in scaled)
    root = float(scipy.linalg.svdvals(scaled[0] @ scaled[1].T).sum())
    apart = float(((means[0] - means[1]) ** 2).sum())
    return max(0.0, apart + traces - 2.0 * root)


@dataclass(frozen=True, slots=True)
class FrechetInfinity:
    """A Fréchet distance extrapolated to infinitely many features."""

    value: float
    slope: float
    r_squared: float


def frechet_infinity(
    reference_ND: Features,
    edits_MD: Features,
    *,
    seed: int,
    ddof: int = 1,
    is_paired: bool = False,
) -> FrechetInfinity:
    """Fréchet distance for ever larger sets, from smaller and smaller parts of both.

    Equal shares of both sets are drawn, so that the bias of both is extrapolated away, and without
    replacement: with it each distance would be biased upward once more.

    Args:
        reference_ND: features of the reference set; `edits_MD` of the edits.
        is_paired: row k of one is made of row k of the other, so the same rows of both are drawn.
            Others would have less in common the fewer they are, and so a limit far below 0.
    Raises:
        Undefined: fewer than 2 D features in a set: halves of them are then fewer than dimensions,
            where the bias is no line in 1 / N.

    Source: Chong and Forsyth, Effectively unbiased FID and Inception score, CVPR 2020.
    """
    num, num_dims = min(len(reference_ND), len(edits_MD)), edits_MD.shape[1]
    if num < 2 * num_dims:
        raise Undefined(
            f"{num} features of {num_dims} dimensions are too few to extrapolate a Fréchet "
            f"distance, expected at least {2 * num_dims}"
        )
    rng = np.random.default_rng(seed)

    def drawn(features: Features, share: float) -> npt.NDArray[np.int64]:
        return rng.permutation(len(features))[: round(share * len(features))]

    shares = np.linspace(0.5, 1.0, _NUM_STEPS)
    distances = []
    for share in shares:
        here = drawn(reference_ND, share)
        there = here if is_paired else drawn(edits_MD, share)
        parts = reference_ND[here], edits_MD[there]
        distances.append(frechet_distance(*parts, ddof=ddof))
    return fit_infinity(shares * len(edits_MD), np.array(distances))


def fit_infinity(sizes_K: Array, distances_K: Array) -> FrechetInfinity:
    """Least-squares line through distances over 1 / size, and its height at 0."""
    slope, value = np.polyfit(1.0 / sizes_K, distances_K, 1)
    left = float(((value + slope / sizes_K - distances_K) ** 2).sum())
    total = float(((distances_K - distances_K.mean()) ** 2).sum())
    return FrechetInfinity(float(value), float(slope), 1.0 - left / total if total else 1.0)
