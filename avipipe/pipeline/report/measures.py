"""Evidence against thresholds, one clip at a time and over all clips as a threshold moves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from avipipe.pipeline.report.model import Curve, Measure
from avipipe.pipeline.words import WORDINGS
from avipipe.stages.decide import CHECKS, Check, DecideConfig, Finding, judge

_STAGES = {check.threshold: check.stage for check in CHECKS}
_NUM_STEPS = 96
_DBFS_RANGE = (-90.0, 0.0)


def measure(finding: Finding) -> Measure:
    """What one check found, on a scale that is the same for every clip."""
    wording = WORDINGS[finding.threshold]
    low, high = _scale(finding.threshold, finding.limit)
    return Measure(
        _STAGES[finding.threshold],
        wording.claim,
        wording.quantity,
        wording.unit,
        finding.value,
        finding.limit,
        finding.sense,
        finding.passed,
        low,
        high,
    )


def deciding(found: Sequence[Finding]) -> Finding | None:
    """The first check that is not passed, else the one that is passed most narrowly.

    Counts pass or do not, never narrowly. None where there is no such check.
    """
    missed = next((finding for finding in found if not finding.passed), None)
    if missed is not None:
        return missed
    known = (f for f in found if f.value is not None and not _is_count(f.threshold))
    return min(known, key=_slack, default=None)


def _slack(finding: Finding) -> float:
    """Distance from the threshold, over that of the far end of the scale."""
    low, high = _scale(finding.threshold, finding.limit)
    room = high - finding.limit if finding.sense == "at_least" else finding.limit - low
    assert finding.value is not None
    return abs(finding.value - finding.limit) / (room or 1.0)


@dataclass(slots=True)
class WhatIf:
    """Gathers, clip by clip, what each threshold alone decides. Two numbers a clip and check."""

    config: DecideConfig
    _settled: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _open: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, float | None], hours: float) -> None:
        """Take in a clip. `values`: its `measures`, as far as evidence was gathered."""
        found = judge(values, self.config)
        rows = self._settled if len(found) == len(CHECKS) else self._open
        missed = [finding.threshold for finding in found if not finding.passed]
        for finding in found:
            name = finding.threshold
            self._known[name] = self._known.get(name, 0) + 1
            if missed in ([], [name]):
                rows.setdefault(name, []).append((_comparable(finding), hours))

    def curves(self) -> tuple[Curve, ...]:
        """One for each threshold that some clip has evidence about, in the order of the checks."""
        return tuple(self._curve(check) for check in CHECKS if check.threshold in self._known)

    def _curve(self, check: Check) -> Curve:
        wording = WORDINGS[check.threshold]
        limit = float(getattr(self.config, check.threshold))
        settled = _column(self._settled.get(check.threshold, ()))
        open_ = _column(self._open.get(check.threshold, ()))
        xs = _steps(check.threshold, limit, np.concatenate([settled[:, 0], open_[:, 0]]))
        settled_items, settled_hours = _kept(settled, xs, check.sense)
        open_items, open_hours = _kept(open_, xs, check.sense)
        return Curve(
            threshold=check.threshold,
            claim=wording.claim,
            quantity=wording.quantity,
            unit=wording.unit,
            stage=check.stage,
            sense=check.sense,
            limit=limit,
            num_known=self._known[check.threshold],
            xs=tuple(xs.tolist()),
            settled=tuple(int(count) for count in settled_items),
            open=tuple(int(count) for count in open_items),
            settled_hours=tuple(settled_hours.tolist()),
            open_hours=tuple(open_hours.tolist()),
        )


def _comparable(finding: Finding) -> float:
    """The value, or the best there could be where it is unknown, which always passes."""
    if finding.value is not None:
        return finding.value
    return float("inf") if finding.sense == "at_least" else float("-inf")


def _column(pairs: Iterable[tuple[float, float]]) -> npt.NDArray[np.float64]:
    return np.array(list(pairs), np.float64).reshape(-1, 2)


def _kept(
    rows_N2: npt.NDArray[np.float64], xs: npt.NDArray[np.float64], sense: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Items and hours whose value passes at each threshold, as `findings` compares them."""
    order = np.argsort(rows_N2[:, 0], kind="stable")
    values, hours = rows_N2[order, 0], rows_N2[order, 1]
    summed = np.concatenate([[0.0], np.cumsum(hours)])
    if sense == "at_most":
        count = np.searchsorted(values, xs, side="right")
        return count, summed[count]
    below = np.searchsorted(values, xs, side="left")
    return values.size - below, summed[-1] - summed[below]


def _steps(
    threshold: str, limit: float, values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Thresholds to try: where the bulk of the values lies, the configured one among them."""
    values = values[np.isfinite(values)]
    low, high = _scale(threshold, limit)
    if values.size:
        low = min(low, np.quantile(values, 0.02, method="lower"))
        high = max(limit, np.quantile(values, 0.98, method="higher"))
    floor, ceiling = _bounds(threshold)
    if _is_count(threshold):
        first, last = max(np.floor(low), floor), np.ceil(high) + 1
        # A limit far beyond all values, which turns a check off, must not become as many steps.
        num_steps = int(min(last - first + 1, _NUM_STEPS))
        return np.unique(np.append(np.rint(np.linspace(first, last, num_steps)), limit))
    margin = 0.05 * (high - low)
    span = np.linspace(max(low - margin, floor), min(high + margin, ceiling), _NUM_STEPS)
    return np.unique(np.append(span, limit))


def _scale(threshold: str, limit: float) -> tuple[float, float]:
    """Ends of the axis that shows a measure: about the threshold."""
    if threshold.endswith("_dbfs"):
        return _DBFS_RANGE
    _, ceiling = _bounds(threshold)
    return min(0.0, 2 * limit), min(ceiling, 2 * limit) if limit > 0 else 1.0


def _bounds(threshold: str) -> tuple[float, float]:
    """What the configuration allows a threshold to be."""
    floor, ceiling = float("-inf"), float("inf")
    for rule in DecideConfig.model_fields[threshold].metadata:
        if isinstance(rule, Ge):
            floor = float(rule.ge)  # type: ignore[arg-type]
        elif isinstance(rule, Le):
            ceiling = float(rule.le)  # type: ignore[arg-type]
    return floor, ceiling


def _is_count(threshold: str) -> bool:
    return DecideConfig.model_fields[threshold].annotation is int
