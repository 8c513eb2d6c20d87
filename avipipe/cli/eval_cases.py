"""`avipipe eval cases`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avipipe.cli.options import json_option, require_folder
from avipipe.cli.output import echo, echo_json

if TYPE_CHECKING:
    from avipipe.evaluate.benchmarks.loaded import Coverage

FOLDER = click.Path(path_type=Path)
_NUM_SHOWN = 20
"""Missing files that are named on a terminal: a screen of them; `--json` names all."""


@click.command("cases")
@click.argument("benchmark")
@click.argument("folder", type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="Manifest to write, JSON lines.")
@click.option(
    "--split", help="Such as val of davis17, edit3 of five-bench, a fold of esc50; else its usual."
)
@click.option(
    "--pairs",
    type=FOLDER,
    metavar="JSONL",
    help="Edit pairs of a dataset as people corrected them (`avipipe review`).",
)
@json_option
def cases(
    benchmark: str,
    folder: Path,
    out: Path,
    split: str | None,
    pairs: Path | None,
    as_json: bool,
) -> None:
    """Write what BENCHMARK in FOLDER asks for as cases, and tell what is missing of it.

    BENCHMARK is dataset, aved-bench, five-bench, anchor-bench, davis16, davis17, vggsound,
    audioset, esc50, javeditbench, or manifest (a cases.jsonl of any other). docs/eval.md shows how
    each lies in its folder. Nothing is downloaded. Videos of images and masks are written into a
    folder beside --out, which the cases name. Edits of these cases, called by their names, are then
    measured by `avipipe eval run --cases OUT --edit METHOD=FOLDER`.

    \b
    Examples:
      avipipe eval cases davis17 DAVIS --out davis.jsonl
      avipipe eval cases dataset out --split test --out test.jsonl
      avipipe eval cases dataset out --pairs edits.jsonl --out test.jsonl
      avipipe eval run --cases davis.jsonl --edit ours=edited --out measured
    """
    from avipipe.evaluate.benchmarks import load_benchmark
    from avipipe.evaluate.cases import write_cases

    require_folder(out)
    files = out.with_name(f"{out.stem}-files")
    asked, coverage = load_benchmark(benchmark, folder, files, split, pairs)
    write_cases(out, asked)
    if as_json:
        from dataclasses import asdict

        echo_json({**asdict(coverage), "missing": [str(path) for path in coverage.missing]})
        return
    _show(coverage, [each.problem for each in asked if each.problem], out)


def _show(coverage: "Coverage", problems: list[str], out: Path) -> None:
    num, licence = coverage.num_asked, coverage.licence or "unknown; ask where it came from"
    echo(f"{coverage.num_found} of {num} cases are there; licence: {licence}")
    told = [f"missing: {path}" for path in coverage.missing]
    told += [problem for problem in problems if not problem.startswith("its source is missing")]
    for line in told[:_NUM_SHOWN]:
        echo(f"  {line}", fg="yellow")
    if len(told) > _NUM_SHOWN:
        echo(f"  and {len(told) - _NUM_SHOWN} more; --json names all files", fg="yellow")
    echo(f"Cases: {out}")
