"""`avipipe eval`."""

import re
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from avipipe.cli.eval_cases import cases as cases_command
from avipipe.cli.eval_study import study_, study_report_
from avipipe.cli.options import json_option
from avipipe.cli.output import echo, echo_json
from avipipe.errors import ConfigError

if TYPE_CHECKING:
    from avipipe.evaluate.cases import Case
    from avipipe.evaluate.conclude import Conclusion

FOLDER = click.Path(path_type=Path)


@click.group("eval")
def command() -> None:
    """Measure edits: metrics of the field by protocol, intervals, controls, one report.

    docs/eval.md tells what each metric says, what is compared, and what a number cannot tell.

    \b
    Examples:
      avipipe eval run --source clips --edit ours=edited --out measured
      avipipe eval run --cases cases.jsonl --out measured
      avipipe eval cases davis17 DAVIS --out davis.jsonl
      avipipe eval diff before after
      avipipe eval metrics
      avipipe eval study measured --out study.html
    """


command.add_command(cases_command)
command.add_command(study_)
command.add_command(study_report_)


@command.command("run")
@click.option(
    "--cases",
    "cases_file",
    type=FOLDER,
    help="Manifest of cases, JSON lines; with --edit, what `avipipe eval cases` wrote.",
)
@click.option("--source", type=FOLDER, help="Folder of the source videos, or a dataset.")
@click.option(
    "--edit",
    "edits",
    multiple=True,
    metavar="METHOD=FOLDER",
    help="Edits of a method: videos named like their sources, or what `avipipe edit --batch` left; "
    "may be repeated.",
)
@click.option("--mask", type=FOLDER, help="Folder of masks named like the sources.")
@click.option("--out", required=True, type=FOLDER, help="Folder for tables and report.")
@click.option(
    "--metric",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this metric, such as ssim, ssim.map, or a family such as sound; may be repeated.",
)
@click.option("--controls/--no-controls", default=True, show_default=True, help="Measure them too.")
@click.option(
    "--vae",
    type=FOLDER,
    help="Folder of a Wan, or of its VAE, for one more control: the source after a round trip.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes, up to 1 GB each; one a core."
)
@click.option("--shard", default="1/1", show_default=True, metavar="I/N", help="Part I of N.")
@click.option("--work", type=FOLDER, help="Folder of stored scores; OUT/work by default.")
@click.option(
    "--allow-small-n",
    is_flag=True,
    help="Compute FVD, FAD and Inception scores of sets below 256 clips too.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be measured, and what is missing.")
@json_option
def run_(
    cases_file: Path | None,
    source: Path | None,
    edits: tuple[str, ...],
    mask: Path | None,
    out: Path,
    names: tuple[str, ...],
    controls: bool,
    vae: Path | None,
    seed: int,
    workers: int | None,
    shard: str,
    work: Path | None,
    allow_small_n: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Measure cases, and write tables and a report into OUT.

    A run that was stopped, however it was, goes on when the same command is run again: no score is
    measured twice, whatever files are called. What cannot be measured is counted with its reason.

    \b
    Examples:
      avipipe eval run --source clips --edit ours=edited --edit theirs=other --out measured
      avipipe eval run --edit avi_edit=results --metric picture --out measured
      avipipe eval run --cases davis.jsonl --edit ours=edited --out measured
      avipipe eval run --cases cases.jsonl --out part-1 --shard 1/4 --work /shared/scores
      avipipe eval run --cases cases.jsonl --out measured --vae Wan2.2-TI2V-5B-Diffusers
      avipipe eval run --cases cases.jsonl --out measured --dry-run
    """
    from avipipe.evaluate.catalogue import chosen
    from avipipe.evaluate.controls import controls_of
    from avipipe.evaluate.extractors.wan_vae import vae_folder

    metrics = chosen(names)
    part = _shard(shard)
    if vae is not None:
        if not controls:
            raise ConfigError("--vae is for a control: leave out --no-controls")
        vae = vae_folder(vae)
    work = work or out / "work"
    with ExitStack() as scratch:
        if dry_run:
            work = Path(scratch.enter_context(TemporaryDirectory(prefix="avipipe-eval-")))
        cases = _cases(cases_file, source, edits, mask, work / "sources")
    given = [case for case in cases if not case.control]
    cases = [*given, *(controls_of(given, seed, vae) if controls else [])]
    if dry_run:
        _show_plan(cases, metrics, as_json)
        return
    conclusion = _measured(
        cases, metrics, out, work, part, seed, workers, allow_small_n=allow_small_n, as_json=as_json
    )
    _show(conclusion, as_json)


def _measured(
    cases: "list[Case]",
    metrics: list[str],
    out: Path,
    work: Path,
    shard: tuple[int, int],
    seed: int,
    workers: int | None,
    *,
    allow_small_n: bool,
    as_json: bool,
) -> "Conclusion":
    import os

    from avipipe.cli.eval_progress import EvaluateProgress
    from avipipe.evaluate.cases import select
    from avipipe.evaluate.conclude import conclude, metric_facts
    from avipipe.evaluate.report.render import write_report
    from avipipe.evaluate.run import measure_all
    from avipipe.evaluate.tables import answer_rows, clip_scores, feature_rows

    out.mkdir(parents=True, exist_ok=True)
    own = select(cases, shard)
    with EvaluateProgress(as_json=as_json) as progress:
        measured = measure_all(
            own,
            metrics,
            work,
            workers=workers or len(os.sched_getaffinity(0)),
            listener=progress,
        )
    clips = clip_scores(measured)
    conclusion = conclude(
        out,
        cases,
        clips,
        feature_rows(measured),
        answer_rows(measured),
        metrics={name: metric_facts(name) for name in metrics},
        seed=seed,
        allow_small_n=allow_small_n,
        shard=shard,
    )
    write_report(conclusion, work)
    return conclusion


def _cases(
    cases_file: Path | None,
    source: Path | None,
    edits: tuple[str, ...],
    mask: Path | None,
    unpack_into: Path,
) -> "list[Case]":
    from avipipe.evaluate.cases import cases_of_asked, cases_of_folders, read_asked, read_cases

    methods = dict(_method(text) for text in edits)
    if len(methods) < len(edits):
        raise ConfigError("expected another METHOD for each --edit: two of one name are one method")
    if cases_file is not None:
        if source is not None or mask is not None:
            raise ConfigError("expected --cases, or --source and --mask; got both")
        if methods:
            return cases_of_asked(read_asked(cases_file), methods)
        return read_cases(cases_file)
    if not methods:
        raise ConfigError("say what to measure: --edit METHOD=FOLDER, or --cases FILE")
    return cases_of_folders(source, methods, mask, unpack_into)


def _method(text: str) -> tuple[str, Path]:
    method, equals, folder = text.partition("=")
    if not equals or not method or not folder:
        raise ConfigError(f"--edit {text}: expected METHOD=FOLDER, such as ours=edited")
    return method, Path(folder)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise ConfigError(f"--shard {text}: expected I/N with 1 <= I <= N, such as 2/4")
    return index, count


def _show_plan(cases: "list[Case]", metrics: list[str], as_json: bool) -> None:
    from avipipe.evaluate.catalogue import LISTED
    from avipipe.evaluate.metric import lacking

    reasons = {name: lacking(LISTED[name]) for name in metrics}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    ready = [name for name in metrics if name not in skipped]
    methods = sorted({case.method for case in cases})
    problems = [case for case in cases if case.problem]
    num_names = len({case.name for case in cases if not case.control})
    without_mask = sum(case.mask is None and case.edit_mask is None for case in cases)
    if as_json:
        said = [{"method": c.method, "name": c.name, "problem": c.problem} for c in problems]
        echo_json(
            {
                "cases": num_names,
                "methods": methods,
                "problems": said,
                "without_mask": without_mask,
                "metrics": ready,
                "skipped": skipped,
            }
        )
        return
    echo(f"{len(cases)} cases to measure: {num_names} by {', '.join(methods)}")
    for case in problems:
        echo(f"  {case.method}: {case.name}: {case.problem}", fg="yellow")
    if without_mask:
        echo(f"{without_mask} of them have no mask: metrics that need one are skipped")
    echo(f"metrics: {', '.join(ready)}")
    for name, reason in skipped.items():
        echo(f"  {name}: skipped: {reason}", fg="yellow")


@command.command("merge")
@click.argument("parts", nargs=-1, required=True, type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="Folder for tables and report.")
@json_option
def merge_(parts: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Join the shards of a run: tables and report are those of a run without shards.

    PARTS are the --out of each `avipipe eval run --shard I/N`.

    \b
    Example:
      avipipe eval merge part-1 part-2 part-3 part-4 --out measured
    """
    from avipipe.evaluate.conclude import merge
    from avipipe.evaluate.report.render import write_report

    conclusion = merge(out, parts)
    write_report(conclusion, out / "work")
    _show(conclusion, as_json)


@command.command("diff")
@click.argument("before", type=FOLDER)
@click.argument("after", type=FOLDER)
@json_option
def diff_(before: Path, after: Path, as_json: bool) -> None:
    """Compare two runs, by metric and method, on the cases that both have numbers for.

    Numbers of two versions of a metric are not compared.

    \b
    Example:
      avipipe eval diff last-week today
    """
    from dataclasses import asdict

    from avipipe.cli.eval_table import print_table
    from avipipe.evaluate.compare import compare
    from avipipe.evaluate.report.figures import decimals, number
    from avipipe.evaluate.tables import read_run

    changes = compare(read_run(before), read_run(after))
    if as_json:
        echo_json([asdict(change) for change in changes])
        return
    rows: list[tuple[str, ...]] = []
    for change in changes:
        if change.before is None or change.after is None or change.difference is None:
            rows.append((change.metric, change.method, change.reason))
            continue
        places = decimals([change.before, change.after])
        numbers = (number(v, places) for v in (change.before, change.after, change.difference))
        interval = change.reason
        if change.low is not None and change.high is not None:
            interval = f"{number(change.low, places)} to {number(change.high, places)}"
        p_value = "" if change.p_holm is None else f"{change.p_holm:.3f}"
        clips = f"{change.num_clips}"
        rows.append((change.metric, change.method, *numbers, interval, p_value, clips))
    head = ("metric", "method", "before", "after", "difference", "95 %", "p (Holm)", "clips")
    print_table(head, rows, title=f"{before.name} -> {after.name}", num_left=2)


@command.command("metrics")
@json_option
def metrics_(as_json: bool) -> None:
    """List the metrics: what each says, by which protocol, and what is missing for it here.

    \b
    Example:
      avipipe eval metrics
    """
    from avipipe.evaluate.catalogue import LISTED
    from avipipe.evaluate.conclude import metric_facts
    from avipipe.evaluate.metric import lacking

    if as_json:
        echo_json(
            {
                name: {
                    "family": metric.family,
                    **metric_facts(name),
                    "missing": lacking(metric),
                }
                for name, metric in LISTED.items()
            }
        )
        return
    for name, metric in LISTED.items():
        needs = f" (needs {', '.join(metric.needs)})" if metric.needs else ""
        echo(f"{name}: {metric.words}{needs}", bold=True)
        echo(f"  {metric.protocol}")
        if missing := lacking(metric):
            echo(f"  skipped here: {missing}", fg="yellow")


def _show(conclusion: "Conclusion", as_json: bool) -> None:
    from dataclasses import asdict

    from avipipe.evaluate.report.render import REPORT_NAME

    run = conclusion.run
    if as_json:
        sets = [asdict(row) for row in conclusion.sets if not row.label]
        values = [asdict(value) for value in conclusion.values]
        told = {"event": "end", "out": str(run.folder), "sets": sets, "values": values}
        echo_json(told, indent=None)
        return
    _show_table(conclusion)
    statuses = ", ".join(f"{num} {status}" for status, num in run.facts["statuses"].items())
    if statuses:
        echo(f"Scores: {statuses}")
    echo(f"Report: {run.folder / REPORT_NAME}")


def _show_table(conclusion: "Conclusion") -> None:
    """Means over the common support, a row a metric."""
    from avipipe.cli.eval_table import print_table
    from avipipe.evaluate.report.model import page_of

    page = page_of(conclusion)
    rows: list[tuple[str, ...]] = []
    for line in (line for _, lines in page.families for line in lines):
        values = (f"{each.value} {each.letter}".strip() for each in line.cells)
        rows.append((f"{line.metric} {line.arrow} {line.unit}".strip(), *values))
    for set_line in page.sets:
        values = (f"{each.value} {each.letter}".strip() for each in set_line.cells)
        rows.append((f"{set_line.metric} {set_line.arrow}", *values))
    print_table(("metric", *(column.control or column.name for column in page.columns)), rows)
