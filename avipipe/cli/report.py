"""`avipipe report`."""

from pathlib import Path

import click

from avipipe.cli.options import out_option, work_option
from avipipe.cli.output import echo
from avipipe.pipeline.graph import Graph
from avipipe.pipeline.report.write import write_report
from avipipe.pipeline.workspace import Workspace


@click.command("report")
@out_option
@work_option
def command(out: str, work: Path | None) -> None:
    """Write the HTML report of a dataset.

    One file, DATASET/report.html, that loads nothing else: what was kept and what was not, and
    why, with pictures, evidence, failures, cost, and what asking more or less would keep. A build
    writes it too; this command does so again at any time, even while a build is under way.

    \b
    Example:
      avipipe report --out my-dataset
    """
    workspace = Workspace.at(out, work)
    with workspace.survey() as (survey, lines):
        echo(write_report(workspace, survey, lines, Graph(workspace.require_config())))
