"""`avipipe refilter`."""

from dataclasses import asdict
from pathlib import Path

import click

from avipipe.cli.options import json_option, out_option, work_option
from avipipe.cli.output import echo, echo_json
from avipipe.decision.model import shipped
from avipipe.pipeline.config import BuildConfig, with_overrides
from avipipe.pipeline.refilter import Refiltered, refilter
from avipipe.pipeline.workspace import Workspace


@click.command("refilter")
@out_option
@work_option
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of stages.decide, such as stages.decide.min_probability=0.8; may be repeated.",
)
@click.option("--apply", "apply_", is_flag=True, help="Make this the dataset's decision.")
@json_option
def command(
    out: str, work: Path | None, overrides: tuple[str, ...], apply_: bool, as_json: bool
) -> None:
    """Decide otherwise on stored evidence; show which clips flip.

    Nothing is decoded and nothing recomputed. With --apply, it is written to the
    dataset's configuration; the next `avipipe build` then makes what newly kept clips lack.

    \b
    Example:
      avipipe refilter --out my-dataset --set stages.decide.min_probability=0.8
      avipipe refilter --out my-dataset --set stages.decide.model=decision.yaml --apply
    """
    workspace = Workspace.at(out, work)
    stored = workspace.require_config()
    config = with_overrides(stored, overrides, only="stages.decide.")
    with workspace.open_ledger(read_only=True) as ledger:
        numbers = shipped(config.profile)
        old, new = stored.stages.decide.judge(numbers), config.stages.decide.judge(numbers)
        result = refilter(ledger, old, new)
    if apply_:
        # Before anything is printed: a closed pipe (`| head`) must not undo it.
        _apply(workspace, config)
    if as_json:
        echo_json([asdict(flip) for flip in result.flips])
    else:
        _show(result)
    if apply_:
        echo("Applied; `avipipe build` brings the dataset there", err=True)


def _show(result: Refiltered) -> None:
    for flip in result.flips:
        note = "" if flip.complete else "  (needs more evidence: run `avipipe build`)"
        echo(f"{flip.clip_id}: {flip.before} -> {flip.after}{note}")
    total = sum(result.after.values())
    echo(f"{len(result.flips)} of {total} clips flip")
    for name in sorted({*result.before, *result.after}):
        echo(f"  {name:<26} {result.before[name]:>7} -> {result.after[name]:>7}")


def _apply(workspace: Workspace, config: BuildConfig) -> None:
    with workspace.locked(), workspace.lease():
        workspace.write_config(config)
