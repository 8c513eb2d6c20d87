"""Hands what the ledger knows to `publish`: clips as they are asked for, never all at once."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, Literal

from avipipe import __version__, weights
from avipipe.annotators.registry import chosen
from avipipe.decision.checks import KNOWN
from avipipe.manifests.card import DecisionFacts
from avipipe.manifests.dataset import read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.lease import Lease
from avipipe.manifests.records import Drop, Fail, Keep, SourceLine, Span
from avipipe.manifests.samples import EDITS_MEMBER, ClipRecord, SourceFacts, SourceRecord
from avipipe.manifests.tables import CLIPS_NAME, PublishedTables
from avipipe.media import ffmpeg
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME
from avipipe.pipeline.accounting import ItemState, Survey, clip_visits
from avipipe.pipeline.calibration import backends_of, interval, uncalibrated
from avipipe.pipeline.graph import Graph
from avipipe.pipeline.needs import used_weights
from avipipe.stages.fetch import of_line
from avipipe.stages.publish import Published, PublishFacts, publish

MEMBERS = {
    "mp4": ("cut", VIDEO_NAME),
    "flac": ("cut", AUDIO_NAME),
    "masks.json": ("mask", "masks.json"),
    "pairs.json": ("pair", "pairs.json"),
    EDITS_MEMBER: ("instruct", EDITS_MEMBER),
}
"""Origin of each member of a sample: the stage that makes it, and its name there."""

PUBLISHED_STAGES = frozenset(stage for stage, _ in MEMBERS.values())


class Clips(Mapping[str, ClipRecord]):
    """Clips of a dataset by id; each is read from the ledger when it is asked for."""

    def __init__(self, survey: Survey, lines: Sequence[SourceLine]) -> None:
        self._survey = survey
        self._rows = {state.clip_id: state.row for state in survey.clips(lines)}

    def __getitem__(self, name: str) -> ClipRecord:
        return clip_record(self._survey.state(self._rows[name]), self._survey)

    def kept(self, name: str) -> ClipRecord | None:
        """Look up a kept clip; None for every other, and for unknown ones."""
        row = self._rows.get(name)
        last = self._survey.state(row).last.record if row is not None else None
        return self[name] if last is not None and last.status == "keep" else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def publish_dataset(
    out: str, graph: Graph, survey: Survey, lines: Sequence[SourceLine], lease: Lease | None = None
) -> Published:
    """Publish what is settled; nothing may be pending.

    Args:
        lease: on `out`; without one, it is taken for the while.
    Raises:
        ManifestError: what is published there already is damaged.
    """
    sources = (source_record(state) for state in survey.sources(lines))
    return publish(
        out,
        Clips(survey, lines),
        sources,
        config=graph.config.stages.publish,
        facts=facts_of(graph),
        lease=lease,
    )


def unpublished(out: str, survey: Survey, lines: Sequence[SourceLine]) -> Iterator[ItemState]:
    """Kept clips that are in no published shard: those whose files are still to be read.

    Raises:
        ManifestError: what is published there already is damaged.
    """
    published = _published(out)
    for state in survey.clips(lines):
        record = state.last.record
        if record is not None and record.status == "keep" and state.clip_id not in published:
            yield state


def _published(out: str) -> set[str]:
    destination = Destination(out)
    index = read_index(destination)
    if index is None or not index.shards:
        return set()
    shards = {shard.name for shard in index.shards}
    with PublishedTables(destination, index) as tables:
        rows = tables.rows(CLIPS_NAME, ["clip_id", "shard"])
        return {row["clip_id"] for row in rows if row["shard"] in shards}


def facts_of(graph: Graph) -> PublishFacts:
    """Facts that the bytes of a dataset depend on besides its sources."""
    config = graph.config
    return PublishFacts(
        config_hash=config.identity_hash(),
        versions={
            "avipipe": __version__,
            "pyarrow": metadata.version("pyarrow"),
            **ffmpeg.versions(),
        },
        decision=_decision(graph),
        backends=tuple(chosen(config.profile, config.annotators).items()),
        weights=tuple(_licences(graph)),
    )


def _decision(graph: Graph) -> DecisionFacts:
    judge = graph.judge
    model = judge.model
    return DecisionFacts(
        model=model.name,
        data=model.data,
        min_probability=judge.min_probability,
        limits={KNOWN[name].limit: limit for name, limit in judge.limits.items()},
        figures={name: interval(found) for name, found in model.figures.items()},
        uncalibrated=uncalibrated(model, backends_of(graph)),
    )


def _licences(graph: Graph) -> Iterator[tuple[str, str]]:
    """(name, licence) of every model that the annotators use, with where it comes from."""
    known = weights.known()
    for name in sorted(used_weights(graph)):
        weight = known.get(name)
        yield (f"{name} ({weight.page})", weight.licence) if weight else (name, "unknown")


def source_record(state: ItemState) -> SourceRecord:
    """Record of a line of the list: what is known of it."""
    evidence = kept_evidence(state)
    line = state.row.source
    record = state.last.record
    assert record is not None, f"{line.uri} is pending"
    if "fetch" in evidence:
        source = SourceFacts.of(line, of_line(evidence["fetch"], line))
    else:
        source = SourceFacts("", line.uri, metadata=dict(line.metadata))
    status: Literal["ok", "fail"] = "ok" if isinstance(record.outcome, Keep) else "fail"
    return SourceRecord(source, line.span, status, record.reason, evidence.get("probe", {}))


def clip_record(state: ItemState, survey: Survey) -> ClipRecord:
    """Record of a settled clip: what is known of it."""
    record = state.last.record
    assert record is not None, f"{state.clip_id} is pending"
    assert state.row.span is not None
    evidence = kept_evidence(state)
    line = state.row.source
    source = SourceFacts.of(line, of_line(evidence["fetch"], line))
    own = {visit.stage.name for visit in clip_visits(state)}
    decision: Literal["keep", "drop", "fail"] = record.status
    return ClipRecord(
        clip_id=state.clip_id,
        source=source,
        span=_exact(state.row.span),
        decision=decision,
        reason=record.reason,
        evidence={name: value for name, value in evidence.items() if name in own},
        provenance=_provenance(state),
        files=_files(state, survey) if decision == "keep" else {},
    )


def kept_evidence(state: ItemState) -> dict[str, Any]:
    """Evidence by stage, of all stages that kept the item and of the one that dropped it."""
    evidence = {}
    for visit in state.visits:
        if visit.record is not None and not isinstance(visit.record.outcome, Fail):
            outcome = visit.record.outcome
            assert isinstance(outcome, Keep | Drop)
            evidence[visit.stage.name] = outcome.evidence
    return evidence


def _provenance(state: ItemState) -> dict[str, Any]:
    return {
        visit.stage.name: {
            "version": visit.stage.version,
            "settings": dict(visit.stage.settings()),
            "key": visit.key,
        }
        for visit in clip_visits(state)
    }


def _files(state: ItemState, survey: Survey) -> dict[str, Any]:
    keys = {visit.stage.name: visit.key for visit in state.visits}
    return {member: survey.folder(keys[stage]) / name for member, (stage, name) in MEMBERS.items()}


def _exact(span: Span) -> Span:
    return Span(span.start_ms / 1000, span.end_ms / 1000)
