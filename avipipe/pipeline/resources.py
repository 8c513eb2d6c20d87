"""What the workers of a build hold: which stages share a worker, how many there are, of what size.

Stages whose models want a GPU run in pools of workers that live as long as the build, at least one
worker each; every other stage runs wherever CPUs are free, and keeps in the process what it loads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from avipipe.errors import ConfigError
from avipipe.pipeline.graph import Graph
from avipipe.stages.base import Resources, Stage

_PARTS = 10_000
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Resources of a cluster, all machines together."""

    num_cpus: float
    num_gpus: float = 0.0
    memory_bytes: float = math.inf


@dataclass(frozen=True, slots=True)
class FusedStages:
    """Neighbouring stages that are fused: they run in the same workers.

    Attributes:
        resources: of one worker.
        pool_size: most workers of a pool of its own; 0 for a segment without one.
        fans_out: whether one of the stages gives children.
    """

    stages: tuple[str, ...]
    resources: Resources
    pool_size: int
    fans_out: bool


def fuse_stages(graph: Graph, cluster: Cluster) -> list[FusedStages]:
    """Group stages: a worker keeps an item as long as the next stage needs the same resources.

    Raises:
        ConfigError: `executor.num_gpus` asks for more than this machine has.
    """
    pools = _pools(graph, cluster)

    def demand(stage: Stage) -> tuple[Resources, int]:
        if stage.name in pools:
            return pools[stage.name]
        return _fitted(stage.resources, cluster), 0

    found = []
    for level in (graph.source_stages, graph.clip_stages):
        for (resources, pool_size), group in groupby(level, key=demand):
            stages = tuple(group)
            fans_out = any(stage.fans_out for stage in stages)
            names = tuple(stage.name for stage in stages)
            found.append(FusedStages(names, resources, pool_size, fans_out))
    return found


def gpu_shares(graph: Graph, cluster: Cluster) -> Mapping[str, float]:
    """GPUs of each worker of the stages that have a pool of their own.

    Where nothing else is said, one worker of every such stage fits on one GPU together; without a
    GPU the shares are 0, and the models run on CPUs.

    Raises:
        ConfigError: `executor.num_gpus` asks for more than this machine has.
    """
    executor = graph.config.executor
    requested = executor.num_gpus
    pooled = [stage.name for stage in graph.stages if stage.uses_gpu or requested.get(stage.name)]
    unrequested = [name for name in pooled if name not in requested]
    room = 1 - sum(requested.values())
    default = _floored((room if room > 0 else 1) / len(unrequested)) if unrequested else 0.0
    shares = {name: requested.get(name, default if cluster.num_gpus else 0.0) for name in pooled}
    needed = sum(shares.values())
    # A cluster that others run may grow, so there it is waited for.
    if needed > cluster.num_gpus and executor.ray_address is None:
        raise ConfigError(
            f"executor.num_gpus: one worker of each stage needs {needed:g} GPUs, and this machine "
            f"has {cluster.num_gpus:g}; ask for less, or leave it out"
        )
    return shares


def _pools(graph: Graph, cluster: Cluster) -> Mapping[str, tuple[Resources, int]]:
    """Stage with a pool -> what one of its workers holds, and the most workers.

    All pools together leave as many CPUs as the largest other stage needs, so that none waits for
    ever; without a GPU each has one worker, as big models fit into memory once at best.
    """
    shares = gpu_shares(graph, cluster)
    if not shares:
        return {}
    on_gpu = [share for share in shares.values() if share > 0]
    num_workers = len(shares) - len(on_gpu)
    if on_gpu:
        num_workers += max(int(cluster.num_gpus / min(on_gpu)), len(on_gpu))
    others = [stage.resources for stage in graph.stages if stage.name not in shares]
    spare_cpus = cluster.num_cpus - max(_fitted(each, cluster).num_cpus for each in others)
    num_cpus = _floored(spare_cpus / num_workers)

    def pool(stage: Stage) -> tuple[Resources, int]:
        share = shares[stage.name]
        if not share:
            return replace(stage.resources, num_cpus=num_cpus), 1
        resources = replace(stage.resources, num_cpus=min(num_cpus, 1.0), num_gpus=share)
        return resources, max(int(cluster.num_gpus / share), 1)

    return {stage.name: pool(stage) for stage in graph.stages if stage.name in shares}


def _fitted(resources: Resources, cluster: Cluster) -> Resources:
    """No more CPUs than there are, or it would wait for ever."""
    return replace(resources, num_cpus=min(resources.num_cpus, cluster.num_cpus))


def _floored(amount: float) -> float:
    """An amount that Ray takes: whole from 1 on, else in its smallest parts."""
    return float(math.floor(amount)) if amount >= 1 else math.floor(amount * _PARTS) / _PARTS
