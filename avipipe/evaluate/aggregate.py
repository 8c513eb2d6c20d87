"""From scores of cases to what can be said of methods: means, intervals, and which differ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from avipipe.evaluate.metric import Sense
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.bootstrap import clustered_interval
from avipipe.evaluate.statistics.paired import holm, sign_flip_p
from avipipe.evaluate.tables import ClipScore, SetScore, Support

ALPHA = 0.05
"""Chance, after Holm, at which two methods are said to differ; the usual one."""


@dataclass(frozen=True, slots=True)
class PairTest:
    """Whether two methods, or a control and a copy, differ in a metric on the same cases.

    Attributes:
        difference: mean of `method` minus that of `other`.
        p_value: of flipped signs by source video; `p_holm` adjusted for all tests of the kind.
    """

    metric: str
    method: str
    other: str
    difference: float
    p_value: float
    p_holm: float
    num_clips: int
    num_groups: int

    @property
    def differs(self) -> bool:
        return self.p_holm < ALPHA


Values = Mapping[str, float]
"""Case -> value, of the cases that have one."""


class Scores:
    """The scores of a run by metric and method."""

    def __init__(self, clips: Iterable[ClipScore]) -> None:
        self.values: dict[tuple[str, str], dict[str, float]] = {}
        self.names: dict[str, set[str]] = {}
        self.groups: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.controls: dict[str, str] = {}
        self.metrics: dict[str, None] = {}
        for clip in clips:
            own = self.values.setdefault((clip.metric, clip.method), {})
            if clip.value is not None:
                own[clip.name] = clip.value
            self.names.setdefault(clip.method, set()).add(clip.name)
            self.groups[clip.name] = clip.group
            self.labels[clip.name] = clip.label
            self.kinds[clip.name] = clip.kind
            self.controls[clip.method] = clip.control
            self.metrics[clip.metric] = None

    @property
    def methods(self) -> list[str]:
        """Those that edit, without controls."""
        return sorted(method for method, control in self.controls.items() if not control)

    def common(self, metric: str) -> set[str]:
        """The cases that every method has a number for."""
        own = [set(self.values[metric, method]) for method in self.methods]
        return set.intersection(*own) if own else set()

    def of(self, metric: str, method: str, names: Iterable[str]) -> Values:
        """Values of a method for some of the cases, in the order of their names."""
        own = self.values[metric, method]
        return {name: own[name] for name in sorted(names) if name in own}

    def clusters(self, names: Iterable[str]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """The source video of each case, as a number."""
        order = {group: number for number, group in enumerate(sorted(set(self.groups.values())))}
        return np.array([order[self.groups[name]] for name in names], np.int64)


def set_scores(scores: Scores, *, seed: int) -> list[SetScore]:
    """Means of all methods and controls by metric: over both supports, by class, by kind."""
    rows = []
    for metric in scores.metrics:
        common = scores.common(metric)
        for method in [*scores.methods, *(m for m, control in scores.controls.items() if control)]:
            names = scores.names[method]
            rows.append(_with_interval(scores, metric, method, names, "complete", seed))
            rows.append(_with_interval(scores, metric, method, common & names, "common", seed))
            labels = sorted({scores.labels[name] for name in names} - {""})
            kinds = sorted({scores.kinds[name] for name in names} - {""})
            slices = [{"label": label} for label in labels] + [{"kind": kind} for kind in kinds]
            rows += [
                _mean(scores, metric, method, common & names, "common", **own) for own in slices
            ]
    return rows


def _with_interval(
    scores: Scores, metric: str, method: str, cases: set[str], support: Support, seed: int
) -> SetScore:
    row = _mean(scores, metric, method, cases, support)
    values = scores.of(metric, method, cases)
    try:
        rng = np.random.default_rng(seed)  # the same draw for all: equal scores, equal intervals
        found = clustered_interval(
            np.array(list(values.values())), scores.clusters(values), rng=rng
        )
    except Undefined as error:
        return replace(row, reason=error.reason)
    return replace(row, low=found.low, high=found.high)


def _mean(
    scores: Scores,
    metric: str,
    method: str,
    cases: set[str],
    support: Support,
    *,
    label: str = "",
    kind: str = "",
) -> SetScore:
    """Of the cases of a class or of a kind, or of all."""
    names = {
        name
        for name in scores.names[method]
        if label in ("", scores.labels[name]) and kind in ("", scores.kinds[name])
    }
    values = scores.of(metric, method, cases & names)
    return SetScore(
        method=method,
        control=scores.controls[method],
        metric=metric,
        label=label,
        kind=kind,
        support=support,
        mean=float(np.mean(list(values.values()))) if values else None,
        low=None,
        high=None,
        num_ok=len(values),
        num_total=len(names),
        num_groups=len({scores.groups[name] for name in values}),
    )


def pair_tests(scores: Scores, metrics: Sequence[str], *, seed: int) -> list[PairTest]:
    """Compare each two methods in each metric, on the cases that all methods have a number for.

    Args:
        metrics: those with a better and a worse.
    """
    found = [
        _pair_test(scores, metric, pair, scores.common(metric), seed)
        for metric in metrics
        for pair in combinations(scores.methods, 2)
    ]
    return adjusted([test for test in found if test is not None])


def control_tests(scores: Scores, metrics: Sequence[str], *, seed: int) -> list[PairTest]:
    """Can a metric tell each control from a copy of the source? On the cases of both."""
    by_control = {control: method for method, control in scores.controls.items() if control}
    copy = by_control.pop("copy", None)
    if copy is None:
        return []
    found = []
    for metric in metrics:
        for method in by_control.values():
            names = scores.values[metric, method].keys() & scores.values[metric, copy].keys()
            found.append(_pair_test(scores, metric, (method, copy), names, seed))
    return adjusted([test for test in found if test is not None])


def _pair_test(
    scores: Scores, metric: str, pair: tuple[str, str], names: Iterable[str], seed: int
) -> PairTest | None:
    """None where nothing can be tested, as with a single source video."""
    ordered = sorted(names)
    one, two = (scores.values[metric, each] for each in pair)
    differences_N = np.array([one[name] - two[name] for name in ordered])
    clusters_N = scores.clusters(ordered)
    try:
        p_value = sign_flip_p(differences_N, clusters_N, seed=seed)
    except Undefined:
        return None
    return PairTest(
        metric,
        *pair,
        difference=float(differences_N.mean()),
        p_value=p_value,
        p_holm=p_value,
        num_clips=len(ordered),
        num_groups=len(set(clusters_N.tolist())),
    )


def adjusted(found: list[PairTest]) -> list[PairTest]:
    """The same tests with their p values after Holm, over all of them."""
    if not found:
        return []
    p_values = holm(np.array([test.p_value for test in found]))
    return [
        replace(test, p_holm=float(p_holm)) for test, p_holm in zip(found, p_values, strict=True)
    ]


def letters(means: Mapping[str, float], tests: Iterable[PairTest], sense: Sense) -> dict[str, str]:
    """Methods that share a letter do not differ; `a` holds the best.

    Args:
        means: of the methods in one metric.
        tests: of that metric.
    """
    different = {frozenset((test.method, test.other)) for test in tests if test.differs}
    order = sorted(means, key=lambda method: means[method], reverse=sense != "lower")
    runs: list[range] = []
    for first in range(len(order)):
        last = first
        while last + 1 < len(order) and not any(
            frozenset((order[last + 1], order[each])) in different
            for each in range(first, last + 1)
        ):
            last += 1
        if not runs or last >= runs[-1].stop:
            runs.append(range(first, last + 1))
    return {
        method: "".join(chr(ord("a") + n) for n, run in enumerate(runs) if place in run)
        for place, method in enumerate(order)
    }
