"""`avipipe build`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avipipe.cli.options import (
    as_overrides,
    config_options,
    create_bucket_option,
    out_option,
    work_option,
)
from avipipe.cli.output import echo

if TYPE_CHECKING:
    from avipipe.pipeline.build import Summary


@click.command("build")
@click.option(
    "--source",
    required=True,
    help="List (text, CSV, JSONL, Parquet), folder, file or URL; see docs/sources.md.",
)
@out_option
@work_option
@config_options
@create_bucket_option
@click.option("--executor", type=click.Choice(["ray", "inline"]), help="How to run; ray.")
@click.option("--ray-address", help="Ray cluster to join: `auto` inside one; none starts Ray here.")
def command(
    source: str,
    out: str,
    work: Path | None,
    config_path: Path | None,
    overrides: tuple[str, ...],
    profile: str | None,
    create_bucket: bool,
    executor: str | None,
    ray_address: str | None,
) -> None:
    """Turn a list of sources into a published dataset.

    A build that was stopped, however it was, goes on where it stood when the same command is run
    again.

    \b
    Examples:
      avipipe build --source list.txt --out my-dataset
      avipipe build --source clips/ --out s3://bucket/set --work /scratch/set
      avipipe build --source list.txt --out my-dataset --set stages.decide.min_clip_s=3
    """
    from avipipe.cli.build_progress import BuildProgress
    from avipipe.manifests.sources import read_sources
    from avipipe.pipeline.build import Build
    from avipipe.pipeline.calibration import notes
    from avipipe.pipeline.config import load_config
    from avipipe.pipeline.graph import Graph
    from avipipe.pipeline.needs import check_weights, require_weights
    from avipipe.pipeline.private import Private
    from avipipe.pipeline.workspace import Workspace

    options = {
        "profile": profile,
        "executor.kind": executor,
        "executor.ray_address": ray_address,
    }
    config = load_config(config_path, [*overrides, *as_overrides(options)])
    graph = Graph(config)
    workspace = Workspace.at(out, work)
    workspace.adopt_backends(graph, only_missing=True)
    if not graph.adopted():
        require_weights(graph.annotated)
    sources = read_sources(source)
    if sources.duplicates:
        echo(f"{len(sources.duplicates)} duplicate lines in {source} are left out", err=True)
    workspace.check(config, create_bucket=create_bucket)
    private = Private(workspace.work)
    lines = workspace.merged_lines(sources.lines, private)
    check_weights(workspace.needed_stages(graph, lines))
    with workspace.locked(), workspace.lease() as lease:
        workspace.write_config(config)
        private = Private(workspace.work)
        workspace.write_backends(graph)
        lines = workspace.merged_lines(sources.lines, private)
        private.write()  # first, as a killed build must find the address of every line
        workspace.write_lines(lines)
        for note in notes(graph):
            echo(note, err=True)
        with workspace.open_ledger() as ledger, BuildProgress(len(lines)) as progress:
            summary = Build(workspace, graph, lines, ledger, lease).run(progress)
    echo(_in_words(summary, out))


def _in_words(summary: "Summary", out: str) -> str:
    """What was made, and where to look."""
    splits = ", ".join(
        f"{name} {split.num_samples} ({split.duration_s / 3600:.2f} h)"
        for name, split in summary.index.splits.items()
    )
    stopped = Counter[str]()
    for count in summary.counts.values():
        for (status, _), number in count.reasons.items():
            stopped[status] += number
    return (
        f"{summary.num_new_clips} new clips published; the dataset holds {splits}\n"
        f"dropped {stopped['drop']} clips, failed {stopped['fail']} items "
        f"(`avipipe status --out {out}` says why)\n"
        f"report: {summary.report}"
    )
