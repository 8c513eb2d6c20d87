"""`avipipe plan`."""

from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from avipipe.cli.options import (
    as_overrides,
    config_options,
    create_bucket_option,
    json_option,
    out_option,
    work_option,
)
from avipipe.cli.output import echo_json
from avipipe.manifests.sources import read_sources
from avipipe.pipeline.accounting import Survey
from avipipe.pipeline.config import load_config
from avipipe.pipeline.graph import Graph
from avipipe.pipeline.needs import require_weights, stages_ahead
from avipipe.pipeline.plan import BuildPlan, make_plan
from avipipe.pipeline.private import Private
from avipipe.pipeline.workspace import Workspace


@click.command("plan")
@click.option("--source", required=True, help="List, folder, file or URL, as for `avipipe build`.")
@out_option
@work_option
@config_options
@create_bucket_option
@json_option
def command(
    source: str,
    out: str,
    work: Path | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
    profile: str | None,
    create_bucket: bool,
    as_json: bool,
) -> None:
    """Show what a build would run, and what is cached already. Writes nothing.

    \b
    Example:
      avipipe plan --source list.txt --out my-dataset
    """
    config = load_config(config_path, [*overrides, *as_overrides({"profile": profile})])
    graph = Graph(config)
    workspace = Workspace.at(out, work)
    workspace.look(create_bucket=create_bucket)
    workspace.adopt_backends(graph, only_missing=True)
    if not graph.adopted():
        require_weights(graph.annotated)
    lines = workspace.merged_lines(read_sources(source).lines, Private(workspace.work))
    with workspace.open_ledger(read_only=True) as ledger:
        plan = make_plan(graph, Survey(graph, ledger.get, workspace.store.folder), lines)
    if as_json:
        echo_json(asdict(plan))
    else:
        _show(plan)
    require_weights(stages_ahead(graph, {stage.stage: stage.to_run for stage in plan.stages}))


def _show(plan: BuildPlan) -> None:
    console = Console()
    table = Table(title=f"{plan.num_sources} sources, {plan.num_unfetched} not fetched yet")
    table.add_column("stage")
    for column in ("cached", "to run", "hours ahead", "CPU hours", "rate from"):
        table.add_column(column, justify="right")
    for stage in plan.stages:
        table.add_row(
            stage.stage,
            str(stage.cached),
            str(stage.to_run),
            f"{stage.hours_to_run:.2f}",
            f"{stage.cpu_hours:.2f}",
            "this dataset" if stage.measured else "reference",
        )
    console.print(table)
    console.print(
        f"Forecast: at most {plan.kept_hours:.2f} h kept, {plan.bytes_published / 1e9:.2f} GB "
        f"published, {sum(stage.cpu_hours for stage in plan.stages):.2f} CPU hours."
    )
    if plan.num_unknown_length:
        console.print(
            f"{plan.num_unknown_length} URLs are left out: their length is known once fetched."
        )
