"""Reads a dataset's ledger and store into a `Report`, in memory that does not grow with it."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avipipe import weights
from avipipe.annotators.registry import chosen, create
from avipipe.annotators.weighted import needs_of
from avipipe.manifests.card import is_upscaled
from avipipe.manifests.dataset import DatasetIndex
from avipipe.manifests.records import Fail, SourceLine
from avipipe.pipeline.accounting import ItemState, StageCount, Survey
from avipipe.pipeline.calibration import backends_of, reliability, uncalibrated
from avipipe.pipeline.graph import Graph
from avipipe.pipeline.report.gallery import CardBuilder, StratifiedSample, evidence_of
from avipipe.pipeline.report.measures import WhatIf
from avipipe.pipeline.report.model import (
    FailureGroup,
    FailureRow,
    Loss,
    OutcomeTally,
    Report,
    SourceRow,
    SplitRow,
    StageRow,
)
from avipipe.text import safe_text, title_of, without_secrets


@dataclass(frozen=True, slots=True)
class ReportLimits:
    """Limits of what a report shows one by one; totals always cover everything."""

    max_clips: int = 24
    max_failures: int = 25
    """Most failures of each kind."""
    max_sources: int = 500


def collect(
    survey: Survey,
    lines: Sequence[SourceLine],
    graph: Graph,
    *,
    out: str,
    folder: Callable[[str], Path],
    index: DatasetIndex | None = None,
    limits: ReportLimits = ReportLimits(),
) -> Report:
    """Collect everything that the report of a dataset shows.

    Args:
        out: the dataset as the user names it; commands in the report repeat it.
        folder: where the files of a stage key lie.
        index: of the published dataset; None before the first publication.
    """
    out = safe_text(without_secrets(out))
    gathered = _Gathered(limits, WhatIf(graph.judge))
    counts = survey.counts(lines)
    for source in survey.sources(lines):
        gathered.add_source(source)
    for clip in survey.clips(lines):
        gathered.add_clip(clip)
    config = graph.config
    builder = CardBuilder(graph.judge, folder, out)
    model = graph.judge.model
    return Report(
        title=title_of(out),
        out=out,
        generation=index.generation if index else 0,
        profile=config.profile,
        config_hash=config.identity_hash(),
        backends=tuple(
            (role, backend, _weights(role, backend))
            for role, backend in chosen(config.profile, config.annotators).items()
        ),
        stages=_stage_rows(graph, counts, len(lines), gathered.num_clips),
        clips=tuple(builder.card(survey.state(row)) for row in gathered.sample.rows()),
        uncalibrated=uncalibrated(model, backends_of(graph)),
        held=reliability(model, config.profile),
        outlook=gathered.what_if.outlook(),
        curves=gathered.what_if.curves(),
        failures=gathered.failure_groups(out),
        sources=gathered.source_rows(),
        num_sources=len(lines),
        splits=_split_rows(index) if index else (),
        num_retracted=len(index.retracted) if index else 0,
        num_clips=gathered.num_clips,
        num_upscaled=gathered.num_upscaled,
        items=_tally(gathered.items),
        hours=_tally(gathered.hours),
        fates=_losses(gathered.reasons, gathered.reason_hours),
    )


@dataclass(slots=True)
class _Gathered:
    """What one walk over all sources and clips leaves behind."""

    limits: ReportLimits
    what_if: WhatIf
    sample: StratifiedSample = field(init=False)
    num_clips: int = 0
    items: Counter[str] = field(default_factory=Counter)
    hours: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    reason_hours: defaultdict[tuple[str, str], float] = field(
        default_factory=lambda: defaultdict(float)
    )
    num_upscaled: int = 0
    num_failures: Counter[str] = field(default_factory=Counter)
    failures: defaultdict[str, list[FailureRow]] = field(default_factory=lambda: defaultdict(list))
    sources: list[ItemState] = field(default_factory=list)
    clips_of: Counter[str] = field(default_factory=Counter)
    kept_of: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.sample = StratifiedSample(self.limits.max_clips)

    def add_source(self, state: ItemState) -> None:
        self._note_failure(state, state.row.source.uri)
        if len(self.sources) < self.limits.max_sources:
            self.sources.append(state)

    def add_clip(self, state: ItemState) -> None:
        assert state.row.span is not None
        hours = state.row.span.duration_s / 3600
        record = state.last.record
        status = "pending" if record is None else record.status
        reason = (status, "" if record is None else record.reason)
        self.num_clips += 1
        self.items[status] += 1
        self.hours[status] += hours
        if status != "keep":
            self.reasons[reason] += 1
            self.reason_hours[reason] += hours
        line = state.row.source.line_id
        self.clips_of[line] += 1
        self.kept_of[line] += status == "keep"
        if status == "keep":
            look, cut = (evidence_of(state)[stage] for stage in ("look", "cut"))
            source_px = look.get("source_short_side_px")
            self.num_upscaled += is_upscaled(source_px, cut["width"], cut["height"])
        if status in ("keep", "drop"):
            self.sample.offer(reason[1], state.clip_id, state.row)
        self._note_failure(state, state.clip_id)
        self.what_if.add(evidence_of(state), hours)

    def _note_failure(self, state: ItemState, item_id: str) -> None:
        record = state.last.record
        if record is None or not isinstance(record.outcome, Fail):
            return
        fail = record.outcome
        self.num_failures[fail.kind.value] += 1
        rows = self.failures[fail.kind.value]
        if len(rows) < self.limits.max_failures:
            row = FailureRow(item_id, record.stage, fail.message, fail.attempts, fail.log_tail)
            rows.append(row)

    def failure_groups(self, out: str) -> tuple[FailureGroup, ...]:
        return tuple(
            FailureGroup(
                kind,
                num,
                f"avipipe retry --out {shlex.quote(out)} --kind {kind}",
                tuple(self.failures[kind]),
            )
            for kind, num in self.num_failures.most_common()
        )

    def source_rows(self) -> tuple[SourceRow, ...]:
        return tuple(self._source_row(state) for state in self.sources)

    def _source_row(self, state: ItemState) -> SourceRow:
        record = state.last.record
        line = state.row.source.line_id
        return SourceRow(
            uri=state.row.source.uri,
            source_id=state.source_id,
            status="pending" if record is None else record.status,
            reason="" if record is None else record.reason,
            duration_s=evidence_of(state).get("probe", {}).get("duration_s"),
            num_clips=self.clips_of[line],
            num_kept=self.kept_of[line],
        )


def _stage_rows(
    graph: Graph, counts: dict[str, StageCount], num_lines: int, num_clips: int
) -> tuple[StageRow, ...]:
    """The funnel; what enters a stage is what the one before it kept."""
    rows = []
    for stages, entered in ((graph.source_stages, num_lines), (graph.clip_stages, num_clips)):
        for stage in stages:
            count = counts[stage.name]
            rows.append(
                StageRow(
                    name=stage.name,
                    level=stage.level,
                    num_in=entered,
                    items=_tally(count.items),
                    hours=_tally(count.hours),
                    losses=_losses(count.reasons, count.reason_hours),
                    wall_s=count.wall_s,
                    cpu_s=count.cpu_s,
                    peak_rss_bytes=count.peak_rss_bytes,
                )
            )
            entered = count.items["keep"]
    return tuple(rows)


def _weights(role: str, backend: str) -> tuple[tuple[str, str], ...]:
    known = weights.known()
    names = needs_of(create(role, backend))
    return tuple((name, known[name].licence if name in known else "unknown") for name in names)


def _split_rows(index: DatasetIndex) -> tuple[SplitRow, ...]:
    return tuple(
        SplitRow(name, split.num_samples, split.duration_s, split.num_shards, split.num_bytes)
        for name, split in index.splits.items()
    )


def _tally(amounts: Mapping[str, float]) -> OutcomeTally:
    return OutcomeTally(*(amounts.get(status, 0) for status in ("keep", "drop", "fail", "pending")))


def _losses(
    items: Mapping[tuple[str, str], int], hours: Mapping[tuple[str, str], float]
) -> tuple[Loss, ...]:
    """Most first; equal ones by name."""
    order = sorted(items, key=lambda name: (-items[name], name))
    return tuple(Loss(*name, items[name], hours[name]) for name in order)
