"""Distances between sets of features: known Gaussians, merged shards, and how far to trust them."""

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.frechet import (
    Array,
    FeatureMoments,
    frechet_distance,
    frechet_distance_of_moments,
    frechet_infinity,
)
from avipipe.evaluate.statistics.frechet_spread import frechet_spread
from avipipe.evaluate.statistics.inception_score import (
    inception_score,
    inception_score_of_clip,
    score_of_split,
)
from avipipe.evaluate.statistics.mmd import jedi, kid, kid_subsets
from avipipe.evaluate.statistics.set_statistics import FeatureSample, Frechet, SetReading


def gaussian(num: int, num_dims: int, *, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((num, num_dims))


def moments(mean: Array, covariance: Array) -> FeatureMoments:
    """Of a distribution that is known."""
    num = 10_000
    return FeatureMoments(num, mean, covariance * num)


def exact(first: FeatureMoments, second: FeatureMoments) -> float:
    return frechet_distance_of_moments(first, second, ddof=0)


def test_gaussians_that_differ_in_the_mean() -> None:
    eye = np.eye(5)
    found = exact(moments(np.zeros(5), eye), moments(np.full(5, 2.0), eye))
    assert found == pytest.approx(20.0)


def test_gaussians_with_diagonal_covariances() -> None:
    first, second = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 0.0])
    found = exact(moments(np.zeros(3), np.diag(first)), moments(np.zeros(3), np.diag(second)))
    assert found == pytest.approx(((np.sqrt(first) - np.sqrt(second)) ** 2).sum(), rel=1e-6)


def test_gaussians_with_covariances_that_commute() -> None:
    axes = np.linalg.qr(gaussian(4, 4, seed=1))[0]
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 1.0, 0.5, 9.0])
    found = exact(
        moments(np.zeros(4), axes @ np.diag(first) @ axes.T),
        moments(np.zeros(4), axes @ np.diag(second) @ axes.T),
    )
    assert found == pytest.approx(((np.sqrt(first) - np.sqrt(second)) ** 2).sum())


def test_gaussians_of_rank_one() -> None:
    a, b = np.array([3.0, 0.0]), np.array([1.0, 1.0])
    found = exact(moments(np.zeros(2), np.outer(a, a)), moments(np.zeros(2), np.outer(b, b)))
    assert found == pytest.approx(a @ a + b @ b - 2 * abs(a @ b), rel=1e-6)


def test_the_matrix_root_agrees() -> None:
    x, y = gaussian(300, 6, seed=1), 1.5 * gaussian(280, 6, seed=2) + 0.3
    covariances = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    apart = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    expected = apart + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 39), max_size=4, unique=True), st.integers(0, 1000))
def test_shards_merge_to_the_whole(cuts: list[int], seed: int) -> None:
    features = gaussian(40, 5, seed=seed) * 3 + 1e4
    whole = FeatureMoments.of(features)
    parts = [FeatureMoments.of(part) for part in np.split(features, sorted(cuts))]
    for order in (parts, parts[::-1]):
        merged = FeatureMoments.merge(order)
        assert merged.num == whole.num
        np.testing.assert_allclose(merged.mean_D, whole.mean_D, rtol=1e-13)
        np.testing.assert_allclose(merged.scatter_DD, whole.scatter_DD, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("num", [12, 300])
def test_distances_of_features_and_of_their_moments_agree(num: int) -> None:
    x, y = gaussian(num, 20, seed=1), gaussian(num + 3, 20, seed=2) + 0.5
    order = np.random.default_rng(0).permutation(num)
    expected = frechet_distance(x, y)
    of_moments = frechet_distance_of_moments(FeatureMoments.of(x), FeatureMoments.of(y))
    assert of_moments == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(y, x[order]) == pytest.approx(expected)
    assert frechet_distance(x, x[order]) == pytest.approx(0.0, abs=1e-9)
    assert FeatureMoments.of(x).rank == min(num - 1, 20)


def test_more_noise_is_a_larger_distance() -> None:
    source = gaussian(300, 8, seed=1)
    for distance in (frechet_distance, kid, jedi):
        ladder = [distance(source, source + step * gaussian(300, 8, seed=2)) for step in range(4)]
        assert (np.diff(ladder) > 0).all()


def test_what_has_no_distance_is_refused() -> None:
    x = gaussian(255, 4, seed=1)
    with pytest.raises(Undefined, match=r"1 features are too few .* at least 2"):
        frechet_distance(x[:1], x)
    with pytest.raises(Undefined, match="4 dimensions here, 3 there"):
        frechet_distance(x, x[:, :3])
    with pytest.raises(Undefined, match="NaN or infinity"):
        frechet_distance(x, np.where(x > 2, np.nan, x))
    with pytest.raises(Undefined, match="there are no features"):
        FeatureMoments.of(x[:0])


def test_the_limit_is_nearer_to_the_truth() -> None:
    """Isotropic Gaussians a known 1.0 apart, at 5 features a dimension."""
    num_dims = 60
    x, y = (gaussian(5 * num_dims, num_dims, seed=seed) for seed in (1, 2))
    y[:, 0] += 1.0
    bare, limit = frechet_distance(x, y), frechet_infinity(x, y, seed=0)
    assert bare > 5.0
    assert abs(limit.value - 1.0) < 0.3 * (bare - 1.0)
    assert limit.r_squared > 0.9
    with pytest.raises(Undefined, match="119 features of 60 dimensions"):
        frechet_infinity(x, y[: 2 * num_dims - 1], seed=0)


def test_the_limit_of_edits_that_resemble_their_sources() -> None:
    """Each edit is its source and noise: D (sqrt(1.09) - 1)^2, which few rows overstate."""
    num_dims = 60
    sources = gaussian(600, num_dims, seed=1)
    edits = sources + 0.3 * gaussian(600, num_dims, seed=2)
    known = num_dims * (np.sqrt(1.09) - 1) ** 2
    bare = frechet_distance(sources, edits)
    limit = frechet_infinity(sources, edits, seed=0, is_paired=True)
    assert bare > 2 * known
    assert abs(limit.value - known) < 0.3 * (bare - known)
    assert frechet_infinity(sources, edits, seed=0).value < 0


def test_a_distance_comes_with_what_it_takes_to_read_it() -> None:
    videos = np.arange(300) // 3
    reference, edits = gaussian(300, 10, seed=1), gaussian(300, 10, seed=2)

    def reading(features: Array) -> SetReading:
        found = Frechet().reading(FeatureSample(reference, features, videos, videos), seed=4)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        assert found.value == frechet_distance(reference, features)
        assert found.rank == 10
        return found

    near, far = reading(edits), reading(edits + 0.5)
    assert near.null_high == far.null_high
    assert near.null_high is not None
    assert far.low is not None
    assert near.value < near.null_high < far.low


def test_the_standard_error_is_that_of_fresh_draws() -> None:
    """Distances of 60 sets of videos vary as much as the halves of one set say."""
    videos = np.arange(256)

    def pair(seed: int) -> tuple[Array, Array]:
        reference = gaussian(256, 4, seed=seed)
        return reference, reference * 1.3 + 0.5 + 0.3 * gaussian(256, 4, seed=1000 + seed)

    spread = np.std([frechet_distance(*pair(seed)) for seed in range(60)], ddof=1)
    told = [
        frechet_spread(
            *pair(seed), reference_clusters_N=videos, edit_clusters_M=videos, seed=0
        ).halves_S.std(ddof=1)
        for seed in range(3)
    ]
    assert 0.7 < np.mean(told) / spread < 1.4


def test_sets_that_do_not_vary_have_a_limit_too() -> None:
    still = np.ones((300, 3))
    assert frechet_infinity(still, still, seed=0).value == pytest.approx(0.0)


def test_halves_are_of_whole_videos() -> None:
    """Clips of one video that are all alike: halves by clip would find no spread between videos."""
    videos = np.repeat(np.arange(10), 30)
    features = gaussian(10, 3, seed=1)[videos] + 1e-3 * gaussian(300, 3, seed=2)
    found = frechet_spread(
        features, features, reference_clusters_N=videos, edit_clusters_M=videos, seed=0
    )
    assert found.null_S.min() > 0.1
    assert found.halves_S.max() < 1e-9
    with pytest.raises(Undefined, match="5 source videos, expected at least 8"):
        frechet_spread(
            features,
            features,
            reference_clusters_N=videos // 2,
            edit_clusters_M=videos // 2,
            seed=0,
        )


def test_unbiased_kernel_distances_have_mean_zero() -> None:
    pairs = [(gaussian(20, 30, seed=i), gaussian(20, 30, seed=1000 + i)) for i in range(200)]
    unbiased, biased = (
        np.array([kid(*pair, estimator=estimator) for pair in pairs])
        for estimator in ("unbiased", "biased")
    )
    error = unbiased.std() / np.sqrt(len(pairs))
    assert abs(unbiased.mean()) < 3 * error
    assert biased.mean() > 20 * error
    assert abs(np.mean([jedi(*pair, is_unbiased=True) for pair in pairs])) < np.mean(
        [jedi(*pair) for pair in pairs]
    )


def test_kernel_distance_by_hand() -> None:
    """x = (0), (1); y = (2), (3): kernels (1 + xy)^3 of one dimension."""
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert kid(x, y) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)
    with pytest.raises(Undefined, match="at least two features a set"):
        kid(x[:1], y)
    with pytest.raises(Undefined, match="at least 3 features for a subset, got 2"):
        kid_subsets(x, y, num_subsets=2, subset_size=3, seed=0)


@pytest.mark.parametrize("num_classes", [2, 10, 101])
def test_sure_and_even_classes_score_their_number(num_classes: int) -> None:
    sure = 1e4 * np.tile(np.eye(num_classes), (10, 1))
    assert score_of_split(sure) == pytest.approx(num_classes)
    assert inception_score_of_clip(sure) == pytest.approx(num_classes)
    unsure = np.zeros_like(sure)
    assert inception_score(unsure).mean == pytest.approx(1.0)


def test_scores_of_a_set_are_of_its_order() -> None:
    logits = 3 * gaussian(40, 6, seed=1)
    assert inception_score(logits) == inception_score(logits)
    assert inception_score(logits) != inception_score(logits, order_seed=None)
    with pytest.raises(Undefined, match="at least 10 rows of logits, got 9"):
        inception_score(logits[:9])
    with pytest.raises(Undefined, match="at least 2 frames, got 1"):
        inception_score_of_clip(logits[:1])
    with pytest.raises(Undefined, match="NaN"):
        inception_score(logits * np.nan)
