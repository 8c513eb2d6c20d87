"""How one clip was judged, and what all clips would be judged if what is asked of them moved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from avipipe.decision.check import STAGES, Check
from avipipe.decision.checks import CHECKS, KNOWN
from avipipe.decision.judge import Judge, Judgement, LimitFinding, used_backends
from avipipe.decision.model import Contribution
from avipipe.manifests.records import Evidence
from avipipe.pipeline.calibration import uncalibrated
from avipipe.pipeline.report.model import Argument, ClipVerdict, Curve, Measure, Outlook
from avipipe.pipeline.words import WEAK_LOG_ODDS, most_against, quantity, sentence
from avipipe.stages.decide import DecideConfig

_NUM_STEPS = 96
"""Points of a curve, a few pixels apart; a choice."""
_DBFS_RANGE = (-90.0, 0.0)
"""Ends of an axis of levels: from under the noise of rooms to full scale."""

Floats = npt.NDArray[np.float64]


def gather_evidence(evidence: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """Gather what decisions rest on from the evidence of all stages."""
    return {stage: evidence[stage] for stage in STAGES if stage in evidence}


def judge_evidence(judge: Judge, evidence: Mapping[str, Evidence]) -> Judgement:
    """Decide on the evidence of a clip."""
    return judge.on(gather_evidence(evidence))


def verdict(judge: Judge, evidence: Mapping[str, Evidence]) -> ClipVerdict | None:
    """Verdict on a clip, as it is shown; None where there is no evidence."""
    known = gather_evidence(evidence)
    if not known:
        return None
    found = judge_evidence(judge, known)
    ranked = sorted(found.contributions, key=lambda each: (-abs(each.log_odds), each.measure))
    strong = [each for each in ranked if abs(each.log_odds) >= WEAK_LOG_ODDS]
    return ClipVerdict(
        probability=found.probability,
        best_probability=found.best_probability,
        min_probability=found.min_probability,
        start=judge.model.intercept,
        strong=tuple(map(_argument, strong)),
        weak=tuple(map(_argument, ranked[len(strong) :])),
        limits=tuple(map(measure, found.findings)),
        uncalibrated=uncalibrated(judge.model, used_backends(known)),
    )


def deciding(judge: Judge, evidence: Mapping[str, Evidence]) -> str:
    """Reason that a clip is dropped, in words: a hard limit, or what is most against it."""
    found = judge_evidence(judge, evidence)
    missed = next((finding for finding in found.findings if not finding.passed), None)
    if missed is not None:
        return f"Not passed: {sentence(missed)}"
    if found.reason is None or not found.contributions:
        return ""
    return most_against(found.contributions[0])


def _argument(found: Contribution) -> Argument:
    check = KNOWN[found.measure]
    return Argument(check.claim, quantity(check, found.value), found.log_odds, found.by_prior)


def measure(finding: LimitFinding) -> Measure:
    """Result of one hard limit, on a scale that is the same for every clip."""
    check = KNOWN[finding.measure]
    low, high = _scale(check.limit, finding.limit)
    return Measure(
        check.stage,
        check.claim,
        check.quantity,
        check.unit,
        finding.value,
        finding.limit,
        finding.sense,
        finding.passed,
        low,
        high,
    )


@dataclass(slots=True)
class WhatIf:
    """What-if curves, gathered clip by clip from some numbers a clip and hard limit."""

    judge: Judge
    _settled: list[tuple[float, float, bool]] = field(default_factory=list)
    _open: list[tuple[float, float, bool]] = field(default_factory=list)
    """(best probability, hours, whether all hard limits are passed) of each clip."""
    _settled_at: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _open_at: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """By limit: (value, hours) of each clip that it alone decides."""
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, evidence: Mapping[str, Evidence], hours: float) -> None:
        """Take in a clip, as far as its evidence was gathered."""
        known = gather_evidence(evidence)
        if known:
            self.take(judge_evidence(self.judge, known), hours, complete=len(known) == len(STAGES))

    def take(self, found: Judgement, hours: float, *, complete: bool) -> None:
        """Take in a clip that is judged. `complete`: on all evidence that there can be."""
        missed = [finding.measure for finding in found.findings if not finding.passed]
        rows = self._settled if complete else self._open
        rows.append((found.best_probability, hours, not missed))
        at = self._settled_at if complete else self._open_at
        is_likely = found.best_probability >= found.min_probability
        for finding in found.findings:
            name = finding.measure
            self._known[name] = self._known.get(name, 0) + 1
            if is_likely and missed in ([], [name]):
                at.setdefault(name, []).append((_comparable(finding), hours))

    def outlook(self) -> Outlook | None:
        """Outlook as the probability that is asked moves; None before any clip."""
        if not self._settled and not self._open:
            return None
        asked = self.judge.min_probability
        xs = np.unique(np.append(np.linspace(0.02, 0.98, _NUM_STEPS + 1), asked))
        settled_N3, open_N3 = _column(self._settled, 3), _column(self._open, 3)
        kept_N2 = settled_N3[settled_N3[:, 2] > 0, :2]
        items, hours = _kept(kept_N2, xs, "at_least")
        open_items, open_hours = _kept(open_N3[open_N3[:, 2] > 0, :2], xs, "at_least")
        # The same count, each clip weighted by its probability instead of its hours.
        _, good = _kept(kept_N2[:, [0, 0]], xs, "at_least")
        return Outlook(
            xs=_numbers(xs),
            settled=_counts(items),
            open=_counts(open_items),
            settled_hours=_numbers(hours),
            open_hours=_numbers(open_hours),
            precision=_ratios(good, items),
            recall=_ratios(good, np.full(xs.size, settled_N3[:, 0].sum())),
            limit=asked,
            num_settled=len(self._settled),
        )

    def curves(self) -> tuple[Curve, ...]:
        """Curves of each hard limit that is set and that some clip has evidence about."""
        return tuple(self._curve(check) for check in CHECKS if check.name in self._known)

    def _curve(self, check: Check) -> Curve:
        limit = self.judge.limits[check.name]
        settled = _column(self._settled_at.get(check.name, ()), 2)
        open_ = _column(self._open_at.get(check.name, ()), 2)
        xs = _steps(check.limit, limit, np.concatenate([settled[:, 0], open_[:, 0]]))
        settled_items, settled_hours = _kept(settled, xs, check.sense)
        open_items, open_hours = _kept(open_, xs, check.sense)
        return Curve(
            name=check.limit,
            claim=check.claim,
            quantity=check.quantity,
            unit=check.unit,
            stage=check.stage,
            sense=check.sense,
            limit=limit,
            num_known=self._known[check.name],
            xs=_numbers(xs),
            settled=_counts(settled_items),
            open=_counts(open_items),
            settled_hours=_numbers(settled_hours),
            open_hours=_numbers(open_hours),
        )


def _comparable(finding: LimitFinding) -> float:
    """The value, or the best there could be where it is unknown, which always passes."""
    if finding.value is not None:
        return finding.value
    return float("inf") if finding.sense == "at_least" else float("-inf")


def _column(rows: Iterable[Sequence[float]], width: int) -> Floats:
    return np.array(list(rows), np.float64).reshape(-1, width)


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(values.tolist())


def _counts(values: npt.NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(count) for count in values)


def _ratios(parts: Floats, wholes: npt.NDArray[np.generic]) -> tuple[float | None, ...]:
    pairs = zip(parts.tolist(), wholes.tolist(), strict=True)
    return tuple(part / whole if whole else None for part, whole in pairs)


def _kept(rows_N2: Floats, xs: Floats, sense: str) -> tuple[npt.NDArray[np.int64], Floats]:
    """Items and hours whose value passes at each limit, as `Judge` compares them."""
    order = np.argsort(rows_N2[:, 0], kind="stable")
    values, hours = rows_N2[order, 0], rows_N2[order, 1]
    summed = np.concatenate([[0.0], np.cumsum(hours)])
    if sense == "at_most":
        count = np.searchsorted(values, xs, side="right")
        return count, summed[count]
    below = np.searchsorted(values, xs, side="left")
    return values.size - below, summed[-1] - summed[below]


def _steps(name: str, limit: float, values: Floats) -> Floats:
    """Limits to try: where the bulk of the values lies, the configured one among them."""
    values = values[np.isfinite(values)]
    low, high = _scale(name, limit)
    if values.size:
        low = min(low, np.quantile(values, 0.02, method="lower"))
        high = max(limit, np.quantile(values, 0.98, method="higher"))
    floor, ceiling = _bounds(name)
    if _is_count(name):
        first, last = max(np.floor(low), floor), np.ceil(high) + 1
        # A limit far beyond all values, which asks nothing, must not become as many steps.
        num_steps = int(min(last - first + 1, _NUM_STEPS))
        return np.unique(np.append(np.rint(np.linspace(first, last, num_steps)), limit))
    margin = 0.05 * (high - low)
    span = np.linspace(max(low - margin, floor), min(high + margin, ceiling), _NUM_STEPS)
    return np.unique(np.append(span, limit))


def _scale(name: str, limit: float) -> tuple[float, float]:
    """Ends of the axis that shows a measure: about the limit."""
    if name.endswith("_dbfs"):
        return _DBFS_RANGE
    _, ceiling = _bounds(name)
    return min(0.0, 2 * limit), min(ceiling, 2 * limit) if limit > 0 else 1.0


def _bounds(name: str) -> tuple[float, float]:
    """What the configuration allows a limit to be."""
    floor, ceiling = float("-inf"), float("inf")
    for rule in DecideConfig.model_fields[name].metadata:
        if isinstance(rule, Ge):
            floor = float(rule.ge)  # type: ignore[arg-type]
        elif isinstance(rule, Le):
            ceiling = float(rule.le)  # type: ignore[arg-type]
    return floor, ceiling


def _is_count(name: str) -> bool:
    return int in get_args(DecideConfig.model_fields[name].annotation)
