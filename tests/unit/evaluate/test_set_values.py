"""Numbers of whole sets, on features that are known."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from avipipe.evaluate.catalogue.sets import SETS
from avipipe.evaluate.set_metric import SetMetric
from avipipe.evaluate.set_values import SetFeatures, set_tests, set_values
from avipipe.evaluate.statistics.mmd import kid, kvd
from avipipe.evaluate.statistics.set_statistics import FeatureSample, KernelDistance
from avipipe.evaluate.tables import FeatureRow, SetValue

Array = npt.NDArray[np.float64]

FVD, KVD, IS = "fvd.centrecrop", "kvd.i3d", "is.set"


def rows(
    method: str,
    sources_ND: Array,
    edits_ND: Array,
    kind: str,
    *,
    control: str = "",
    lost: tuple[int, ...] = (),
    each: int = 1,
) -> Iterator[FeatureRow]:
    """A row a case; `each` cases in a row are of one group."""
    for number, (source, edit) in enumerate(zip(sources_ND, edits_ND, strict=True)):
        is_lost = number in lost
        yield FeatureRow(
            name=f"{number:04}",
            method=method,
            control=control,
            group=f"{number // each:04}",
            kind=kind,
            status="undefined" if is_lost else "ok",
            reason="it is dark" if is_lost else "",
            num_dims=0 if is_lost else len(edit),
            source=b"" if is_lost else source.astype(np.float32).tobytes(),
            edit=b"" if is_lost else edit.astype(np.float32).tobytes(),
        )


def gaussian(num: int, num_dims: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((num, num_dims))


def by_method(found: list[SetValue]) -> dict[str, SetValue]:
    return {value.method: value for value in found}


def kind_of(name: str) -> str:
    return SETS[name].features.name


def test_distances_are_those_of_gaussians_that_are_known() -> None:
    """Means 3 apart in one direction, and twice the width: 9 + D; a copy has 0."""
    sources, others = gaussian(4000, 4, seed=1), gaussian(4000, 4, seed=2)
    far = 2 * others + np.array([3.0, 0, 0, 0])
    features = SetFeatures(
        [
            *rows("far", sources, far, kind_of(FVD)),
            *rows("near", sources, others, kind_of(FVD)),
            *rows("copy", sources, sources, kind_of(FVD), control="copy"),
        ]
    )
    found = by_method(set_values(features, [FVD], seed=0))
    assert found["far"].value == pytest.approx(9 + 4, rel=0.05)
    assert found["copy"].value == pytest.approx(0.0, abs=1e-6)
    near, far_value = found["near"], found["far"]
    assert near.value is not None
    assert near.null_high is not None
    assert near.value < near.null_high < 0.05
    assert far_value.low is not None
    assert far_value.low > 12
    assert (far_value.rank, far_value.num_dims, far_value.num_reference) == (4, 4, 4000)
    assert far_value.infinity == pytest.approx(13, rel=0.05)
    (test,) = set_tests(features, found.values(), [FVD], seed=0)
    assert (test.differs, test.num_clips) == (True, 4000)
    assert test.difference == pytest.approx((found["far"].value or 0) - near.value)


def test_few_clips_have_no_biased_number_unless_it_is_asked_for() -> None:
    features = SetFeatures(
        [
            row
            for name in (FVD, KVD, IS)
            for row in rows("a", gaussian(255, 3, seed=1), gaussian(255, 3, seed=2), kind_of(name))
        ]
    )
    names = [FVD, KVD, IS]
    found = {value.metric: value for value in set_values(features, names, seed=0)}
    for name in (FVD, IS):
        assert (found[name].status, found[name].value) == ("undefined", None)
        assert "255 clips are too few" in found[name].reason
        assert "--allow-small-n" in found[name].reason
    assert found[KVD].status == "ok"
    found = {v.metric: v for v in set_values(features, names, seed=0, allow_small_n=True)}
    assert {value.status for value in found.values()} == {"ok"}


def test_without_many_videos_there_is_a_number_and_no_spread() -> None:
    given = rows("a", gaussian(21, 3, seed=1), gaussian(21, 3, seed=2), kind_of(FVD), each=3)
    (found,) = set_values(SetFeatures(given), [FVD], seed=0, allow_small_n=True)
    assert found.value is not None
    assert (found.low, found.null, found.infinity) == (None, None, None)
    assert "7 source videos, expected at least 8" in found.reason


def test_all_methods_are_judged_on_the_cases_that_all_have() -> None:
    sources = gaussian(300, 2, seed=1)
    features = SetFeatures(
        [
            *rows("a", sources, sources, kind_of(FVD), lost=tuple(range(20))),
            *rows("b", sources, sources + 1, kind_of(FVD)),
            *rows("copy", sources, sources, kind_of(FVD), control="copy", lost=(299,)),
        ]
    )
    found = by_method(set_values(features, [FVD], seed=0))
    assert [found[name].num_ok for name in ("a", "b", "copy")] == [280, 280, 279]
    assert {value.num_total for value in found.values()} == {300}
    features = SetFeatures(rows("a", sources, sources, kind_of(FVD), lost=tuple(range(300))))
    (none,) = set_values(features, [FVD], seed=0)
    assert (none.status, none.reason, none.value) == ("undefined", "it is dark", None)


def test_a_source_of_several_edits_is_in_the_reference_once() -> None:
    sources = np.repeat(gaussian(100, 3, seed=1), 3, axis=0)
    given = SetFeatures(rows("a", sources, sources + 0.1, kind_of(FVD), each=3))
    (refused,) = set_values(given, [FVD], seed=0)
    assert "100 different sources are too few" in refused.reason
    (found,) = set_values(given, [FVD], seed=0, allow_small_n=True)
    assert (found.num_ok, found.num_groups, found.num_reference) == (300, 100, 100)
    assert found.infinity is None


def test_the_order_of_rows_changes_nothing() -> None:
    given = list(rows("a", gaussian(300, 3, seed=1), gaussian(300, 3, seed=2), kind_of(KVD)))
    (one,), (two,) = (
        set_values(SetFeatures(order), [KVD], seed=0) for order in (given, given[::-1])
    )
    assert one == two


def test_edits_of_one_distribution_have_no_kernel_distance_however_few() -> None:
    """Edits that resemble their sources: the mean is 0, where pairs as independent give less."""
    found, naive = [], []
    for seed in range(200):
        sources = gaussian(12, 3, seed=seed)
        edits = np.sqrt(0.5) * (sources + gaussian(12, 3, seed=1000 + seed))
        videos = np.arange(12)
        found.append(kvd(sources, edits, videos, videos))
        naive.append(kid(sources, edits))
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert np.mean(naive) < -3 * error
    assert kvd(sources, sources, videos, videos) == pytest.approx(0.0)
    assert kvd(sources, sources + 2, videos, videos) > 1


def test_kernel_distances_of_other_videos_are_those_of_kid() -> None:
    x, y = gaussian(9, 3, seed=1), gaussian(9, 3, seed=2)
    assert kvd(x, y, np.arange(9), np.arange(9, 18)) == pytest.approx(kid(x, y))


def test_the_null_of_a_kernel_distance_is_about_zero() -> None:
    x = gaussian(100, 3, seed=1)
    reading = KernelDistance().reading(
        FeatureSample(x, x + 2, np.arange(100), np.arange(100)), seed=0
    )
    assert reading.null is not None
    assert reading.null_high is not None
    assert reading.low is not None
    assert abs(reading.null) < reading.null_high < reading.low


@pytest.mark.parametrize("metric", SETS.values(), ids=SETS)
def test_sets_say_what_moves_their_number(metric: SetMetric) -> None:
    assert metric.words.endswith(".")
    assert metric.protocol.endswith(".")
    assert metric.weights
