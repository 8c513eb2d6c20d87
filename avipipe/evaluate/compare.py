"""Compares two runs: what changed in which metric, and whether that is more than chance."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from avipipe.errors import ManifestError
from avipipe.evaluate.aggregate import Scores
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.bootstrap import clustered_interval
from avipipe.evaluate.statistics.paired import holm, sign_flip_p
from avipipe.evaluate.tables import EvaluateRun


@dataclass(frozen=True, slots=True)
class RunChange:
    """How a metric of a method differs between two runs, on the cases that both have numbers for.

    Attributes:
        before, after: means; None where the two cannot be compared.
        difference: after minus before, with its interval of 95 % by source video.
        reason: why there is no comparison, or no interval.
    """

    metric: str
    method: str
    before: float | None
    after: float | None
    difference: float | None
    low: float | None = None
    high: float | None = None
    p_holm: float | None = None
    num_clips: int = 0
    reason: str = ""


def compare(before: EvaluateRun, after: EvaluateRun) -> list[RunChange]:
    """Compare two runs by metric and method; numbers of two versions of a metric are not compared.

    Raises:
        ManifestError: they have no method and metric in common.
    """
    one, two = Scores(before.clips), Scores(after.clips)
    pairs = [pair for pair in one.values if pair in two.values]
    if not pairs:
        raise ManifestError(
            f"{before.folder} and {after.folder} have no method and metric in common: "
            f"{', '.join(one.controls)} here, {', '.join(two.controls)} there"
        )
    found = [_change(before, after, one, two, *pair) for pair in pairs]
    tested = [place for place, change in enumerate(found) if change.p_holm is not None]
    if tested:
        adjusted = holm(np.array([found[place].p_holm for place in tested], np.float64))
        for place, p_holm in zip(tested, adjusted, strict=True):
            found[place] = replace(found[place], p_holm=float(p_holm))
    return found


def _change(
    before: EvaluateRun, after: EvaluateRun, one: Scores, two: Scores, metric: str, method: str
) -> RunChange:
    versions = [_identity(run.facts, metric) for run in (before, after)]
    if versions[0] != versions[1]:
        reason = "the metric, its views or its judge are others"
        return RunChange(metric, method, None, None, None, reason=reason)
    names = sorted(one.values[metric, method].keys() & two.values[metric, method].keys())
    if not names:
        reason = "no case has a number in both"
        return RunChange(metric, method, None, None, None, reason=reason)
    old, new = (
        np.array([scores.values[metric, method][name] for name in names]) for scores in (one, two)
    )
    differences = new - old
    means = float(old.mean()), float(new.mean()), float(differences.mean())
    clusters = one.clusters(names)
    try:
        seed = int(before.facts["seed"])
        found = clustered_interval(differences, clusters, rng=np.random.default_rng(seed))
        p_value = sign_flip_p(differences, clusters, seed=seed)
    except Undefined as error:
        return RunChange(metric, method, *means, num_clips=len(names), reason=error.reason)
    return RunChange(metric, method, *means, found.low, found.high, p_value, len(names))


def _identity(facts: Mapping[str, Any], metric: str) -> tuple[Any, ...]:
    own = facts["metrics"][metric]
    # Runs of older versions asked no judge.
    return facts["views"], own["version"], own["weights"], own.get("judge", "")
