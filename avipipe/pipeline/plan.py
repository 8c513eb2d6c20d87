"""What a build would do: how much is cached, how much is to run, and what it may cost."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from avipipe.errors import ItemError
from avipipe.manifests.records import SourceLine
from avipipe.manifests.uris import local_path
from avipipe.media.probe import probe
from avipipe.pipeline.accounting import StageCount, Survey
from avipipe.pipeline.graph import Graph

NUM_PROBED = 50
"""Number of local files that are probed to estimate the length of those not yet fetched."""

REFERENCE_CPU_S_PER_HOUR = {
    "fetch": 5.0,
    "probe": 20.0,
    "shots": 90.0,
    "listen": 290.0,
    "look": 900.0,
    "cut": 1500.0,
    "fingerprint": 150.0,
    "mask": 5500.0,
    "pair": 1200.0,
}
"""CPU seconds for an hour of 360p video with the embedded profile, from
`bench/results/embedded-2cpu.md`; a first guess, until the dataset's own ledger knows better."""

BYTES_PER_KEPT_HOUR = 1_500_000_000
"""Bytes of shards for an hour of kept clips; 4.1 min of real clips took 105 MB."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Forecast of one stage: what it has done and has to do."""

    stage: str
    cached: int
    to_run: int
    """Items known to wait for this stage; later stages' are not known before earlier ones ran."""
    hours_to_run: float
    """Forecast hours of clips or sources, with what is still to come from earlier stages."""
    cpu_hours: float
    measured: bool
    """Whether the cost rate comes from this dataset, not from the reference figures."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A forecast of a build."""

    num_sources: int
    num_unfetched: int
    num_unknown_length: int
    hours_unfetched: float
    kept_hours: float
    """Hours that are kept, already and by the forecast."""
    bytes_published: int
    stages: tuple[StagePlan, ...]


def make_plan(graph: Graph, survey: Survey, lines: Sequence[SourceLine]) -> BuildPlan:
    """Forecast a build from what is cached, the yields seen so far, and the files' lengths."""
    counts = survey.counts(lines)
    unfetched = [
        state.row.source
        for state in survey.sources(lines)
        if state.pending and state.last.stage.name == "fetch"
    ]
    hours, unknown = _forecast_hours(unfetched)
    coming = hours
    plans = []
    for stage in graph.stages:
        count = counts[stage.name]
        coming += count.hours["pending"]
        measured = count.wall_s > 0 and _hours_done(count) > 0
        plans.append(
            StagePlan(
                stage.name,
                cached=count.num_in - count.items["pending"],
                to_run=count.items["pending"],
                hours_to_run=coming,
                cpu_hours=coming * _cpu_s_per_hour(count) / 3600,
                measured=measured,
            )
        )
        coming *= _yield(count)
    kept = counts[graph.stages[-1].name].hours["keep"] + coming
    return BuildPlan(
        num_sources=len(lines),
        num_unfetched=len(unfetched),
        num_unknown_length=unknown,
        hours_unfetched=hours,
        kept_hours=kept,
        bytes_published=round(kept * BYTES_PER_KEPT_HOUR),
        stages=tuple(plans),
    )


def _forecast_hours(lines: Sequence[SourceLine]) -> tuple[float, int]:
    """Hours in lines not fetched yet, and the number of those whose length nobody knows."""
    local = [
        path
        for path in (local_path(line.uri) for line in lines if line.span is None)
        if os.path.isfile(path)  # noqa: PTH113  a Path raises where a name is too long
    ]
    ranges = [line.span.duration_s for line in lines if line.span is not None]
    lengths_s = []
    for path in local[:: max(len(local) // NUM_PROBED, 1)]:
        try:
            lengths_s.append(probe(path).duration_s)
        except ItemError:
            continue  # it will fail at its stage, with its reason
    mean_s = sum(lengths_s) / len(lengths_s) if lengths_s else 0.0
    unknown = len(lines) - len(local) - len(ranges)
    return (mean_s * len(local) + sum(ranges)) / 3600, unknown


def _hours_done(count: StageCount) -> float:
    return float(sum(count.hours.values()) - count.hours["pending"])


def _cpu_s_per_hour(count: StageCount) -> float:
    done = _hours_done(count)
    if done > 0 and count.wall_s > 0:
        return count.cpu_s / done
    return REFERENCE_CPU_S_PER_HOUR.get(count.stage, 0.0)


def _yield(count: StageCount) -> float:
    """The share of hours that a stage lets through; all of it as long as nothing is known."""
    done = _hours_done(count)
    return float(count.hours["keep"]) / done if done > 0 else 1.0
