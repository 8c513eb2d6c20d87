"""`avipipe eval run --table NAME --dry-run`: what a table would take."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avipipe.cli.eval_paper_rows import missing_weights
from avipipe.cli.output import echo, echo_json
from avipipe.errors import AvipipeError

if TYPE_CHECKING:
    from avipipe.cli.eval_paper import PaperRun
    from avipipe.editor.edit.config import EditConfig
    from avipipe.evaluate.paper_tables import PaperRow

_NUM_SHOWN = 20
"""Files and cases that are named on a terminal: a screen of them; `--json` names all."""


@dataclass(frozen=True, slots=True)
class PlannedWeight:
    """A weight that a table needs; its size is None where the lock file does not tell it."""

    name: str
    size_bytes: int | None
    licence: str
    is_here: bool
    needed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row before it is made.

    Attributes:
        missing: what it misses, and how to get it.
        memory: what the device will hold, in words; empty where weights are missing.
        edit_s: mean time of its edits that are there; None where there are none.
    """

    name: str
    method: str | None
    settings: tuple[str, ...]
    num_edits: int
    num_done: int
    missing: str
    weights: tuple[str, ...]
    memory: tuple[str, ...]
    edit_s: float | None

    @property
    def left_s(self) -> float | None:
        """Forecast for the edits that are still to make."""
        return None if self.edit_s is None else self.edit_s * (self.num_edits - self.num_done)


def show_plan(paper: "PaperRun", out: Path, *, as_json: bool) -> None:
    """Tell rows, weights, media and metrics; nothing is loaded or written."""
    from avipipe.evaluate.catalogue import LISTED
    from avipipe.evaluate.metric import lacking

    rows = [_planned(paper, row, out) for row in paper.rows]
    users: dict[str, list[str]] = {}
    for row in rows:
        for name in row.weights:
            users.setdefault(name, []).append(row.name)
    for name in paper.table.metrics:
        for weight in LISTED[name].weights:
            users.setdefault(weight, []).append(name)
    weights = [_weight(name, tuple(needed_by)) for name, needed_by in sorted(users.items())]
    lacks = {
        column.label: column.lack or (lacking(LISTED[column.metric]) if column.metric else "")
        for column in paper.table.columns
    }
    not_measured = {label: reason for label, reason in lacks.items() if reason}
    if as_json:
        echo_json(
            {
                "table": paper.table.name,
                "benchmark": paper.benchmark,
                "rows": [{**asdict(row), "left_s": row.left_s} for row in rows],
                "weights": [asdict(weight) for weight in weights],
                "missing": paper.missing,
                "not_measured": not_measured,
            }
        )
        return
    echo(f"{paper.table.paper}: {paper.table.place}, on {paper.benchmark}", bold=True)
    echo(f"{len(paper.editable)} of {len(paper.asked)} cases can be edited")
    for heading, items in paper.missing.items():
        for item in items[:_NUM_SHOWN]:
            echo(f"{heading}: {item}", fg="yellow")
        if len(items) > _NUM_SHOWN:
            echo(f"  and {len(items) - _NUM_SHOWN} more; --json names all", fg="yellow")
    _show_rows(rows)
    _show_weights(weights)
    for label, reason in not_measured.items():
        echo(f"{label}: not measured: {reason}", fg="yellow")


def _planned(paper: "PaperRun", row: "PaperRow", out: Path) -> PlannedRow:
    if row.method is None:
        return PlannedRow(row.name, None, (), 0, 0, row.missing, (), (), None)
    from avipipe.editor.edit.methods import find_method

    config = paper.settings.config_of(row, paper.table)
    times_s = _times_s(paper, out / row.name)
    return PlannedRow(
        row.name,
        row.method,
        tuple(row.overrides),
        len(paper.editable),
        len(times_s),
        paper.lack(row) or missing_weights(config),
        tuple(find_method(config.method).pulled(config)),
        _memory(config),
        sum(times_s) / len(times_s) if times_s else None,
    )


def _times_s(paper: "PaperRun", folder: Path) -> list[float]:
    """What each edit of a row took that is there."""
    from avipipe.evaluate.case_folders import cases_of_asked, is_batch

    if not is_batch(folder):
        return []
    names = {each.name for each in paper.editable}
    cases = cases_of_asked(paper.asked, {folder.name: folder})
    return [c.making_s for c in cases if c.name in names and c.making_s is not None]


def _memory(config: "EditConfig") -> tuple[str, ...]:
    from avipipe.editor.edit.methods import find_method

    if missing_weights(config):
        return ()
    try:
        return tuple(find_method(config.method).plan(config).lines())
    except AvipipeError as error:
        return (str(error),)


def _weight(name: str, needed_by: tuple[str, ...]) -> PlannedWeight:
    from avipipe.weights import entry, find

    weight = entry(name)
    found = find(weight)
    size_bytes = weight.size_bytes if found is None else found.size_bytes
    return PlannedWeight(name, size_bytes, weight.licence, found is not None, needed_by)


def _show_rows(rows: list[PlannedRow]) -> None:
    from avipipe.cli.eval_table import print_table

    shown = [
        (
            row.name,
            row.method or "as published",
            "\n".join(row.settings),
            f"{row.num_edits - row.num_done} of {row.num_edits}" if row.method else "",
            "" if row.left_s is None else f"{row.left_s / 3600:.1f} h",
        )
        for row in rows
    ]
    print_table(("row", "method", "settings", "edits to make", "forecast"), shown, num_left=3)
    for reason, names in _alike(rows, lambda row: row.missing):
        echo(f"{names}: missing: {reason}", fg="yellow")
    for memory, names in _alike(rows, lambda row: "\n  ".join(row.memory)):
        echo(f"memory of {names}:\n  {memory}")


def _alike(rows: list[PlannedRow], told: Callable[[PlannedRow], str]) -> Iterator[tuple[str, str]]:
    """What is told of rows, and the names of those of which it is, in words."""
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(told(row), []).append(row.name)
    for text, own in names.items():
        if text:
            yield text, ", ".join(own)


def _show_weights(weights: list[PlannedWeight]) -> None:
    from avipipe.cli.eval_table import print_table

    shown = [
        (
            weight.name,
            weight.licence,
            "here" if weight.is_here else "missing",
            "" if weight.size_bytes is None else f"{weight.size_bytes / 1e6:.0f} MB",
            ", ".join(weight.needed_by),
        )
        for weight in weights
    ]
    if shown:
        print_table(("weight", "licence", "", "size", "needed by"), shown, num_left=3)
