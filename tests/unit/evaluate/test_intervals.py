"""Intervals and tests by source video: they hold what they say, and widen where clips are alike."""

from typing import Literal

import numpy as np
import pytest
import scipy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.bootstrap import Array, clustered_interval
from avipipe.evaluate.statistics.paired import Features, holm, label_swap_p, sign_flip_p
from avipipe.evaluate.statistics.proportions import (
    crossed_share,
    effective_num,
    intra_cluster_correlation,
    wilson_interval,
)
from avipipe.evaluate.statistics.shifts import MIN_SHIFT_S, shift_null, shifted

VIDEOS = np.repeat(np.arange(20), 5)


def clustered_values(seed: int, *, mean: float = 0.0) -> Array:
    """Values of five clips a video, most of whose spread is between videos."""
    rng = np.random.default_rng(seed)
    return mean + rng.standard_normal(20)[VIDEOS] + 0.3 * rng.standard_normal(len(VIDEOS))


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    by_video: list[bool] = []
    by_clip: list[bool] = []
    for seed in range(100):
        values = clustered_values(seed)
        for held, clusters in ((by_video, VIDEOS), (by_clip, np.arange(len(values)))):
            found = clustered_interval(
                values, clusters, rng=np.random.default_rng(seed), num_resamples=300
            )
            held.append(found.low <= 0.0 <= found.high)
    assert 0.85 <= np.mean(by_video) <= 1.0
    assert np.mean(by_clip) < 0.75


def test_an_interval_says_what_it_rests_on() -> None:
    names = np.array([f"video-{index}" for index in VIDEOS])
    found = clustered_interval(clustered_values(1), names, rng=np.random.default_rng(0))
    assert (found.num_clips, found.num_clusters, found.method) == (100, 20, "BCa")
    order = np.random.default_rng(2).permutation(len(VIDEOS))
    shuffled = clustered_interval(
        clustered_values(1)[order], names[order], rng=np.random.default_rng(0)
    )
    assert (shuffled.low, shuffled.high) == pytest.approx((found.low, found.high), rel=1e-9)


def test_where_bca_has_no_value_the_interval_is_the_percentiles() -> None:
    """All videos have one mean, so nothing varies between them."""
    values, clusters = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1])
    found = clustered_interval(values, clusters, rng=np.random.default_rng(0))
    assert (found.low, found.high, found.method) == (0.5, 0.5, "percentile")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, -3.7]), st.integers(0, 3)), min_size=2),
    st.sampled_from(["percentile", "BCa"]),
)
def test_any_two_videos_have_an_interval(
    clips: list[tuple[float, int]], method: Literal["percentile", "BCa"]
) -> None:
    values, videos = np.array(clips).T
    assume(len(np.unique(videos)) > 1)
    rng = np.random.default_rng(0)
    found = clustered_interval(values, videos, rng=rng, method=method, num_resamples=50)
    assert values.min() - 1e-9 <= found.low <= found.high <= values.max() + 1e-9


def test_intervals_that_cannot_be_drawn() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(Undefined, match="one source video"):
        clustered_interval(np.array([1.0, 2.0]), np.array([7, 7]), rng=rng)
    with pytest.raises(Undefined, match="no values"):
        clustered_interval(np.zeros(0), np.zeros(0, np.int64), rng=rng)
    with pytest.raises(Undefined, match="NaN"):
        clustered_interval(np.array([1.0, np.nan]), np.array([0, 1]), rng=rng)


def test_sign_flips_reject_as_often_as_they_say() -> None:
    by_video = [sign_flip_p(clustered_values(i), VIDEOS, seed=i, num_flips=199) for i in range(200)]
    by_clip = [
        sign_flip_p(clustered_values(i), np.arange(100), seed=i, num_flips=199) for i in range(200)
    ]
    assert np.mean(np.array(by_video) <= 0.05) < 0.1
    assert np.mean(np.array(by_clip) <= 0.05) > 0.25


def test_sign_flips_find_a_difference_and_never_say_zero() -> None:
    p_value = sign_flip_p(clustered_values(1, mean=3.0), VIDEOS, seed=0)
    assert p_value == pytest.approx(1e-4)
    assert sign_flip_p(np.ones(3), np.arange(3), seed=0) == 0.25
    assert sign_flip_p(np.zeros(30), np.arange(30), seed=0) == 1.0
    with pytest.raises(Undefined, match="one source video"):
        sign_flip_p(np.ones(3), np.zeros(3, np.int64), seed=0)


def test_exact_and_random_flips_agree() -> None:
    values = clustered_values(3, mean=0.3)
    few = VIDEOS < 10
    exact = sign_flip_p(values[few], VIDEOS[few], seed=0)
    sums = np.bincount(VIDEOS[few], weights=values[few]).tolist()
    by_scipy = scipy.stats.permutation_test(
        (sums, [0.0] * len(sums)),
        lambda a, b: np.mean(a - b),
        permutation_type="samples",
        n_resamples=2**10,
    )
    assert exact == pytest.approx(by_scipy.pvalue)


def test_swapped_labels_tell_methods_apart() -> None:
    rng = np.random.default_rng(5)
    reference = rng.standard_normal((100, 3))
    good, bad = (reference + step * rng.standard_normal((100, 3)) for step in (0.2, 1.5))

    def score(a: Features, b: Features) -> float:
        near, far = (float(((x.std(axis=0) - reference.std(axis=0)) ** 2).sum()) for x in (a, b))
        return near - far

    assert label_swap_p(score, good, bad, VIDEOS, seed=0, num_swaps=99) == 0.01
    assert label_swap_p(score, good, good, VIDEOS, seed=0, num_swaps=99) == 1.0


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])


def test_shares_of_clustered_clips_are_worth_less() -> None:
    alike = (np.arange(20) < 12)[VIDEOS].astype(np.float64)
    mixed = (np.arange(100) % 5 < 3).astype(np.float64)
    assert intra_cluster_correlation(alike, VIDEOS) == 1.0
    assert effective_num(alike, VIDEOS) == pytest.approx(20.0)
    assert effective_num(mixed, VIDEOS) == effective_num(alike, np.arange(100)) == 100.0
    wide, narrow = (crossed_share(each, [VIDEOS]) for each in (alike, mixed))
    assert wide.share == narrow.share == 0.6
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (wide.low, wide.high) == pytest.approx(wilson_interval(12, 20))


@pytest.mark.parametrize(("successes", "num"), [(8, 8), (0, 5), (3, 7), (420, 1000)])
def test_wilson_is_scipy_s(successes: int, num: int) -> None:
    expected = scipy.stats.binomtest(successes, num).proportion_ci(method="wilson")
    found = wilson_interval(successes, num)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    with pytest.raises(Undefined, match="no clips"):
        wilson_interval(0, 0)


def test_shifts_go_round() -> None:
    times = np.array([0.5, 3.0, 3.9])
    np.testing.assert_allclose(shifted(times, 1.5, duration_s=4.0), [0.5, 1.4, 2.0])
    np.testing.assert_allclose(shifted(times, 0.0, duration_s=4.0), times)


def test_the_null_is_of_real_shifts_only() -> None:
    asked: list[float] = []

    def score(shift_s: float) -> float:
        asked.append(shift_s)
        return 0.6 if shift_s == 0.0 else 0.2 + 0.01 * (shift_s > 2.0)

    null = shift_null(score, duration_s=4.0, num_shifts=19)
    assert min(asked[:-1]) == MIN_SHIFT_S
    assert max(asked[:-1]) == 4.0 - MIN_SHIFT_S
    assert null.seen == 0.6
    assert null.p_value == 0.05
    assert null.mean == pytest.approx(0.2 + 0.01 * 9 / 19)
    assert null.corrected == pytest.approx(0.5, abs=0.01)
    assert null.z > 50


def test_nulls_without_a_value() -> None:
    with pytest.raises(Undefined, match=r"1\.00 s cannot be shifted"):
        shift_null(lambda _: 0.5, duration_s=1.0)
    with pytest.raises(Undefined, match="NaN"):
        shift_null(lambda _: float("nan"), duration_s=5.0)
    with pytest.raises(Undefined, match="wherever it is moved to"):
        _ = shift_null(lambda _: 0.5, duration_s=5.0).z
    with pytest.raises(Undefined, match="by chance alone"):
        _ = shift_null(lambda _: 1.0, duration_s=5.0).corrected
