"""The Ray executor: the same stages on Ray Data, on this machine or on a cluster.

What Ray is asked to do is to bring rows to workers; what happened to a row is the store's affair.
So rows that vanish with their worker are simply run again, and an item that keeps taking workers
down is recognised by its attempts (`worker.py`), whatever Ray retried.

Rows are about 1 kB of JSON. Each stands in a block of its own, again after the fan-out, so that a
lost block is one row and a slow row delays no other.
"""

import json
import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import ray.data

from avipipe import errors, log
from avipipe.errors import AvipipeError, RunError
from avipipe.pipeline.graph import Graph, Row, graph_of
from avipipe.pipeline.memory import MemoryWatch
from avipipe.pipeline.private import Private
from avipipe.pipeline.resources import Cluster, FusedStages, fuse_stages
from avipipe.pipeline.store import ContentStore
from avipipe.pipeline.worker import Worker

OBJECT_STORE_BYTES = 200_000_000
"""Size of Ray's object store in bytes; rows are small, so a tenth of the default is plenty."""


class RayExecutor:
    """Runs rows through the segments of a graph on Ray Data."""

    def __init__(self, graph: Graph, work: Path, run_id: str) -> None:
        self._graph = graph
        adopted_json = json.dumps(graph.adopted(), sort_keys=True)
        self._job = _Job(graph.config.model_dump_json(), adopted_json, str(work), run_id)

    def run(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Take items as far as they go; yield each (a source's clips in its place) when done.

        Rows whose worker died do not come back: the caller sees that they are still pending.
        """
        items = [{"row": row.to_json(), "error": ""} for row in rows]
        if not items:
            return
        self._connect()
        try:
            cluster = _cluster()
            job = replace(self._job, max_worker_bytes=self._max_worker_bytes(cluster))
            dataset = ray.data.from_items(items, override_num_blocks=len(items))
            for segment in fuse_stages(self._graph, cluster):
                dataset = _apply(dataset, segment, job)
                if segment.fans_out:
                    dataset = dataset.repartition(target_num_rows_per_block=1)
            for data in dataset.iter_rows():
                if data["error"]:
                    raise _rebuild_error(data["error"])
                yield Row.from_json(data["row"])
        finally:
            ray.shutdown()

    def _max_worker_bytes(self, cluster: Cluster) -> float:
        told_gb = self._graph.config.executor.max_worker_gb
        return cluster.memory_bytes / cluster.num_cpus if told_gb is None else told_gb * 1e9

    def _connect(self) -> None:
        executor = self._graph.config.executor
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            if executor.ray_address is None:
                ray.init(
                    # Never a cluster that merely happens to run on this machine.
                    address="local",
                    num_cpus=executor.num_cpus,
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                )
            else:
                ray.init(address=executor.ray_address, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RunError(
                f"cannot reach or start Ray (address: {executor.ray_address}): {error}\n"
                "Check `ray status`, or use `--executor inline` to run without Ray."
            ) from error
        _set_data_context()


def _set_data_context() -> None:
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    context.use_ray_tqdm = False
    context.print_on_execution_start = False
    context.verbose_stats_logs = False


def _apply(dataset: Any, segment: FusedStages, job: "_Job") -> Any:
    demand: dict[str, Any] = {"num_cpus": segment.resources.num_cpus}
    if segment.resources.num_gpus:
        demand["num_gpus"] = segment.resources.num_gpus
    if segment.resources.memory_bytes:
        demand["memory"] = segment.resources.memory_bytes
    arguments = (job, segment.stages)
    if segment.pool_size:
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=segment.pool_size)
        return dataset.flat_map(
            _SegmentActor, fn_constructor_args=arguments, compute=pool, **demand
        )
    return dataset.flat_map(_advance, fn_args=arguments, **demand)


def _cluster() -> Cluster:
    found = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Cluster(found.get("CPU", 1.0), found.get("GPU", 0.0), found.get("memory", math.inf))


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker needs to know of a run."""

    config_json: str
    adopted_json: str
    """Adopted weights, as JSON: not here, and only results made before depend on them."""
    work: str
    run_id: str
    max_worker_bytes: float = math.inf


def _advance(data: dict[str, Any], job: _Job, stages: tuple[str, ...]) -> list[dict[str, Any]]:
    if data["error"]:
        return [data]
    if _watch_of(job).is_over():
        _end_process()
    try:
        rows = _worker_of(job).advance(Row.from_json(data["row"]), stages)
    except AvipipeError as error:
        return [{"row": data["row"], "error": json.dumps([type(error).__name__, str(error)])}]
    return [{"row": row.to_json(), "error": ""} for row in rows]


class _SegmentActor:
    """A worker that keeps its models loaded."""

    def __init__(self, job: _Job, stages: tuple[str, ...]) -> None:
        self._arguments = (job, stages)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        return _advance(data, *self._arguments)


@lru_cache(maxsize=1)
def _worker_of(job: _Job) -> Worker:
    log.configure(0)  # to the worker's own log, where secrets belong as little as anywhere
    work = Path(job.work)
    graph = graph_of(job.config_json, job.adopted_json)
    return Worker(graph, ContentStore(work), Private(work), job.run_id, on_timeout=_end_process)


@lru_cache(maxsize=1)
def _watch_of(job: _Job) -> MemoryWatch:
    return MemoryWatch(job.max_worker_bytes)


def _end_process() -> None:
    """End a worker that hangs or has grown; Ray starts another and gives it the row anew."""
    sys.stderr.flush()
    os._exit(1)


def _rebuild_error(text: str) -> AvipipeError:
    name, message = json.loads(text)
    kind = getattr(errors, name, RunError)
    assert issubclass(kind, AvipipeError)
    return kind(message)
