"""What the report says, ready to be drawn: tables, strips, controls, slices, cost."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean
from typing import Any

from avipipe.evaluate.aggregate import ALPHA, PairTest, letters
from avipipe.evaluate.catalogue import METRICS
from avipipe.evaluate.conclude import Conclusion
from avipipe.evaluate.controls import CONTROLS
from avipipe.evaluate.metric import Family, Sense
from avipipe.evaluate.report.accounts import Accounts, accounts_of
from avipipe.evaluate.report.curves import CurveLine, curve_lines
from avipipe.evaluate.report.figures import SENSES, decimals, number
from avipipe.evaluate.report.offsets import OffsetLine, offset_lines
from avipipe.evaluate.report.sets import SetLine, set_lines
from avipipe.evaluate.tables import ClipScore, FeatureRow, SetScore, Support

Sets = Mapping[tuple[str, str, Support], SetScore]
"""(metric, method, support) -> its row."""

FAMILIES: dict[Family, str] = {
    "picture": "What is kept of the picture",
    "motion": "Steadiness and motion",
    "mask": "The mask",
    "text": "What was asked for",
    "sound": "The sound",
    "synchrony": "Picture and sound together",
}
"""Family -> its heading, in the order of the report."""

_PADDING = 0.06
"""Free share of a strip at either end, so that no mark touches the edge."""


@dataclass(frozen=True, slots=True)
class Column:
    """A method or control of the leaderboard; `colour` is the number of its colour."""

    name: str
    control: str
    words: str
    colour: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean with its interval, as text and as places on a strip, in percent.

    Attributes:
        num: of cases, for a control that lacks some of those that are compared.
        letter: methods that share one do not differ.
        complete: the mean over all cases that a method has a number for, where it has more.
    """

    value: str
    interval: str
    num: str
    letter: str
    complete: str
    reason: str
    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A metric of the leaderboard, with a cell for each column."""

    metric: str
    words: str
    unit: str
    arrow: str
    num_cases: str
    cells: tuple[Cell, ...]
    low: str
    high: str

    @property
    def is_parted(self) -> bool:
        """Whether any two methods differ."""
        return len({cell.letter for cell in self.cells if cell.letter}) > 1


@dataclass(frozen=True, slots=True)
class ControlLine:
    """What a metric makes of the controls: verdict and words for each but the copy.

    Attributes:
        best: how the best method stands to a copy of the source.
    """

    metric: str
    arrow: str
    verdicts: tuple[tuple[str, str], ...]
    best: str


@dataclass(frozen=True, slots=True)
class SliceTable:
    """Means of a metric by class; a row is a class, the number of its cases, and the means."""

    metric: str
    arrow: str
    unit: str
    rows: tuple[tuple[str, int, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class MetricCost:
    """CPU time that a metric took a case, where it was measured."""

    metric: str
    seconds: float


@dataclass(frozen=True, slots=True)
class EvaluatePage:
    """All that the report shows but its films."""

    title: str
    columns: tuple[Column, ...]
    families: tuple[tuple[str, tuple[Line, ...]], ...]
    controls: tuple[ControlLine, ...]
    statuses: Mapping[str, int]
    slices: tuple[SliceTable, ...]
    kinds: tuple[SliceTable, ...]
    accounts: Accounts
    costs: tuple[MetricCost, ...]
    making: tuple[tuple[str, str, int], ...]
    sets: tuple[SetLine, ...]
    offsets: tuple[OffsetLine, ...]
    curves: tuple[CurveLine, ...]
    num_cases: int
    num_groups: int
    num_tests: int
    blind: str
    control_blind: str
    facts: Mapping[str, Any]

    @property
    def common(self) -> str:
        """Over how many of the cases all metrics are, if over as many, and not over all."""
        found = {line.num_cases for _, lines in self.families for line in lines}
        return found.pop() if len(found) == 1 else ""


def page_of(conclusion: Conclusion) -> EvaluatePage:
    """What a run found, as the report says it."""
    run = conclusion.run
    rows: list[ClipScore | FeatureRow] = [*run.clips, *run.features]
    columns = tuple(_columns(rows))
    sets = {
        (row.metric, row.method, row.support): row for row in conclusion.sets if not row.is_slice
    }
    measured = {row.metric for row in conclusion.sets if row.mean is not None}
    lines = [
        _line(metric, columns, sets, conclusion.tests) for metric in METRICS if metric in measured
    ]
    edits = [row for row in rows if not row.control]
    return EvaluatePage(
        title=run.folder.absolute().name,
        columns=columns,
        families=tuple(_families(lines)),
        controls=tuple(_control_lines(conclusion, columns, lines, sets)),
        statuses=Counter(clip.status for clip in run.clips),
        slices=tuple(_slices(conclusion.sets, columns, attrgetter("label"))),
        kinds=tuple(_slices(conclusion.sets, columns, attrgetter("kind"))),
        accounts=accounts_of(run, measured),
        costs=tuple(_costs(run.clips)),
        making=tuple(_making(conclusion)),
        sets=tuple(set_lines(conclusion, [column.name for column in columns])),
        offsets=tuple(offset_lines(run.clips, [column.name for column in columns])),
        curves=tuple(curve_lines(conclusion.mask_curves)),
        num_cases=len({row.name for row in edits}),
        num_groups=len({row.group for row in edits}),
        num_tests=len(conclusion.tests),
        blind=_blind(conclusion.tests),
        control_blind=_blind(conclusion.controls),
        facts=run.facts,
    )


def _blind(tests: Sequence[PairTest]) -> str:
    """Why no test could find anything, however large: too few source videos."""
    if not tests:
        return ""
    num_groups = max(test.num_groups for test in tests)
    least = 2.0 ** (1 - num_groups) * len(tests)
    if least < ALPHA:
        return ""
    tested = f"{len(tests)} tests"
    return f"With {num_groups} source videos no difference, however large, can pass {tested}."


def _columns(rows: Sequence[ClipScore | FeatureRow]) -> Iterator[Column]:
    found = {row.method: row.control for row in rows}
    methods = sorted(name for name, control in found.items() if not control)
    yield from (Column(name, "", name, place) for place, name in enumerate(methods))
    for place, (control, words) in enumerate(CONTROLS.items()):
        for name, own in found.items():
            if own == control:
                yield Column(name, control, words, place)


def _families(lines: Sequence[Line]) -> Iterator[tuple[str, tuple[Line, ...]]]:
    for family, heading in FAMILIES.items():
        own = tuple(line for line in lines if METRICS[line.metric].family == family)
        if own:
            yield heading, own


def _line(
    metric: str,
    columns: Sequence[Column],
    sets: Sets,
    tests: Sequence[PairTest],
) -> Line:
    own = METRICS[metric]
    rows = [sets[metric, column.name, "common"] for column in columns]
    num_common = max((row.num_ok for row in rows if not row.control), default=0)
    num_total = max((row.num_total for row in rows), default=0)
    ends = [end for row in rows for end in (row.mean, row.low, row.high) if end is not None]
    ends = ends or [0.0, 1.0]
    low, high = min(ends), max(ends)
    places = decimals(ends)
    means = {row.method: row.mean for row in rows if row.mean is not None and not row.control}
    marks = letters(means, [test for test in tests if test.metric == metric], own.sense)
    cells = tuple(
        _cell(
            row,
            sets[metric, row.method, "complete"],
            marks.get(row.method, "") if own.sense != "none" and len(means) > 1 else "",
            (low, high),
            places,
            num_common,
        )
        for row in rows
    )
    return Line(
        metric,
        own.words,
        own.unit,
        SENSES[own.sense],
        "" if num_common == num_total else f"{num_common} of {num_total} cases",
        cells,
        number(low, places),
        number(high, places),
    )


def _cell(
    row: SetScore,
    complete: SetScore,
    letter: str,
    ends: tuple[float, float],
    places: int,
    num_common: int,
) -> Cell:
    low, high = ends

    def at(value: float | None) -> float | None:
        if value is None:
            return None
        share = (value - low) / (high - low) if high > low else 0.5
        return round(100 * (_PADDING + (1 - 2 * _PADDING) * share), 2)

    interval = ""
    if row.low is not None and row.high is not None and row.low != row.high:
        interval = f"{number(row.low, places)} to {number(row.high, places)}"
    other = ""
    if complete.mean is not None and complete.num_ok > row.num_ok and not row.control:
        other = f"{number(complete.mean, places)} over its own {complete.num_ok}"
    return Cell(
        value="–" if row.mean is None else number(row.mean, places),
        interval=interval,
        num="" if row.num_ok == num_common else f"{row.num_ok} cases",
        letter=letter,
        complete=other,
        reason=row.reason,
        at=at(row.mean),
        low=at(row.low),
        high=at(row.high),
    )


def _control_lines(
    conclusion: Conclusion,
    columns: Sequence[Column],
    lines: Sequence[Line],
    sets: Sets,
) -> Iterator[ControlLine]:
    """A line for each metric with a better and a worse, if there are controls."""
    others = [column for column in columns if column.control not in ("", "copy")]
    copy = next((column.name for column in columns if column.control == "copy"), None)
    tests = {(test.metric, test.method): test for test in conclusion.controls}
    for line in lines:
        sense = METRICS[line.metric].sense
        if sense == "none" or copy is None:
            continue
        verdicts = (_verdict(tests.get((line.metric, each.name)), sense) for each in others)
        best = _best(line.metric, columns, sets, sense)
        level = sets[line.metric, copy, "common"].mean
        yield ControlLine(line.metric, line.arrow, tuple(verdicts), _to_copy(best, level, sense))


def _verdict(test: PairTest | None, sense: Sense) -> tuple[str, str]:
    """A kind for its colour, and words."""
    if test is None:
        return "", "no number"
    if test.difference == 0.0 and test.p_value == 1.0:
        return "", "the same"
    if not test.differs:
        return "drop", "not told apart"
    is_worse = (test.difference < 0) == (sense == "higher")
    return ("keep", "worse") if is_worse else ("fail", "better")


def _to_copy(best: SetScore | None, level: float | None, sense: Sense) -> str:
    if best is None or best.mean is None or level is None:
        return ""
    if best.mean == level:
        return f"{best.method} equals the copy"
    is_better = best.mean > level if sense == "higher" else best.mean < level
    return f"{best.method} is {'better' if is_better else 'worse'} than the copy"


def _best(
    metric: str,
    columns: Sequence[Column],
    sets: Sets,
    sense: Sense,
) -> SetScore | None:
    rows = [sets[metric, column.name, "common"] for column in columns if not column.control]
    found = [row for row in rows if row.mean is not None]
    sign = 1 if sense == "higher" else -1
    return max(found, key=lambda row: sign * (row.mean or 0.0), default=None)


def _slices(
    sets: Sequence[SetScore], columns: Sequence[Column], label_of: Callable[[SetScore], str]
) -> Iterator[SliceTable]:
    labels = sorted({label_of(row) for row in sets} - {""})
    if len(labels) < 2:
        return
    by_key = {(row.metric, row.method, label_of(row)): row for row in sets if label_of(row)}
    for metric, own in METRICS.items():
        rows = [row for row in by_key.values() if row.metric == metric and row.mean is not None]
        if not rows:
            continue
        places = decimals([row.mean for row in rows if row.mean is not None])
        table = []
        for label in labels:
            of_label = [by_key.get((metric, column.name, label)) for column in columns]
            means = tuple(
                "–" if row is None or row.mean is None else number(row.mean, places)
                for row in of_label
            )
            table.append((label, max((r.num_ok for r in of_label if r), default=0), means))
        yield SliceTable(metric, SENSES[own.sense], own.unit, tuple(table))


def _costs(clips: Sequence[ClipScore]) -> Iterator[MetricCost]:
    spent: dict[str, list[float]] = defaultdict(list)
    for clip in clips:
        if clip.status == "ok":
            spent[clip.metric].append(clip.seconds)
    means = {metric: fmean(values) for metric, values in spent.items()}
    for metric in sorted(means, key=lambda metric: -means[metric]):
        yield MetricCost(metric, means[metric])


def _making(conclusion: Conclusion) -> Iterator[tuple[str, str, int]]:
    """What edits took to make, by method, where their maker says so."""
    spent: dict[str, list[float]] = defaultdict(list)
    for case in conclusion.run.cases:
        if case.making_s is not None and not case.control:
            spent[case.method].append(case.making_s)
    for method, values in sorted(spent.items()):
        mean_s = fmean(values)
        yield method, f"{mean_s:.1f}" if mean_s < 100 else f"{mean_s:,.0f}", len(values)
