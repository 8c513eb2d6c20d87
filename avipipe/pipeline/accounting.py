"""Where every item stands, so that in = kept + dropped + failed + pending at every stage."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avipipe.manifests.records import Keep, Record, SourceLine, Span, clip_id
from avipipe.pipeline.graph import Graph, Lookup, Row, Visit


@dataclass(slots=True)
class StageCount:
    """Counts of one stage: items and hours that came to it, and what became of them."""

    stage: str
    items: Counter[str] = field(default_factory=Counter)
    """Number of items by status (`keep`, `drop`, `fail`, `pending`)."""
    hours: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of items by (status, reason)."""
    reason_hours: Counter[tuple[str, str]] = field(default_factory=Counter)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0

    @property
    def num_in(self) -> int:
        return sum(self.items.values())

    def add(self, record: Record | None, hours: float) -> None:
        status = "pending" if record is None else record.status
        self.items[status] += 1
        self.hours[status] += hours  # type: ignore[assignment]
        if record is None:
            return
        if record.reason:
            self.reasons[status, record.reason] += 1
            self.reason_hours[status, record.reason] += hours  # type: ignore[assignment]
        self.wall_s += record.cost.wall_s
        self.cpu_s += record.cost.cpu_s
        self.peak_rss_bytes = max(self.peak_rss_bytes, record.cost.peak_rss_bytes)


@dataclass(frozen=True, slots=True)
class ItemState:
    """State of a source or clip: the last visit of its trail."""

    row: Row
    source_id: str
    """Id of the source; empty as long as it is not fetched."""
    clip_id: str
    """Id of the clip; empty for a source."""
    visits: tuple[Visit, ...]

    @property
    def last(self) -> Visit:
        return self.visits[-1]

    @property
    def pending(self) -> bool:
        return self.last.record is None

    @property
    def stopped(self) -> bool:
        """Whether the item was dropped or failed somewhere."""
        record = self.last.record
        return record is not None and not isinstance(record.outcome, Keep)


class Survey:
    """A survey of a build: walks every item through what is known of it. Holds ids alone."""

    def __init__(self, graph: Graph, lookup: Lookup, folder: Callable[[str], Path]) -> None:
        self._graph = graph
        self._lookup = lookup
        self.folder = folder

    def state(self, row: Row) -> ItemState:
        """Find where one item stands."""
        visits = tuple(self._graph.trail(row, self._lookup, self.folder))
        source_id = ""
        for visit in visits:
            record = visit.record
            if visit.stage.name == "fetch" and record and isinstance(record.outcome, Keep):
                source_id = record.outcome.evidence["source_id"]
        clip = clip_id(source_id, row.span) if row.span is not None else ""
        return ItemState(row, source_id, clip, visits)

    def sources(self, lines: Sequence[SourceLine]) -> Iterator[ItemState]:
        for line in lines:
            yield self.state(Row(line))

    def clips(self, lines: Sequence[SourceLine]) -> Iterator[ItemState]:
        """Iterate over clips, each once, in the order of the list; of equal ones over the first."""
        seen: set[str] = set()
        for source in self.sources(lines):
            for span in children(source):
                name = clip_id(source.source_id, span)
                if name not in seen:
                    seen.add(name)
                    yield self.state(Row(source.row.source, span))

    def counts(self, lines: Sequence[SourceLine]) -> dict[str, StageCount]:
        """Count the funnel: stage name -> counts, in the order of the graph."""
        counts = {stage.name: StageCount(stage.name) for stage in self._graph.stages}
        for source in self.sources(lines):
            for visit in source.visits:
                counts[visit.stage.name].add(visit.record, _source_hours(source))
        for clip in self.clips(lines):
            assert clip.row.span is not None
            for visit in clip_visits(clip):
                counts[visit.stage.name].add(visit.record, clip.row.span.duration_s / 3600)
        return counts


def children(source: ItemState) -> tuple[Span, ...]:
    """The clips that a source was split into; none while it is pending or failed."""
    record = source.last.record
    if record is None or not isinstance(record.outcome, Keep):
        return ()
    return record.outcome.children


def clip_visits(state: ItemState) -> tuple[Visit, ...]:
    """The part of a clip's trail that is its own, not its source's."""
    return tuple(visit for visit in state.visits if visit.stage.level == "clip")


def _source_hours(source: ItemState) -> float:
    for visit in source.visits:
        record = visit.record
        if visit.stage.name == "probe" and record and isinstance(record.outcome, Keep):
            return float(record.outcome.evidence["duration_s"]) / 3600
    return 0.0
