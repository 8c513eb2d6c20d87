"""Which weights a build needs."""

from collections.abc import Collection, Mapping

from avipipe import weights
from avipipe.pipeline.graph import Graph
from avipipe.stages.annotated import AnnotatedStage


def require_weights(stages: Collection[AnnotatedStage]) -> None:
    """Make sure, at once, that all weights of stages are here, or that their servers are named.

    Raises:
        WeightsError: naming all that are missing.
        ConfigError: a backend that asks a server does not know which.
    """
    weights.require(_names(stages))
    for stage in stages:
        stage.own_identities()


def missing_weights(stages: Collection[AnnotatedStage]) -> list[str]:
    """Names of the weights that are not on this machine."""
    return [name for name in sorted(_names(stages)) if weights.find(weights.entry(name)) is None]


def check_weights(stages: Collection[AnnotatedStage]) -> None:
    """Require the weights, and compare their hashes, once for all workers.

    Raises:
        WeightsError: naming all that are missing, or one that is corrupted.
        ConfigError: as `require_weights`.
    """
    require_weights(stages)
    for name in sorted(_names(stages)):
        weights.locate(name)


def stages_ahead(graph: Graph, pending: Mapping[str, int]) -> tuple[AnnotatedStage, ...]:
    """Stages that may run in a build: from the first one on that an item is waiting for.

    Args:
        pending: stage -> items that wait there.
    """
    names = [stage.name for stage in graph.stages]
    first = next((number for number, name in enumerate(names) if pending[name]), len(names))
    return tuple(stage for stage in graph.annotated if stage.name in names[first:])


def _names(stages: Collection[AnnotatedStage]) -> set[str]:
    return {name for stage in stages for name in stage.weight_names}


def used_weights(graph: Graph) -> set[str]:
    """Names of all models behind what a build made."""
    return {
        name
        for stage in graph.annotated
        for backend in stage.identities.values()
        for name in backend["weights"]
    }
