"""From features of cases to numbers of whole sets: one for each method, and which differ."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import combinations

import numpy as np

from avipipe.evaluate.aggregate import PairTest, adjusted
from avipipe.evaluate.catalogue.sets import SETS
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.set_metric import SetMetric
from avipipe.evaluate.statistics.paired import label_swap_p
from avipipe.evaluate.statistics.set_statistics import Features, FeatureSample
from avipipe.evaluate.tables import FeatureRow, SetValue

NUM_SWAPS = 399
"""Exchanges of edits between two methods: the least p is 0.0025, which Holm leaves below 5 % for
the pairs of six methods."""
_MAX_SWAP_SIDE = 512
"""Rows or dimensions, whichever are fewer, up to which sets are compared by such a test: I3D's 400
take half a minute a pair of methods; the time goes with the cube."""


class SetFeatures:
    """The features of a run, by kind and method."""

    def __init__(self, rows: Iterable[FeatureRow]) -> None:
        self._rows: dict[tuple[str, str], dict[str, FeatureRow]] = {}
        self.controls: dict[str, str] = {}
        for row in rows:
            self._rows.setdefault((row.kind, row.method), {})[row.name] = row
            self.controls[row.method] = row.control
        groups = sorted({row.group for own in self._rows.values() for row in own.values()})
        self._numbers = {group: number for number, group in enumerate(groups)}

    @property
    def methods(self) -> list[str]:
        """Those that edit, without controls."""
        return sorted(method for method, control in self.controls.items() if not control)

    def all_of(self, kind: str, method: str) -> list[FeatureRow]:
        """Of every case of a method, also of those without features."""
        return list(self._rows.get((kind, method), {}).values())

    def of(self, kind: str, method: str) -> list[FeatureRow]:
        """Of the cases that every method has features of, in the order of their names."""
        own = self._rows.get((kind, method), {})
        names = {name for name, row in own.items() if row.status == "ok"}
        for other in self.methods:
            rows = self._rows.get((kind, other), {})
            names &= {name for name, row in rows.items() if row.status == "ok"}
        return [own[name] for name in sorted(names)]

    def sample(self, rows: Sequence[FeatureRow]) -> FeatureSample:
        """Sources and edits of cases; a source that several cases share is in the set once."""
        sources = {(row.source, row.group): row for row in rows}
        reference = [(row.side(row.source), row.group) for row in sources.values()]
        edits = [(row.side(row.edit), row.group) for row in rows]
        (reference_ND, here_N), (edits_MD, there_M) = map(self._stacked, (reference, edits))
        return FeatureSample(reference_ND, edits_MD, here_N, there_M)

    def _stacked(
        self, parts: Sequence[tuple[Features, str]]
    ) -> tuple[Features, "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
        numbers = [self._numbers[group] for _, group in parts]
        rows_ND = np.concatenate([rows for rows, _ in parts])
        return rows_ND, np.repeat(np.array(numbers, np.int64), [len(rows) for rows, _ in parts])


def set_values(
    features: SetFeatures, metrics: Sequence[str], *, seed: int, allow_small_n: bool = False
) -> list[SetValue]:
    """Numbers of all methods and controls by metric.

    Args:
        metrics: names of `SETS`.
        allow_small_n: compute what is biased below 256 clips too.
    """
    controls = [method for method, control in features.controls.items() if control]
    return [
        _set_value(features, metric, method, seed, allow_small_n)
        for metric in metrics
        for method in [*features.methods, *sorted(controls)]
    ]


def _set_value(
    features: SetFeatures, name: str, method: str, seed: int, allow_small_n: bool
) -> SetValue:
    metric = SETS[name]
    kind = metric.features.name
    rows, everything = features.of(kind, method), features.all_of(kind, method)
    found = SetValue(
        method=method,
        control=features.controls[method],
        metric=name,
        status="ok",
        num_ok=len(rows),
        num_total=len(everything),
        num_groups=len({row.group for row in rows}),
    )
    if not rows:
        return _without(found, everything)
    try:
        sample = _sample(features, metric, rows, allow_small_n)
        reading = metric.statistic.reading(sample, seed=seed)
    except Undefined as error:
        return replace(found, status="undefined", reason=error.reason)
    return replace(
        found,
        **asdict(reading),
        num_dims=sample.edits_MD.shape[1],
        num_reference=len(sample.reference_ND) if metric.statistic.has_reference else 0,
    )


def _without(found: SetValue, everything: Sequence[FeatureRow]) -> SetValue:
    """With the reason that most cases have."""
    reasons = Counter((row.status, row.reason) for row in everything if row.status != "ok")
    if not reasons:
        return replace(found, status="undefined", reason="no case is common to all methods")
    ((status, reason), _), *_ = reasons.most_common(1)
    return replace(found, status=status, reason=reason)


def _sample(
    features: SetFeatures, metric: SetMetric, rows: Sequence[FeatureRow], allow_small_n: bool
) -> FeatureSample:
    least, num, what = metric.statistic.least_clips, len(rows), "clips"
    num_sources = len({(row.source, row.group) for row in rows})
    if metric.statistic.has_reference and num_sources < num:
        num, what = num_sources, "different sources"
    if num < least and not allow_small_n:
        raise Undefined(
            f"{num} {what} are too few for a number that says more than how few they are, "
            f"expected at least {least}; --allow-small-n computes it all the same"
        )
    return features.sample(rows)


def set_tests(
    features: SetFeatures, values: Iterable[SetValue], metrics: Sequence[str], *, seed: int
) -> list[PairTest]:
    """Compare each two methods in each metric of sets, by exchanging edits of source videos.

    Holm goes over the pairs of a metric: several metrics of the same features say much the same.
    """
    known = {(value.metric, value.method) for value in values if value.value is not None}
    tests: list[PairTest] = []
    for metric in metrics:
        found = [
            _set_test(features, metric, pair, seed)
            for pair in combinations(features.methods, 2)
            if all((metric, method) in known for method in pair)
        ]
        tests += adjusted([test for test in found if test is not None])
    return tests


def _set_test(
    features: SetFeatures, name: str, pair: tuple[str, str], seed: int
) -> PairTest | None:
    """None where it would take too long, or nothing can be tested."""
    metric = SETS[name]
    one, two = (features.sample(features.of(metric.features.name, each)) for each in pair)
    if min(one.edits_MD.shape) > _MAX_SWAP_SIDE:
        return None
    clusters_M = one.edit_clusters_M

    def difference(a_MD: Features, b_MD: Features) -> float:
        a, b = (metric.statistic.value(replace(one, edits_MD=each)) for each in (a_MD, b_MD))
        return a - b

    sides = one.edits_MD, two.edits_MD
    try:
        p_value = label_swap_p(difference, *sides, clusters_M, seed=seed, num_swaps=NUM_SWAPS)
        seen = difference(*sides)
    except Undefined:
        return None
    return PairTest(
        name,
        *pair,
        difference=seen,
        p_value=p_value,
        p_holm=p_value,
        num_clips=len(features.of(metric.features.name, pair[0])),
        num_groups=len(np.unique(clusters_M)),
    )
