"""`avipipe status`."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from avipipe.cli.options import json_option, out_option, work_option
from avipipe.cli.output import echo_json
from avipipe.pipeline.accounting import StageCount
from avipipe.pipeline.workspace import Workspace

STATUSES = ("keep", "drop", "fail", "pending")


@click.command("status")
@out_option
@work_option
@json_option
def command(out: str, work: Path | None, as_json: bool) -> None:
    """Show where every item of a dataset stands.

    \b
    Example:
      avipipe status --out my-dataset
    """
    with Workspace.at(out, work).survey() as (survey, lines):
        counts = survey.counts(lines)
    if as_json:
        echo_json([_as_json(count) for count in counts.values()])
        return
    console = Console()
    console.print(funnel(counts))
    console.print(reasons(counts))


def funnel(counts: dict[str, StageCount]) -> Table:
    """A row a stage: what came in, and what became of it."""
    table = Table(title="in = kept + dropped + failed + pending")
    table.add_column("stage")
    for column in ("in", "kept", "dropped", "failed", "pending", "hours in", "CPU s"):
        table.add_column(column, justify="right")
    for count in counts.values():
        numbers = [str(count.items[status]) for status in STATUSES]
        hours = f"{sum(count.hours.values()):.3f}"
        table.add_row(count.stage, str(count.num_in), *numbers, hours, f"{count.cpu_s:.1f}")
    return table


def reasons(counts: dict[str, StageCount]) -> Table:
    """A row for each reason to drop and kind of failure."""
    table = Table(title="why items stopped")
    for column in ("stage", "status", "reason"):
        table.add_column(column)
    for column in ("items", "hours"):
        table.add_column(column, justify="right")
    for count in counts.values():
        for (status, reason), number in count.reasons.most_common():
            hours = f"{count.reason_hours[status, reason]:.3f}"
            table.add_row(count.stage, status, reason, str(number), hours)
    return table


def _as_json(count: StageCount) -> dict[str, object]:
    return {
        "stage": count.stage,
        "in": count.num_in,
        **{status: count.items[status] for status in STATUSES},
        "hours": {status: round(count.hours[status], 6) for status in STATUSES},
        "reasons": {
            f"{status}:{reason}": number for (status, reason), number in count.reasons.items()
        },
        "wall_s": round(count.wall_s, 3),
        "cpu_s": round(count.cpu_s, 3),
        "peak_rss_bytes": count.peak_rss_bytes,
    }
