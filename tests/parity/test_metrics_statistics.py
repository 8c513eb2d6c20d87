"""Intervals and tests against the numbers of scipy and statsmodels, with the draws they made."""

from typing import Any, Literal

import numpy as np
import pytest

from avipipe.evaluate.statistics.bootstrap import clustered_interval
from avipipe.evaluate.statistics.paired import holm, sign_flip_p
from avipipe.evaluate.statistics.proportions import (
    crossed_share,
    effective_num,
    intra_cluster_correlation,
    wilson_interval,
)
from tests.parity.metric_fixtures import Arrays, arrays, close, named

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def statistics() -> Arrays:
    return arrays("statistics")


class StoredDraws(np.random.Generator):
    """A generator whose integers were drawn before."""

    def __init__(self, index_BK: Any) -> None:
        super().__init__(np.random.PCG64(0))
        self._index_BK = index_BK.astype(np.int64)

    def integers(  # type: ignore[override]
        self, low: Any, high: Any = None, size: Any = None, **options: Any
    ) -> Any:
        assert size == self._index_BK.shape
        return self._index_BK


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_bootstrap(statistics: Arrays, method: Literal["percentile", "BCa"]) -> None:
    for name in named(statistics, r"(boot\d+)_values"):
        index_BK = statistics[f"{name}_index"]
        found = clustered_interval(
            statistics[f"{name}_values"],
            statistics[f"{name}_cluster"],
            rng=StoredDraws(index_BK),
            method=method,
            num_resamples=len(index_BK),
        )
        close(found.mean, statistics[f"{name}_point"], TOLERANCE)
        expected = statistics[f"{name}_ci_{method.lower()}"]
        close([found.low, found.high], expected, TOLERANCE)
        assert found.num_clusters == index_BK.shape[1]


def test_constant_values_are_their_own_interval(statistics: Arrays) -> None:
    expected = statistics["boot_constant_percentile"]
    found = clustered_interval(
        np.full(6, expected[0]), np.arange(6) // 2, rng=np.random.default_rng(0)
    )
    close([found.low, found.high], expected, TOLERANCE)


def test_proportions(statistics: Arrays) -> None:
    found = [wilson_interval(k, n) for k, n in statistics["wilson_k_n"]]
    close(found, statistics["wilson"], TOLERANCE)
    successes = statistics["wilson_cluster_y"]
    icc, worth_num = statistics["wilson_cluster_icc_neff"]
    size = round(1 + (len(successes) / worth_num - 1) / icc)  # it is not stored by itself
    clusters = np.arange(len(successes)) // size
    worth = intra_cluster_correlation(successes, clusters), effective_num(successes, clusters)
    close(worth, statistics["wilson_cluster_icc_neff"], TOLERANCE)
    share = crossed_share(successes, [clusters])
    close([share.low, share.high], statistics["wilson_cluster_ci"], TOLERANCE)


def test_holm(statistics: Arrays) -> None:
    adjusted = holm(statistics["holm_p"])
    close(adjusted, statistics["holm_adjusted"], TOLERANCE)
    np.testing.assert_array_equal(adjusted < 0.05, statistics["holm_reject"])


def test_sign_flips(statistics: Arrays) -> None:
    for name in named(statistics, r"(perm\d+)_a"):
        differences = statistics[f"{name}_a"] - statistics[f"{name}_b"]
        found = sign_flip_p(differences, np.arange(len(differences)), seed=0)
        close(found, statistics[f"{name}_p_two_sided"], TOLERANCE)
        close(found, statistics[f"{name}_p_abs"], TOLERANCE)
        sides = [statistics[f"{name}_p_{side}"] for side in ("less", "greater")]
        close(found, np.minimum(1.0, 2 * np.min(sides)), TOLERANCE)
    found = sign_flip_p(statistics["permc_diff"], statistics["permc_cluster"], seed=0)
    close(found, statistics["permc_p_two_sided"], TOLERANCE)


def test_random_sign_flips(statistics: Arrays) -> None:
    differences = statistics["permr_a"] - statistics["permr_b"]
    seed, num_flips = map(int, statistics["permr_flip_seed_M"])
    clusters = np.arange(len(differences))
    found = sign_flip_p(differences, clusters, seed=seed, num_flips=num_flips)
    close(found, statistics["permr_p_plus1"], TOLERANCE)
