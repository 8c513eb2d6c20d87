"""`avipipe retry`."""

from pathlib import Path

import click

from avipipe.cli.options import out_option, work_option
from avipipe.cli.output import echo
from avipipe.errors import FailKind
from avipipe.pipeline.retry import forget_failures
from avipipe.pipeline.workspace import Workspace


@click.command("retry")
@click.argument("items", nargs=-1)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in FailKind]),
    help="Only failures of this kind; may be repeated.",
)
@out_option
@work_option
def command(items: tuple[str, ...], kinds: tuple[str, ...], out: str, work: Path | None) -> None:
    """Let failed items run again at the next build.

    ITEMS are clip ids, source ids or URIs; none means all failures.

    \b
    Example:
      avipipe retry --kind timeout --kind unreachable --out my-dataset
      avipipe build --source list.txt --out my-dataset
    """
    workspace = Workspace.at(out, work)
    forgotten = forget_failures(workspace, items, [FailKind(kind) for kind in kinds])
    for state in forgotten:
        echo(f"{state.clip_id or state.row.source.uri}: {state.last.stage.name} runs again")
    echo(f"{len(forgotten)} failures forgotten; run the same `avipipe build` again")
