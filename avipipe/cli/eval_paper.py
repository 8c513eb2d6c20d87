"""`avipipe eval run --table`: a paper's table, made here, beside the published numbers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from avipipe.cli.eval_paper_jobs import problem_of, read_asked_edits, sounds_of, write_jobs
from avipipe.cli.eval_paper_rows import RowSettings, as_measured, by_method, make_row
from avipipe.cli.options import needs_editor
from avipipe.errors import ConfigError, RunError

if TYPE_CHECKING:
    from avipipe.evaluate.cases import AskedEdit, Case
    from avipipe.evaluate.conclude import Conclusion
    from avipipe.evaluate.paper_tables import PaperRow, PaperTable
    from avipipe.evaluate.paper_tables.filled import FilledTable, RowOutcome

FILE = click.Path(path_type=Path)
TABLE_NAME = "table.md"
_NO_SOUNDS = (
    "the new sounds: --sounds FOLDER with one for each case, such as of ESC-50, called NAME.wav"
)


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What tells a table of a paper and how its edits are made."""
    options = [
        click.option(
            "--table",
            help="Make the table of a paper: its edits, then its metrics. avi-edit-main, "
            "avi-edit-ablation, aved-main, aved-ablation, audioscenic-main, audioscenic-ablation, "
            "flowanchor-main, flowanchor-cost, flowanchor-masks or flowanchor-ablation.",
        ),
        click.option(
            "--benchmark", help="Of the table's, such as aved-bench; --source is its folder."
        ),
        click.option("--row", "row_names", multiple=True, help="Only this row; may be repeated."),
        click.option(
            "--model",
            "models",
            multiple=True,
            metavar="[METHOD=]PATH",
            help="As of `avipipe edit`, for rows of the paper's method, or of another.",
        ),
        click.option(
            "--config",
            "configs",
            multiple=True,
            metavar="[METHOD=]FILE",
            help="Settings of `avipipe edit`, for rows of the paper's method, or of another.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="One setting of the paper's method, such as models.offload=models.",
        ),
        click.option(
            "--sounds", type=FILE, help="New sounds, called as the cases, or one for all."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class PaperRun:
    """A table, the benchmark that it is to be made on, and how.

    Attributes:
        asked: all that the benchmark asks for.
        problems: case -> why it cannot be edited, of those that cannot.
        media: files of the benchmark that are missing.
        sounds: case -> new sound; None where none are given.
        seed: of edits, and of what is drawn to measure them.
    """

    table: "PaperTable"
    benchmark: str
    rows: "Sequence[PaperRow]"
    settings: RowSettings
    asked: "Sequence[AskedEdit]"
    problems: Mapping[str, str]
    media: Sequence[str]
    sounds: "Mapping[str, Path] | None"
    seed: int

    @property
    def editable(self) -> "list[AskedEdit]":
        """What can be edited of all that is asked."""
        return [each for each in self.asked if each.name not in self.problems]

    def lack(self, row: "PaperRow") -> str:
        """What a row misses that no weights would give; empty where it can be tried."""
        if row.missing or row.method is None:
            return row.missing
        if self.table.takes_sounds and self.sounds is None:
            return _NO_SOUNDS
        return "" if self.editable else "no case of the benchmark can be edited"

    @property
    def missing(self) -> dict[str, list[str]]:
        """Heading -> what is missing of the benchmark."""
        told = [f"{name}: {problem}" for name, problem in self.problems.items()]
        found = {"Missing files": list(self.media), "Cases that cannot be edited": told}
        if self.media or told:
            words = self.table.benchmarks[self.benchmark].words
            found["Where it comes from"] = [f"{self.benchmark}: {words}"]
        return found


def run_table(
    told: Mapping[str, Any],
    source: Path | None,
    cases_file: Path | None,
    out: Path,
    *,
    seed: int,
    controls: bool,
    work: Path | None,
    workers: int | None,
    allow_small_n: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a table in OUT, or tell what it would take.

    Args:
        told: what `table_options` are given.
    Raises:
        ConfigError: something is told that there is not.
        RunError: edits failed; the table is written all the same.
    """
    with ExitStack() as stack:
        stack.enter_context(needs_editor("a paper's table"))
        files = out / "sources"
        if dry_run:
            files = Path(stack.enter_context(TemporaryDirectory(prefix="avipipe-table-")))
        paper = _asked(told, source, cases_file, files, seed)
        if dry_run:
            from avipipe.cli.eval_paper_plan import show_plan

            show_plan(paper, out, as_json=as_json)
            return
        outcomes, cases = _edits(paper, out, as_json=as_json)
        conclusion = None
        if cases:
            conclusion = _measured(
                paper,
                cases,
                out,
                work or out / "work",
                controls=controls,
                workers=workers,
                allow_small_n=allow_small_n,
                as_json=as_json,
            )
    _tell(paper, outcomes, conclusion, out, as_json=as_json)
    num_failed = sum(len(outcome.failed) for outcome in outcomes)
    if num_failed:
        raise RunError(
            f"{num_failed} of the edits failed; {out / TABLE_NAME} is of the others. Mend them "
            "and run the same command again: what is done is not done again"
        )


def _asked(
    told: Mapping[str, Any], source: Path | None, cases_file: Path | None, files: Path, seed: int
) -> PaperRun:
    from avipipe.evaluate.paper_tables import load_table

    table = load_table(told["table"])
    benchmark = table.chosen_benchmark(told["benchmark"])
    rows = table.chosen_rows(told["row_names"])
    settings = RowSettings(
        by_method(told["models"], table.method, "--model"),
        {m: Path(p) for m, p in by_method(told["configs"], table.method, "--config").items()},
        told["overrides"],
    )
    if told["sounds"] is not None and not table.takes_sounds:
        raise ConfigError(f"--sounds: {table.name} is of videos as they sound; leave it out")
    asked, media = read_asked_edits(table, benchmark, source, cases_file, files)
    sounds = None if told["sounds"] is None else sounds_of(asked, told["sounds"])
    found = {each.name: problem_of(each, table, sounds) for each in asked}
    problems = {name: problem for name, problem in found.items() if problem}
    return PaperRun(table, benchmark, rows, settings, asked, problems, media, sounds, seed)


def _edits(paper: PaperRun, out: Path, *, as_json: bool) -> "tuple[list[RowOutcome], list[Case]]":
    """Make the edits of all rows, one row after the other, and the cases to measure."""
    from avipipe.editor.edit.methods import find_method
    from avipipe.evaluate.case_folders import cases_of_asked, is_batch
    from avipipe.evaluate.paper_tables.filled import RowOutcome

    configs = {  # what is set wrongly is told before anything costs time
        row.name: paper.settings.config_of(row, paper.table)
        for row in paper.rows
        if row.method is not None
    }
    outcomes: list[RowOutcome] = []
    cases: list[Case] = []
    names = {each.name for each in paper.asked}
    for row in paper.rows:
        if reason := paper.lack(row):
            outcomes.append(RowOutcome(row, "missing", reason))
            continue
        if row.method is None:
            outcomes.append(RowOutcome(row, "published only"))
            continue
        config = configs[row.name]
        method = find_method(config.method)
        jobs = write_jobs(paper.editable, row, method, paper.sounds or {}, out, seed=paper.seed)
        outcome = make_row(row, config, *jobs, out, as_json=as_json)
        outcomes.append(outcome)
        if outcome.state == "run" and is_batch(out / row.name):
            made = cases_of_asked(paper.asked, {row.name: out / row.name})
            made = [case for case in made if case.name in names]  # not what was asked once
            cases += [as_measured(case, outcome, paper.table) for case in made]
    return outcomes, cases


def _measured(
    paper: PaperRun,
    cases: "list[Case]",
    out: Path,
    work: Path,
    *,
    controls: bool,
    workers: int | None,
    allow_small_n: bool,
    as_json: bool,
) -> "Conclusion":
    from avipipe.cli.eval_measure import measured
    from avipipe.evaluate.controls import controls_of

    return measured(
        [*cases, *(controls_of(cases, paper.seed) if controls else [])],
        paper.table.metrics,
        out / "measured",
        work,
        seed=paper.seed,
        workers=workers,
        allow_small_n=allow_small_n,
        as_json=as_json,
    )


def _tell(
    paper: PaperRun,
    outcomes: "list[RowOutcome]",
    conclusion: "Conclusion | None",
    out: Path,
    *,
    as_json: bool,
) -> None:
    from avipipe.cli.output import echo, echo_json
    from avipipe.evaluate.paper_tables.filled import filled, markdown
    from avipipe.files import write_whole

    found = filled(paper.table, paper.benchmark, outcomes, conclusion)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / TABLE_NAME, markdown(found, paper.missing).encode("utf-8"))
    if as_json:
        echo_json(_as_json(found, paper, out), indent=None)
        return
    _show(found)
    for heading, items in paper.missing.items():
        if items:
            said = items[0] if len(items) == 1 else f"{len(items)}, named in {out / TABLE_NAME}"
            echo(f"{heading}: {said}", fg="yellow")
    echo(f"Table: {out / TABLE_NAME}")


def _as_json(found: "FilledTable", paper: PaperRun, out: Path) -> dict[str, Any]:
    from dataclasses import asdict

    columns = [column.model_dump(mode="json") for column in found.table.columns]
    rows = [
        {
            "name": row.outcome.row.name if row.outcome else "control: copy",
            "state": row.outcome.state if row.outcome else "control",
            "reason": row.outcome.reason if row.outcome else "",
            "failed": dict(row.outcome.failed) if row.outcome else {},
            "cells": [asdict(cell) for cell in row.cells],
        }
        for row in found.rows
    ]
    return {
        "event": "end",
        "out": str(out),
        "table": found.table.name,
        "benchmark": found.benchmark,
        "columns": columns,
        "rows": rows,
        "missing": paper.missing,
    }


def _show(found: "FilledTable") -> None:
    from avipipe.cli.eval_table import print_table
    from avipipe.cli.output import echo

    table = found.table
    rows = []
    for row in found.rows:
        cells = zip(table.columns, row.cells, strict=True)
        rows.append((row.label, *("\n".join(cell.lines(c.places)) for c, cell in cells)))
    print_table(("", *found.heads), rows, title=f"{table.paper}: {table.place}, {found.benchmark}")
    for line in found.remarks:
        echo(line)
    for label, reason in found.unmeasured.items():
        echo(f"{label}: not measured: {reason}", fg="yellow")
