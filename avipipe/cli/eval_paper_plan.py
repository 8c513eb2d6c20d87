"""`avipipe eval run --table NAME --dry-run`: what a table would take."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avipipe.cli.eval_paper_rows import missing_weights
from avipipe.cli.output import echo, echo_json

if TYPE_CHECKING:
    from avipipe.cli.eval_paper import PaperRun
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
        edit_s: mean time of its edits that are there; None where there are none.
    """

    name: str
    method: str | None
    settings: tuple[str, ...]
    num_edits: int
    num_done: int
    missing: str
    weights: tuple[str, ...]
    edit_s: float | None

    @property
    def left_s(self) -> float | None:
        """Forecast for the edits that are still to make."""
        return None if self.edit_s is None else self.edit_s * (self.num_edits - self.num_done)


def show_plan(asked: "PaperRun", out: Path, *, as_json: bool) -> None:
    """Tell rows, weights, media and metrics; nothing is loaded or written."""
    from avipipe.evaluate.catalogue import LISTED
    from avipipe.evaluate.metric import lacking

    rows = [_planned(asked, row, out) for row in asked.rows]
    users: dict[str, list[str]] = {}
    for row in rows:
        for name in row.weights:
            users.setdefault(name, []).append(row.name)
    for name in asked.table.metrics:
        for weight in LISTED[name].weights:
            users.setdefault(weight, []).append(name)
    weights = [_weight(name, tuple(needed_by)) for name, needed_by in sorted(users.items())]
    lacks = {
        column.label: column.lack or (lacking(LISTED[column.metric]) if column.metric else "")
        for column in asked.table.columns
    }
    not_measured = {label: reason for label, reason in lacks.items() if reason}
    if as_json:
        echo_json(
            {
                "table": asked.table.name,
                "benchmark": asked.benchmark,
                "rows": [{**asdict(row), "left_s": row.left_s} for row in rows],
                "weights": [asdict(weight) for weight in weights],
                "missing": asked.missing,
                "not_measured": not_measured,
            }
        )
        return
    echo(f"{asked.table.paper}: {asked.table.place}, on {asked.benchmark}", bold=True)
    echo(f"{len(asked.asked)} of {len(asked.every)} cases can be edited")
    for heading, items in asked.missing.items():
        for item in items[:_NUM_SHOWN]:
            echo(f"  {heading.lower()}: {item}", fg="yellow")
        if len(items) > _NUM_SHOWN:
            echo(f"  and {len(items) - _NUM_SHOWN} more; --json names all", fg="yellow")
    _show_rows(rows)
    _show_weights(weights)
    for label, reason in not_measured.items():
        echo(f"{label}: not measured: {reason}", fg="yellow")


def _planned(asked: "PaperRun", row: "PaperRow", out: Path) -> PlannedRow:
    if row.method is None:
        return PlannedRow(row.name, None, (), 0, 0, row.missing, (), None)
    from avipipe.editor.edit.methods import find_method

    config = asked.settings.config_of(row, asked.table)
    traces = [out / row.name / each.name / "trace.json" for each in asked.asked]
    times_s = [json.loads(path.read_bytes())["seconds"] for path in traces if path.is_file()]
    return PlannedRow(
        row.name,
        row.method,
        tuple(row.overrides),
        len(asked.asked),
        len(times_s),
        asked.lack(row) or missing_weights(config),
        tuple(find_method(config.method).pulled(config)),
        sum(times_s) / len(times_s) if times_s else None,
    )


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
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reasons.setdefault(row.missing, []).append(row.name)
    for reason, names in reasons.items():
        if reason:
            echo(f"{', '.join(names)}: missing: {reason}", fg="yellow")


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
