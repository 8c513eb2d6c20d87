"""Fréchet distances and MMD against the numbers of the implementations in use."""

import re

import numpy as np
import pytest

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.frechet import (
    FeatureMoments,
    fit_infinity,
    frechet_distance,
    frechet_distance_of_moments,
)
from avipipe.evaluate.statistics.mmd import jedi, kid, kid_subsets
from tests.parity.metric_fixtures import Arrays, arrays, close

CASES = ("tall", "wide", "offset", "dup")
DDOF_OF = {
    "styleganv": 0,
    "cdfvd": 0,
    "common_styleganv": 1,
    "common_videogpt_f64": 1,
    "fadtk": 1,
    "fad_gudgud": 1,
    "avbench": 1,
}


@pytest.fixture(scope="module")
def frechet() -> Arrays:
    return arrays("frechet")


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_exact(frechet: Arrays, case: str, ddof: int) -> None:
    pair = frechet[f"{case}_real"], frechet[f"{case}_fake"]
    expected = frechet[f"{case}_exact_ddof{ddof}"]
    close(frechet_distance(*pair, ddof=ddof), expected, 1e-9)
    moments = [FeatureMoments.of(features) for features in pair]
    streamed = frechet_distance_of_moments(*moments, ddof=ddof)
    close(streamed, expected, 1e-6)


@pytest.mark.parametrize("case", CASES)
def test_references(frechet: Arrays, case: str) -> None:
    pair = frechet[f"{case}_real"], frechet[f"{case}_fake"]
    # Matrix roots of singular covariances are off themselves.
    tolerance = 1e-6 if case in ("tall", "offset") else 1e-4
    for name, ddof in DDOF_OF.items():
        found = frechet_distance(*pair, ddof=ddof)
        close(found, frechet[f"{case}_{name}"], tolerance)
    close(found, frechet[f"{case}_common_videogpt_f32"], 1e-3)


def test_many_dimensions_and_the_set_itself(frechet: Arrays) -> None:
    num, num_dims, seed = frechet["big_recipe"]
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((num, num_dims)), rng.standard_normal((num, num_dims))
    found = frechet_distance(x, y * 1.1 + 0.05)
    close(found, frechet["big_exact_ddof1"], 1e-9)
    close(found, frechet["big_common_styleganv"], 1e-6)
    real = frechet["tall_real"]
    itself = frechet_distance(real, real)
    assert abs(itself - frechet["self_tall_exact"]) < 1e-12


def test_one_feature_has_no_covariance(frechet: Arrays) -> None:
    with pytest.raises(Undefined, match="1 features are too few"):
        frechet_distance(frechet["one_real"], frechet["one_fake"])


def test_a_large_mean_costs_no_digits(frechet: Arrays) -> None:
    real = frechet["offset_real"]
    parts = FeatureMoments.of(real[:20]), FeatureMoments.of(real[20:])
    covariance = FeatureMoments.merge(parts).covariance(ddof=0)
    true = frechet["offset_true_cov_ddof0"]
    error = np.abs(covariance - true).max()
    assert error < 1e-12
    assert error < np.abs(frechet["offset_rawmoment_cov"] - true).max() / 100


def test_extrapolation(frechet: Arrays) -> None:
    sizes, distances = frechet["fadinf_points"].T
    found = fit_infinity(sizes, distances)
    close([found.value, found.slope, found.r_squared], frechet["fadinf_score_slope_r2"], 1e-6)


def test_points_of_fadtk_by_its_draws(frechet: Arrays) -> None:
    """It draws the edits' features with replacement, after a seed that is not stored."""
    base, edits = frechet["fadinf_base"], frechet["fadinf_eval"]
    sizes, distances = frechet["fadinf_points"].T

    def found(seed: int, num_points: int) -> list[float]:
        draws = np.random.RandomState(seed)
        rows = [draws.choice(len(edits), size=int(size)) for size in sizes[:num_points]]
        return [frechet_distance(base, edits[each]) for each in rows]

    (seed,) = (s for s in range(100) if abs(found(s, 1)[0] - distances[0]) < 1e-6 * distances[0])
    close(found(seed, len(sizes)), distances, 1e-6)


def test_kernels(frechet: Arrays) -> None:
    pair = frechet["tall_real"], frechet["tall_fake"]
    close(kid(*pair), frechet["kid_unbiased"], 1e-9)
    close(kid(*pair), frechet["kid_avbench"], 1e-9)
    close(kid(*pair, estimator="biased"), frechet["kid_biased"], 1e-9)
    close(kid(*pair, estimator="u-statistic"), frechet["kid_u_statistic"], 1e-9)
    close(jedi(*pair), frechet["jedi"], 1e-9)
    close(jedi(*pair, is_unbiased=True), frechet["jedi_kernel_unbiased"], 1e-9)


def test_kernels_over_subsets(frechet: Arrays) -> None:
    (key,) = (key for key in frechet if key.startswith("kid_subsets"))
    num_subsets, subset_size, seed = map(int, re.findall(r"\d+", key))
    found = kid_subsets(
        frechet["tall_real"],
        frechet["tall_fake"],
        num_subsets=num_subsets,
        subset_size=subset_size,
        seed=seed,
    )
    close(found, frechet[key], 1e-9)
