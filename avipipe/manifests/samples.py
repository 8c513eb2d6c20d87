"""What is published of a clip: its row in the manifest and, if it is kept, its sample."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from avipipe.manifests import rle
from avipipe.manifests.duplicates import SplitClip
from avipipe.manifests.records import Evidence, SourceLine, Span
from avipipe.manifests.rle import canonical_json
from avipipe.manifests.shards import Member
from avipipe.media import normalize

FPS = int(normalize.FPS)
"""Whole, as JSON holds it."""

DECIDED_AFTER = ("mask", "look", "listen")
"""The stages after which clips are decided, the last one first."""

_OWN_PLACE = frozenset({"caption", "cut", "fingerprint", "instruct"})
"""Stages whose evidence a sample's `json` shows in other places, or not at all."""

EDITS_MEMBER = "edits.json"
"""Member of samples that come with edits."""


def last_decision(evidence: Mapping[str, Evidence]) -> Evidence:
    """Evidence of the last decision on a clip; empty where there was none."""
    found = (evidence.get(f"decide_{after}") for after in DECIDED_AFTER)
    return next((each for each in found if each is not None), {})


def probability_of(evidence: Mapping[str, Evidence]) -> float | None:
    """Probability that a clip is good, by the last decision on it; None: unknown."""
    probability = last_decision(evidence).get("probability")
    # Readers of shards ask for one type in all samples, and a stored 1 is read as an int.
    return None if probability is None else float(probability)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Facts on the source of a clip: where it comes from.

    Attributes:
        sha256: of the source file.
        origin: what the place it was fetched from says: `title`, `uploader`, …, None if unknown.
        metadata: what the list says of it.
    """

    source_id: str
    uri: str
    sha256: str = ""
    origin: Mapping[str, str | None] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, line: SourceLine, fetch: Evidence) -> "SourceFacts":
        """Take the facts from a line of the list and the evidence of `fetch`."""
        return cls(
            fetch["source_id"],
            line.uri,
            fetch.get("sha256", ""),
            fetch.get("origin", {}),
            dict(line.metadata),
        )

    @property
    def licence(self) -> str:
        """The licence by the list, else by the origin; empty if unknown."""
        said = self.metadata.get("licence") or self.metadata.get("license")
        return said or self.origin.get("licence") or ""

    @property
    def channel(self) -> str:
        """Channel or uploader; empty if unknown."""
        said = self.metadata.get("channel") or self.metadata.get("uploader")
        if said:
            return said
        name = self.origin.get("channel_id") or self.origin.get("uploader")
        return f"{self.origin.get('extractor') or ''}:{name}" if name else ""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What a build knows of one line of the list.

    Attributes:
        source: its `source_id` is empty where it could not be fetched.
        span: the part that the line asks for; None for all of it.
        reason: the kind of failure; empty where there is none.
        probe: the evidence of that stage; empty where it did not come so far.
    """

    source: SourceFacts
    span: Span | None
    status: Literal["ok", "fail"]
    reason: str
    probe: Evidence


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """What a build knows of one clip.

    Attributes:
        reason: why it was dropped or failed; empty for a kept clip.
        evidence: of each stage that kept it, and of the one that dropped it, by stage.
        provenance: of each stage that ran on it: version, settings with backends and weights, key.
        files: of a kept clip: `mp4`, `flac`, `masks.json`, `pairs.json` and `edits.json`.
    """

    clip_id: str
    source: SourceFacts
    span: Span
    decision: Literal["keep", "drop", "fail"]
    reason: str
    evidence: Mapping[str, Evidence]
    provenance: Mapping[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def probability(self) -> float | None:
        """Probability that the clip is good, by the last decision; None where there was none."""
        return probability_of(self.evidence)

    @property
    def num_edits(self) -> int:
        """Number of edits that it was given, whether they are published or not."""
        return int(self.evidence.get("instruct", {}).get("num_edits", 0))

    def split_clip(self) -> SplitClip:
        """What the clip is grouped by for its split."""
        return split_clip(
            self.clip_id,
            self.source.source_id,
            self.source.channel,
            self.evidence.get("fingerprint", {}),
        )


def split_clip(clip_id: str, source_id: str, channel: str, fingerprint: Evidence) -> SplitClip:
    """What a clip is grouped by, from the evidence of `fingerprint`, which may be missing."""
    return SplitClip(
        clip_id,
        source_id,
        channel,
        tuple(fingerprint.get("video_phash") or ()),
        np.array(fingerprint.get("audio_chromaprint") or (), np.uint32),
    )


def sample_members(record: ClipRecord, split: str, *, has_edits: bool) -> dict[str, Member]:
    """Make the members of a kept clip's sample.

    Args:
        has_edits: whether it comes with its edits; without, nothing of it depends on them.
    """
    files = {name: path for name, path in record.files.items() if has_edits or name != EDITS_MEMBER}
    facts = canonical_json(sample_facts(record, split, has_edits=has_edits))
    return {**files, "json": facts}


def sample_facts(record: ClipRecord, split: str, *, has_edits: bool) -> dict[str, Any]:
    """Make the `json` member: everything about a sample but its media, masks and edits.

    Readers such as `datasets` infer the type of every part from the first few samples, so each has
    the same keys and types in all of them: what is unknown is empty text, not null, and what has
    other keys in other samples is JSON as text, as in the manifests.
    """
    caption, cut = record.evidence["caption"], record.evidence["cut"]
    source = record.source
    made_by = {k: v for k, v in record.provenance.items() if has_edits or k != "instruct"}
    return {
        "clip_id": record.clip_id,
        "split": split,
        "caption": {"text": caption["text"], "backend": caption["backend"]},
        "label": caption["label"],
        "probability": record.probability,
        "source": {
            "source_id": source.source_id,
            "uri": source.uri,
            "sha256": source.sha256,
            "origin": _text(source.origin),
            "metadata": _text(source.metadata),
        },
        "span": {"start_s": float(record.span.start_s), "end_s": float(record.span.end_s)},
        "fps": FPS,
        "sample_rate_hz": normalize.SAMPLE_RATE_HZ,
        "num_frames": cut["num_frames"],
        "num_samples": cut["num_samples"],
        "size": [cut["height"], cut["width"]],
        "crop": cut["crop"],
        "boxes": _boxes(record.files["masks.json"]),
        "sync": cut["sync"],
        "evidence": _text({k: v for k, v in record.evidence.items() if k not in _OWN_PLACE}),
        "licence": source.licence,
        "channel": source.channel,
        "provenance": _text(made_by),
    }


def _boxes(masks: Path) -> list[list[int]]:
    """Of each frame [x0, y0, x1, y1], half-open, in pixels; all 0 where the instance is not seen.

    An empty box, as its mask is, and not null: see `sample_facts`.
    """
    track = rle.read_masks(masks)
    return [list(rle.box(counts, track.size) or (0, 0, 0, 0)) for counts in track.frames]


def _text(value: Mapping[str, Any]) -> str:
    return canonical_json(value).decode().rstrip("\n")
