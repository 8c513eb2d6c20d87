"""The nouns of a build: source lines, spans, items, outcomes and the ledger's records.

Accounting rests on these types: every item that enters a stage leaves it as exactly one of
`Keep`, `Drop` or `Fail`, or is still pending.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from avipipe.errors import FailKind

Evidence = dict[str, Any]
"""Raw measurements of one stage on one item: JSON values only."""

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]+")
"""Form of an id. No dot: WebDataset splits a member's name at the first one."""


class DropReason(StrEnum):
    """Reason of a drop. A drop is a decision on evidence, never an accident."""

    TOO_SHORT = "too_short"
    SILENT = "silent"
    OVERLAPPED_SPEECH = "overlapped_speech"
    SEVERAL_SPEAKERS = "several_speakers"
    MUSIC_OVER_PICTURE = "music_over_picture"
    AMBIENCE = "ambience"
    CROWD = "crowd"
    SEVERAL_SOURCES = "several_sources"
    STATIC_PICTURE = "static_picture"
    NO_VISIBLE_SOURCE = "no_visible_source"
    OUT_OF_SYNC = "out_of_sync"
    NO_INSTANCE = "no_instance"
    SEVERAL_INSTANCES = "several_instances"
    INSTANCE_TOO_SMALL = "instance_too_small"
    INSTANCE_TOO_LARGE = "instance_too_large"
    INSTANCE_NOT_PERSISTENT = "instance_not_persistent"
    MASK_UNSTABLE = "mask_unstable"
    POOR_SOURCE = "poor_source"
    SPLIT_BRIDGE = "split_bridge"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open interval `[start_s, end_s)` on a source's own clock, exact to the millisecond."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def start_ms(self) -> int:
        return round(self.start_s * 1000)

    @property
    def end_ms(self) -> int:
        return round(self.end_s * 1000)


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of the list that the user gives.

    Attributes:
        index: position in the list, from 0.
        uri: URL or path as given, a relative path made absolute. From a list it comes with its
            secrets; it is stored, and known to the stages, without (`pipeline.private`).
        span: the part to use; None for all of it.
        location: where the line stands, for messages: `list.txt:12`.
        metadata: what other columns say (`label`, `licence`, `channel`, …), text to text.
        ranges: of a URL, all that were listed together with this one, its own included; empty
            where it is to be fetched whole.
    """

    index: int
    uri: str
    span: Span | None
    location: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    ranges: tuple[Span, ...] = ()

    @property
    def line_id(self) -> str:
        """Id of the line, not of its content: the same URI and range always give the same id."""
        return "line-" + digest({"uri": self.uri, "span": span_json(self.span)})[:16]


@dataclass(frozen=True, slots=True)
class Keep:
    """Outcome: the item goes on. `files` are names in the stage's own folder in the store.

    `children`: only from a stage that fans out; the spans that go on in the item's place.
    """

    evidence: Evidence
    files: tuple[str, ...] = ()
    children: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """Outcome: the item was decided against."""

    reason: DropReason
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Fail:
    """Outcome: the item could not be processed."""

    kind: FailKind
    message: str
    attempts: int = 1
    log_tail: str = ""


Outcome = Keep | Drop | Fail

RECORD_VERSION = 2
"""Version of `Record.to_json`. Version 1, which did not say so, had neither `files` nor `note`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Digest and size of a file in the store, as the stage had written it."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a stage on an item; in the ledger and the report, never in a shard."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One outcome of one stage on one item: an entry of the store, and a line of the ledger.

    Attributes:
        files: what the stage wrote, by name; the store fills it in. Empty in records of version 1.
        note: why an earlier result of the same key did not count; empty where there was none.
    """

    key: str
    stage: str
    item_id: str
    outcome: Outcome
    cost: Cost = Cost()
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    note: str = ""

    @property
    def status(self) -> Literal["keep", "drop", "fail"]:
        match self.outcome:
            case Keep():
                return "keep"
            case Drop():
                return "drop"
            case Fail():
                return "fail"

    @property
    def reason(self) -> str:
        """The drop reason or the kind of failure; empty for a kept item."""
        match self.outcome:
            case Keep():
                return ""
            case Drop(reason=reason):
                return reason.value
            case Fail(kind=kind):
                return kind.value

    def to_json(self) -> dict[str, Any]:
        return {
            "version": RECORD_VERSION,
            "key": self.key,
            "stage": self.stage,
            "item_id": self.item_id,
            "status": self.status,
            "outcome": asdict(self.outcome),
            "cost": asdict(self.cost),
            "files": {name: asdict(file) for name, file in self.files.items()},
            "note": self.note,
        }

    @classmethod
    def from_json(cls, data: Any) -> "Record":
        """Parse the record in a JSON value.

        Raises:
            ValueError: it is none, or one that only a later version of avipipe understands.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"expected a record, found {type(data).__name__}")
        version = data.get("version", 1)
        if version not in range(1, RECORD_VERSION + 1):
            raise ValueError(
                f"expected a record of version 1 to {RECORD_VERSION}, found version {version!r}"
            )
        try:
            return cls(
                data["key"],
                data["stage"],
                data["item_id"],
                _outcome(data["status"], data["outcome"]),
                Cost(**data["cost"]),
                {name: StoredFile(**file) for name, file in data.get("files", {}).items()},
                data.get("note", ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a record: {type(error).__name__}: {error}") from error


def _outcome(status: str, body: Mapping[str, Any]) -> Outcome:
    if status == "keep":
        children = tuple(Span(**child) for child in body["children"])
        return Keep(body["evidence"], tuple(body["files"]), children)
    if status == "drop":
        return Drop(DropReason(body["reason"]), body["evidence"])
    return Fail(FailKind(body["kind"]), body["message"], body["attempts"], body["log_tail"])


def span_json(span: Span | None) -> list[int] | None:
    """Encode a span as [start_ms, end_ms]."""
    return None if span is None else [span.start_ms, span.end_ms]


def digest(value: Any) -> str:
    """sha256 of a JSON value in its one canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def clip_id(source_id: str, span: Span) -> str:
    """Id of a clip, `{source_id}_{start_ms:08d}_{end_ms:08d}`: the same everywhere."""
    return f"{source_id}_{span.start_ms:08d}_{span.end_ms:08d}"
