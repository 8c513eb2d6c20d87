"""`avipipe eval study` and `avipipe eval study-report`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avipipe.cli.options import json_option, require_folder
from avipipe.cli.output import echo, echo_json

if TYPE_CHECKING:
    from avipipe.evaluate.study.report import QuestionResult, StudyReport

FILE = click.Path(path_type=Path)


@click.command("study")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=FILE)
@click.option(
    "--out",
    "path",
    required=True,
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write the page to; its key is written beside it, as FILE.key.json.",
)
@click.option(
    "--about",
    "subject",
    type=click.Choice(["edit", "sound"]),
    default="edit",
    show_default=True,
    help="Ask for synchrony, text alignment and overall; or for fidelity of the sound, retention "
    "and consistency.",
)
@click.option(
    "--count",
    default=40,
    show_default=True,
    type=click.IntRange(min=1),
    help="Comparisons, where there are as many: 40 take about half an hour.",
)
@click.option(
    "--checks",
    default=4,
    show_default=True,
    type=click.IntRange(min=0),
    help="Attention checks on top: a source against itself with the sound of another.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option(
    "--max-mb",
    default=80.0,
    show_default=True,
    type=click.FloatRange(min=0.5),
    help="Largest size of the page; all videos get coarser until it holds.",
)
def study_(
    runs: tuple[Path, ...],
    path: Path,
    subject: Any,
    count: int,
    checks: int,
    seed: int,
    max_mb: float,
) -> None:
    """Write a page on which people compare edits, blind and in pairs.

    RUN is a manifest of cases, or what `avipipe eval run --out` made; several are taken together.
    The page is one file that loads nothing else and names no method: send it to raters, and keep
    the key. Pairs of methods, cases and sides are drawn in balance.

    \b
    Examples:
      avipipe eval study measured --out study.html
      avipipe eval study cases.jsonl --out sound.html --about sound --count 30
    """
    from avipipe.evaluate.study.key import key_path
    from avipipe.evaluate.study.page import cases_of_runs, write_study

    require_folder(path)
    written = write_study(
        cases_of_runs(runs),
        path,
        subject=subject,
        num_trials=count,
        num_checks=checks,
        seed=seed,
        max_bytes=round(max_mb * 1e6),
        filmed=_tell_film,
    )
    for line in written.left_out:
        echo(f"left out: {line}", fg="yellow", err=True)
    num_checks = sum(trial.is_check for trial in written.key.trials.values())
    if num_checks < checks:
        echo(f"{num_checks} attention checks: they need sources with sound", fg="yellow", err=True)
    echo(
        f"{len(written.key.trials) - num_checks} comparisons and {num_checks} attention checks on "
        f"{', '.join(written.key.questions)}; {written.num_bytes / 1e6:.1f} MB, films of "
        f"{written.short_side_px} px",
        err=True,
    )
    echo(f"key, not for raters: {key_path(path)}", err=True)
    echo(str(path))


def _tell_film(num_ready: int, num_films: int) -> None:
    if num_ready % 10 == 0 or num_ready == num_films:
        echo(f"film {num_ready} of {num_films}", err=True)


@click.command("study-report")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=FILE)
@click.option("--key", "key_file", required=True, type=FILE, help="The study's FILE.key.json.")
@click.option(
    "--attentive-only",
    is_flag=True,
    help="Leave out raters who failed more than a quarter of their attention checks.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@json_option
def study_report_(
    files: tuple[Path, ...], key_file: Path, attentive_only: bool, seed: int, as_json: bool
) -> None:
    """Tell what the raters of a study preferred, and how sure that is.

    FILE is what the page of a study exported, one for each rater or all in one. Lines that are
    damaged or of another study are counted, with their reason.

    \b
    Example:
      avipipe eval study-report answers-*.jsonl --key study.key.json --attentive-only
    """
    from avipipe.evaluate.study.answers import read_answers
    from avipipe.evaluate.study.key import read_key
    from avipipe.evaluate.study.report import study_report

    key = read_key(key_file)
    answers, refused = read_answers(files, key)
    report = study_report(key, answers, refused, attentive_only=attentive_only, seed=seed)
    if as_json:
        echo_json(asdict(report))
        return
    _show_raters(report)
    for line in refused:
        echo(f"{line.where}: does not count: {line.reason}", fg="yellow", err=True)
    for question in report.questions:
        _show_question(question)


def _show_raters(report: "StudyReport") -> None:
    from avipipe.cli.eval_table import print_table

    rows = []
    for each in report.raters:
        failed = "" if each.is_attentive else "failed"
        outcome = "left out" if each.rater in report.left_out else failed
        checks = f"{each.num_passed} of {each.num_checks}"
        rows.append((each.rater, str(each.num_trials), checks, f"{each.median_s:.1f} s", outcome))
    head = ("rater", "answered", "checks passed", "median time", "")
    print_table(head, rows, title=f"Study {report.study}")


def _show_question(question: "QuestionResult") -> None:
    from avipipe.cli.eval_table import print_table

    told = [f"{question.num} answers"]
    if question.left_share is not None:
        told.append(f"{question.left_share:.0%} for the left side")
    if question.alpha is not None:
        told.append(f"Krippendorff's alpha {question.alpha:.2f}")
    echo("")
    echo(f"{question.question}: {', '.join(told)}", bold=True)
    for reason in question.reasons:
        echo(reason, fg="yellow")
    methods = [
        (
            each.method,
            f"{each.share.share:.1%}",
            f"{each.share.low:.1%} to {each.share.high:.1%}",
            "" if each.strength is None else f"{each.strength:+.2f}",
            ""
            if each.strength_low is None
            else f"{each.strength_low:+.2f} to {each.strength_high:+.2f}",
            str(each.num),
        )
        for each in question.methods
    ]
    head = ("method", "preferred", "95 %", "Bradley-Terry", "95 %", "comparisons")
    print_table(head, methods)
    pairs = [
        (
            f"{each.first} over {each.second}",
            f"{each.share.share:.1%}",
            f"{each.share.low:.1%} to {each.share.high:.1%}",
            f"{each.num_won} / {each.num_same} / {each.num_lost}",
        )
        for each in question.pairs
    ]
    print_table(("pair", "preferred", "95 %", "won / same / lost"), pairs)
