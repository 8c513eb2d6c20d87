"""Which weights a build needs."""

from avipipe import weights
from avipipe.pipeline.graph import Graph
from avipipe.stages.annotated import AnnotatedStage


def require_weights(graph: Graph) -> None:
    """Make sure, at once, that all weights of a build are here, or that their servers are named.

    Raises:
        WeightsError: naming all that are missing.
        ConfigError: a backend that asks a server does not know which.
    """
    weights.require(_names(graph))
    for stage in graph.stages:
        stage.settings()


def check_weights(graph: Graph) -> None:
    """Compare their hashes, once for all workers.

    Raises:
        WeightsError: one is missing or corrupted.
    """
    for name in sorted(_names(graph)):
        weights.locate(name)


def _names(graph: Graph) -> set[str]:
    stages = (stage for stage in graph.stages if isinstance(stage, AnnotatedStage))
    return {name for stage in stages for name in stage.weight_names}


def used_weights(graph: Graph) -> set[str]:
    """The names of all models behind what a build made."""
    return {
        name
        for stage in graph.stages
        for backend in stage.settings().get("backends", {}).values()
        for name in backend["weights"]
    }
