"""The stage graph, and the way of one item through it.

fetch -> probe -> shots => listen -> decide -> look -> decide -> cut -> fingerprint -> mask
-> decide -> caption -> instruct -> pair

`=>` is the fan-out from a source to its clips. `decide` stands wherever new evidence has come in,
so that nothing dear is done to a clip whose fate the cheap evidence has settled.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from avipipe.annotators.registry import chosen, create
from avipipe.decision.model import shipped
from avipipe.manifests.records import (
    Evidence,
    Keep,
    Record,
    SourceLine,
    Span,
    clip_id,
    digest,
    span_json,
)
from avipipe.pipeline.config import BuildConfig
from avipipe.pipeline.store import is_whole
from avipipe.stages.annotated import AnnotatedStage, Identity
from avipipe.stages.base import Item, Stage
from avipipe.stages.caption import Caption
from avipipe.stages.cut import Cut
from avipipe.stages.decide import Decide
from avipipe.stages.eyes import Eyes
from avipipe.stages.fetch import Fetch, of_line
from avipipe.stages.fingerprint import Fingerprint
from avipipe.stages.instruct import Instruct
from avipipe.stages.listen import Listen
from avipipe.stages.look import Look
from avipipe.stages.mask import Mask
from avipipe.stages.pair import Pair
from avipipe.stages.probe import Probe
from avipipe.stages.shots import Shots

Lookup = Callable[[str], Record | None]

UsedBackends = Mapping[str, Mapping[str, Identity]]
"""Identities of the backends that a build used: stage -> role -> identity."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row between driver and workers: about 1 kB that says where an item stands.

    A row without a span is a source; one with a span is a clip of it.
    """

    source: SourceLine
    span: Span | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Row":
        data = json.loads(text)
        source = data["source"]
        source["span"] = _span(source["span"])
        source["ranges"] = tuple(Span(**span) for span in source.get("ranges", ()))
        return cls(SourceLine(**source), _span(data["span"]))


def _span(data: Mapping[str, float] | None) -> Span | None:
    return None if data is None else Span(**data)


@dataclass(frozen=True, slots=True)
class Visit:
    """One stage on the way of an item: its key, what the stage would see, what came of it."""

    stage: Stage
    key: str
    item: Item
    record: Record | None


class Graph:
    """The stages of one configuration, in order."""

    def __init__(self, config: BuildConfig) -> None:
        backends = chosen(config.profile, config.annotators)

        def annotator(role: str) -> Any:
            return create(role, backends[role])

        stages = config.stages
        judge = stages.decide.judge(shipped(config.profile))
        self.config = config
        self.judge = judge
        self.source_stages: tuple[Stage, ...] = (
            Fetch(stages.fetch),
            Probe(stages.probe),
            Shots(stages.shots),
        )
        self.clip_stages: tuple[Stage, ...] = (
            Listen(
                stages.listen,
                vad=annotator("vad"),
                diarizer=annotator("diarize"),
                separator=annotator("separate"),
                tagger=annotator("tag"),
            ),
            Decide(judge, after="listen"),
            Look(
                stages.look,
                localizer=annotator("localize"),
                active_speaker=annotator("active_speaker"),
                eyes=Eyes(
                    detector=annotator("detect"),
                    classifier=annotator("classify"),
                    text_finder=annotator("text"),
                    matcher=annotator("match"),
                ),
            ),
            Decide(judge, after="look"),
            Cut(stages.cut),
            Fingerprint(),
            Mask(
                stages.mask,
                detector=annotator("detect"),
                segmenter=annotator("segment"),
                propagator=annotator("propagate"),
                matcher=annotator("match"),
            ),
            Decide(judge, after="mask"),
            Caption(stages.caption, captioner=annotator("caption")),
            Instruct(
                stages.instruct,
                instructor=annotator("instruct"),
                num_levels=stages.pair.num_levels,
            ),
            Pair(stages.pair),
        )

        for stage in self.stages:
            stage.timeout_s = config.executor.timeout_s.get(stage.name, stage.timeout_s)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.source_stages + self.clip_stages

    @property
    def annotated(self) -> tuple[AnnotatedStage, ...]:
        """Stages that run annotators."""
        return tuple(stage for stage in self.stages if isinstance(stage, AnnotatedStage))

    def adopt(self, used: UsedBackends, *, only_missing: bool = False) -> list[str]:
        """Use the weights of an earlier build in the stage keys; see `AnnotatedStage.adopt`.

        Returns:
            what to tell the user: of each stage the weights that are here and are others.
        """
        changes = []
        for stage in self.annotated:
            changed = stage.adopt(used.get(stage.name, {}), only_missing=only_missing)
            if changed:
                changes.append(f"{', '.join(changed)} of `{stage.name}`")
        return changes

    def adopted(self) -> UsedBackends:
        """Adopted weights, for workers that have to find the same keys."""
        return {stage.name: stage.adopted for stage in self.annotated if stage.adopted}

    def trail(self, row: Row, lookup: Lookup, folder: Callable[[str], Path]) -> Iterator[Visit]:
        """Follow an item through its stages until it stops or something is still to do.

        A source's trail ends with `shots`; a clip's trail starts with its source's.
        The last visit's record is None if that stage is pending; the consumer may then run it,
        `lookup` finds the new record, and the trail goes on.
        """
        keys: dict[str, str] = {}
        evidence: dict[str, Evidence] = {}
        folders: dict[str, Path] = {}
        item_id = row.source.line_id
        stages = self.source_stages if row.span is None else self.stages
        for stage in stages:
            if stage.level == "clip":
                assert row.span is not None
                item_id = clip_id(evidence["fetch"]["source_id"], row.span)
            item = Item(
                id=item_id,
                source=row.source,
                span=row.span if stage.level == "clip" else None,
                evidence={name: evidence[name] for name in stage.needs},
                folders={name: folders[name] for name in stage.needs},
            )
            key = stage.key(_subject(stage, item), keys)
            record = _usable(stage, item, lookup(key), folder(key))
            yield Visit(stage, key, item, record)
            record = record or _usable(stage, item, lookup(key), folder(key))
            if record is None or not isinstance(record.outcome, Keep):
                return
            keys[stage.name] = key
            evidence[stage.name] = record.outcome.evidence
            folders[stage.name] = folder(key)
            if stage.name == "fetch":
                fetched = evidence["fetch"] = of_line(record.outcome.evidence, row.source)
                item_id = fetched["source_id"]
                # What follows depends on the content, not on which line of the list asked for it.
                keys["fetch"] = digest([item_id, fetched["sha256"]])


def _subject(stage: Stage, item: Item) -> str:
    """What a stage key names: a fetch its URI, a fan-out its source and range, others the item."""
    if isinstance(stage, Fetch):
        return stage.subject(item.source)
    if stage.fans_out and item.source.span is not None:
        return f"{item.id} {span_json(item.source.span)}"
    return item.id


def _usable(stage: Stage, item: Item, record: Record | None, folder: Path) -> Record | None:
    """A record whose files are still there and whose world has not moved on."""
    if record is None or not isinstance(record.outcome, Keep):
        return record
    if not is_whole(record, folder):
        return None
    return record if stage.fresh(item, record.outcome.evidence) else None


@lru_cache(maxsize=4)
def graph_of(config_json: str, adopted_json: str) -> Graph:
    """Build the graph of a resolved configuration, once in each process."""
    graph = Graph(BuildConfig.model_validate_json(config_json))
    graph.adopt(json.loads(adopted_json))
    return graph
