"""Puts the report beside the dataset that it is about."""

from collections.abc import Sequence

import fsspec

from avipipe.errors import RunError
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
    report = collect(survey, lines, graph, out=workspace.out, folder=workspace.store.folder)
    path = workspace.path(NAME)
    try:
        with fsspec.open(path, "w", encoding="utf-8") as file:
            file.write(render(report))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    return path
