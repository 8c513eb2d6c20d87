"""What the report says of metrics of whole sets, a table beside the leaderboard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from avipipe.evaluate.aggregate import PairTest, letters
from avipipe.evaluate.catalogue.sets import SETS
from avipipe.evaluate.conclude import Conclusion
from avipipe.evaluate.report.figures import SENSES, decimals, number
from avipipe.evaluate.tables import SetValue


@dataclass(frozen=True, slots=True)
class SetCell:
    """A number of a set as text; every part may be empty.

    Attributes:
        clips: of how many clips, and the rank of their covariance.
        letter: methods that share one do not differ.
    """

    value: str
    interval: str = ""
    infinity: str = ""
    clips: str = ""
    letter: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SetLine:
    """A metric of sets, with a cell for each column of the leaderboard.

    Attributes:
        null: what halves of the sources have to each other: the mean, and what 39 of 40 stay below.
        reason: why it has no number at all.
    """

    metric: str
    words: str
    arrow: str
    cells: tuple[SetCell, ...]
    null: str
    null_high: str
    reason: str = ""


def set_lines(conclusion: Conclusion, columns: Sequence[str]) -> Iterator[SetLine]:
    """A line for each metric of sets that was asked for.

    Args:
        columns: names of methods and controls, in the order of the leaderboard.
    """
    by_metric: dict[str, dict[str, SetValue]] = {}
    for row in conclusion.values:
        by_metric.setdefault(row.metric, {})[row.method] = row
    for name, rows in by_metric.items():
        own = [rows[column] for column in columns]
        yield _line(name, own, [test for test in conclusion.value_tests if test.metric == name])


def _line(name: str, rows: Sequence[SetValue], tests: Sequence[PairTest]) -> SetLine:
    metric = SETS[name]
    values = [row.value for row in rows if row.value is not None]
    places = decimals(values) if values else 0
    means = {row.method: row.value for row in rows if row.value is not None and not row.control}
    marks = letters(means, tests, metric.sense) if tests else {}
    cells = tuple(_cell(row, places, marks.get(row.method, "")) for row in rows)
    reason = "" if values else f"{rows[0].status}: {rows[0].reason}"
    nulls = [row for row in rows if row.null is not None and not row.control]  # all are alike
    null, null_high = _null(nulls[0], places) if nulls else ("", "")
    return SetLine(name, metric.words, SENSES[metric.sense], cells, null, null_high, reason)


def _null(row: SetValue, places: int) -> tuple[str, str]:
    assert row.null is not None
    assert row.null_high is not None
    return number(row.null, places), number(row.null_high, places)


def _cell(row: SetValue, places: int, letter: str) -> SetCell:
    if row.value is None:
        return SetCell("–", reason=row.reason)
    interval = infinity = ""
    if row.low is not None and row.high is not None:
        interval = f"{number(row.low, places)} to {number(row.high, places)}"
    if row.infinity is not None:
        infinity = number(row.infinity, places)
    clips = f"{row.num_ok} of {row.num_total} clips"
    if row.rank is not None:
        clips += f", rank {row.rank} of {row.num_dims}"
    return SetCell(number(row.value, places), interval, infinity, clips, letter, row.reason)
