"""A table of a paper with our numbers beside the published ones."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from avipipe.evaluate.conclude import Conclusion
from avipipe.evaluate.paper_tables import PaperColumn, PaperRow, PaperTable
from avipipe.evaluate.report.figures import SENSES, number
from avipipe.evaluate.tables import SetScore, SetValue

COPY = "control: copy"
"""The row of the source itself: what doing nothing is worth."""

PROTOCOLS = {
    "unknown": "protocol unknown",
    "differs": "another protocol",
}
"""What a column's numbers are to the paper's, in words."""

GIB = 2**30

RowState = Literal["published only", "missing", "run"]


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """How a row of a table was made.

    Attributes:
        reason: what is missing, and how to get it.
        failed: case -> why its edit failed.
        memory_bytes: most that was held on the device; None where nobody looked.
    """

    row: PaperRow
    state: RowState
    reason: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PaperCell:
    """A number of ours, in the paper's unit, beside the paper's.

    Attributes:
        low, high: interval of 95 %, drawn by source video; None where there is none.
        num_ok: edits that it is of, of `num_total` that there should be.
        reason: why there is none of ours.
    """

    published: float | None
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    num_ok: int = 0
    num_total: int = 0
    reason: str = ""

    def lines(self, places: int) -> list[str]:
        """What is shown of it: ours, its interval and count, the paper's."""
        told = []
        if self.ours is not None:
            told.append(number(self.ours, places))
            if self.low is not None and self.high is not None:
                told.append(f"[{number(self.low, places)}, {number(self.high, places)}]")
            told.append(f"{self.num_ok} of {self.num_total}")
        if self.published is not None:
            told.append(f"paper {number(self.published, places)}")
        return told or ["-"]


@dataclass(frozen=True, slots=True)
class FilledRow:
    """A row with its cells; of the copy of the sources, `outcome` is None."""

    label: str
    outcome: RowOutcome | None
    cells: tuple[PaperCell, ...]


@dataclass(frozen=True, slots=True)
class FilledTable:
    """A table of a paper on one benchmark, with all numbers that there are."""

    table: PaperTable
    benchmark: str
    rows: tuple[FilledRow, ...]

    @property
    def heads(self) -> list[str]:
        """Of the columns: label, which way is better, metric, and what its protocol is."""
        return [
            f"{column.label} {SENSES[column.sense]}\n{_measure(column)}\n"
            f"{PROTOCOLS[column.protocol]}"
            for column in self.table.columns
        ]

    @property
    def remarks(self) -> list[str]:
        """What there is to know of rows, a line each; of those alike, one for all."""
        told: dict[str, list[str]] = {}
        for row in self.rows:
            for text in _remarks(row.outcome) if row.outcome else ():
                told.setdefault(text, []).append(row.label)
        return [f"{', '.join(labels)}: {text}" for text, labels in told.items()]

    @property
    def unmeasured(self) -> dict[str, str]:
        """Column -> why it has no number of ours in any row that was made."""
        found = {}
        made = [row for row in self.rows if row.outcome and row.outcome.state == "run"]
        for place, column in enumerate(self.table.columns):
            cells = [row.cells[place] for row in made]
            if cells and all(cell.ours is None for cell in cells):
                found[column.label] = Counter(cell.reason for cell in cells).most_common(1)[0][0]
            elif not cells and column.lack:
                found[column.label] = column.lack
        return found


def filled(
    table: PaperTable,
    benchmark: str,
    outcomes: Sequence[RowOutcome],
    conclusion: Conclusion | None,
) -> FilledTable:
    """Put numbers into a table.

    Args:
        outcomes: of the rows that are shown; edits of a row are a method of its name.
        conclusion: what was measured of them; None where nothing was.
    """
    published = table.published(benchmark)
    measured = set[str]() if conclusion is None else {c.method for c in conclusion.run.cases}
    rows = []
    for outcome in outcomes:
        row = outcome.row
        numbers = zip(table.columns, published[row.name], strict=True)
        cells = tuple(
            _cell(column, told, row.name, outcome, conclusion)
            if row.name in measured
            else PaperCell(told, reason=outcome.reason or column.lack)
            for column, told in numbers
        )
        rows.append(FilledRow(row.label, outcome, cells))
    copy = _copy(table, conclusion) if COPY in measured else ()
    if any(cell.ours is not None for cell in copy):
        rows.append(FilledRow("copy of the source", None, copy))
    return FilledTable(table, benchmark, tuple(rows))


def _copy(table: PaperTable, conclusion: Conclusion | None) -> tuple[PaperCell, ...]:
    return tuple(
        PaperCell(None) if column.cost else _cell(column, None, COPY, None, conclusion)
        for column in table.columns
    )


def _cell(
    column: PaperColumn,
    published: float | None,
    method: str,
    outcome: RowOutcome | None,
    conclusion: Conclusion | None,
) -> PaperCell:
    assert conclusion is not None, "something was measured"
    if column.lack:
        return PaperCell(published, reason=column.lack)
    if column.metric is None:
        return _cost(column, published, method, outcome, conclusion)
    for score in conclusion.sets:
        key = (score.metric, score.method, score.support, score.label)
        if key == (column.metric, method, "complete", ""):
            why = _why(conclusion, column.metric, method)
            return _numbers(column, published, score, score.mean, why)
    for value in conclusion.values:
        if (value.metric, value.method) == (column.metric, method):
            return _numbers(column, published, value, value.value, value.reason)
    return PaperCell(published, reason="nothing was measured")


def _numbers(
    column: PaperColumn,
    published: float | None,
    measured: SetScore | SetValue,
    ours: float | None,
    reason: str,
) -> PaperCell:
    """A cell in the paper's unit; the reason is told where there is no number."""

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * column.scale

    return PaperCell(
        published,
        scaled(ours),
        scaled(measured.low),
        scaled(measured.high),
        measured.num_ok,
        measured.num_total,
        reason if ours is None else "",
    )


def _cost(
    column: PaperColumn,
    published: float | None,
    method: str,
    outcome: RowOutcome | None,
    conclusion: Conclusion,
) -> PaperCell:
    cases = [case for case in conclusion.run.cases if case.method == method]
    times_s = [case.making_s for case in cases if case.making_s is not None]
    count = (len(times_s), len(cases))
    if column.cost == "time_s":
        ours = fmean(times_s) if times_s else None
        reason = "" if times_s else "no edit was made"
        return PaperCell(published, ours, None, None, *count, reason)
    memory_bytes = None if outcome is None else outcome.memory_bytes
    if memory_bytes is None:
        return PaperCell(published, reason="no GPU was at work")
    return PaperCell(published, memory_bytes / GIB, None, None, *count)


def _why(conclusion: Conclusion, metric: str, method: str) -> str:
    """The commonest reason why cases have no score."""
    reasons = Counter(
        clip.reason
        for clip in conclusion.run.clips
        if (clip.metric, clip.method) == (metric, method) and clip.value is None
    )
    return reasons.most_common(1)[0][0] if reasons else ""


def _measure(column: PaperColumn) -> str:
    """What stands for a column, in words."""
    return column.metric or ("cost of an edit" if column.cost else "not measured")


def markdown(found: FilledTable, missing: Mapping[str, Sequence[str]]) -> str:
    """A table as a page of Markdown.

    Args:
        missing: heading -> what is missing, a line each.
    """
    table = found.table
    lines = [
        f"# {table.paper}: {table.place}",
        "",
        f"On {found.benchmark}. Each cell has ours with its interval of 95 % and the edits that it "
        "is of, then the paper's. They are of different protocols: they stand beside each other "
        "and do not rank. Rows with other counts are of other edits; measured/report.html compares "
        "them on those that all have.",
        *(["", table.note] if table.note else []),
        "",
        _line(["", *found.heads]),
        _line(["---"] * (1 + len(table.columns))),
    ]
    for row in found.rows:
        shown = (
            "\n".join(cell.lines(column.places))
            for column, cell in zip(table.columns, row.cells, strict=True)
        )
        lines.append(_line([row.label, *shown]))
    columns = {
        column.label: f"{_measure(column)}: {PROTOCOLS[column.protocol]}: {column.note}".strip(": ")
        for column in table.columns
    }
    sections = {
        "Columns": [f"{label}: {text}" for label, text in columns.items()],
        "Rows": found.remarks,
        "Not measured": [f"{label}: {text}" for label, text in found.unmeasured.items()],
        **missing,
    }
    for heading, items in sections.items():
        if items:
            lines += ["", f"## {heading}", "", *(f"- {_inline(item)}" for item in items)]
    return "\n".join(lines) + "\n"


def _remarks(outcome: RowOutcome) -> list[str]:
    told = {
        "run": outcome.reason,
        "missing": f"missing: {outcome.reason}",
        "published only": "published numbers only: this method is not implemented here",
    }[outcome.state]
    reasons = Counter(outcome.failed.values()).most_common()
    failed = [f"{count} of its edits failed: {reason}" for reason, count in reasons]
    return [text for text in (told, *failed, outcome.row.note) if text]


def _line(cells: Sequence[str]) -> str:
    return (
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"
    )


def _inline(text: str) -> str:
    """A text in one line; what follows its first one, such as a list of weights, after `;`."""
    return "; ".join(filter(None, (line.strip() for line in text.splitlines())))
