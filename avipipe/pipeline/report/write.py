"""Puts the report beside the dataset that it is about."""

from collections.abc import Sequence

from avipipe.manifests.dataset import read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.records import SourceLine
from avipipe.pipeline.accounting import Survey
from avipipe.pipeline.graph import Graph
from avipipe.pipeline.report.collect import collect
from avipipe.pipeline.report.render import render
from avipipe.pipeline.workspace import Workspace

NAME = "report.html"


def write_report(
    workspace: Workspace, survey: Survey, lines: Sequence[SourceLine], graph: Graph
) -> str:
    """Write `report.html` into the dataset; return where it stands.

    Raises:
        RunError: it cannot be written.
    """
    destination = Destination(workspace.out)
    index = read_index(destination)
    report = collect(
        survey, lines, graph, out=workspace.out, folder=workspace.store.folder, index=index
    )
    destination.write(NAME, render(report).encode())
    return workspace.path(NAME)
