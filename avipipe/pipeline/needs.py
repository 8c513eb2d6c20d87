"""Which weights a build needs."""

from avipipe import weights
from avipipe.pipeline.graph import Graph
from avipipe.stages.annotated import AnnotatedStage


def require_weights(graph: Graph) -> None:
    """Make sure that a build can begin.

    Raises:
        WeightsError: naming all weights that are missing.
    """
    stages = (stage for stage in graph.stages if isinstance(stage, AnnotatedStage))
    weights.require(name for stage in stages for name in stage.weight_names)


def used_weights(graph: Graph) -> set[str]:
    """The names of all models behind what a build made."""
    return {
        name
        for stage in graph.stages
        for backend in stage.settings().get("backends", {}).values()
        for name in backend["weights"]
    }
