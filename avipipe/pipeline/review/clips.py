"""Clips to review, and of each what it takes to show it.

They come from two places: the work folder, and, for what is not there any more, the published
dataset. A kept clip is always in one of them. Of a dropped one there is a video as long as its
source is there.
"""

import json
import shutil
import tarfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from avipipe.errors import FailKind, ManifestError, MediaError
from avipipe.files import sha256_of
from avipipe.manifests import tables
from avipipe.manifests.dataset import read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.edits import EditPair
from avipipe.manifests.records import Evidence, SourceLine, Span
from avipipe.manifests.rle import MaskTrack, read_masks
from avipipe.manifests.samples import probability_of
from avipipe.manifests.tables import CLIPS_NAME, EDITS_NAME, PublishedTables
from avipipe.manifests.uris import is_url, local_path
from avipipe.media.normalize import VIDEO_NAME
from avipipe.media.probe import MediaInfo, probe
from avipipe.pipeline.accounting import ItemState, Survey
from avipipe.pipeline.graph import Row
from avipipe.pipeline.publication import kept_evidence
from avipipe.pipeline.review.draw import Candidate, Stratum, band_of
from avipipe.stages.fetch import source_path
from avipipe.stages.mask import MASKS_NAME

_COLUMNS = ["clip_id", "source_uri", "source_id", "start_s", "end_s"]
_COLUMNS += ["decision", "reason", "shard", "evidence"]


class ClipMedia(NamedTuple):
    """Media of a clip: a part of a file, and a mask for each 24th of a second."""

    path: Path
    info: MediaInfo
    start_s: float
    end_s: float
    masks: MaskTrack | None = None


@dataclass(frozen=True, slots=True)
class ReviewClip:
    """A clip to review, and what the dataset says of it.

    Attributes:
        reason: of a drop; empty for a kept clip.
        evidence: by stage, of all that it came to.
        metadata: what the list says of its source.
        edits: its published edit pairs.
    """

    clip_id: str
    decision: Literal["keep", "drop"]
    reason: str
    source_uri: str
    start_s: float
    end_s: float
    evidence: Mapping[str, Evidence]
    footage: ClipMedia
    metadata: Mapping[str, str] = field(default_factory=dict)
    edits: tuple[EditPair, ...] = ()


class WorkClips:
    """Source of clips whose work is still there.

    Attributes:
        ids: of all that were listed.
    """

    def __init__(self, survey: Survey, lines: Sequence[SourceLine]) -> None:
        self._survey = survey
        self._lines = lines
        self.ids: set[str] = set()

    def candidates(self, counts: Counter[str]) -> Iterator[Candidate]:
        """Iterate over clips that were decided on; `counts` takes in what became of every one."""
        for state in self._survey.clips(self._lines):
            record = state.last.record
            status = "pending" if record is None else record.status
            counts[status] += 1
            self.ids.add(state.clip_id)
            if record is None or status not in ("keep", "drop"):
                continue
            band = band_of(probability_of(kept_evidence(state)))
            yield Candidate(state.clip_id, Stratum(status, band, record.reason), state.row)

    def clip(self, row: Row) -> ReviewClip:
        """Load all of a clip.

        Raises:
            MediaError: its video cannot be read.
            ManifestError: its masks cannot.
        """
        state = self._survey.state(row)
        record, span = state.last.record, row.span
        assert record is not None
        assert span is not None
        assert record.status != "fail"
        return ReviewClip(
            clip_id=state.clip_id,
            decision=record.status,
            reason=record.reason,
            source_uri=row.source.uri,
            start_s=span.start_s,
            end_s=span.end_s,
            evidence=kept_evidence(state),
            footage=self._footage(state, span),
            metadata=row.source.metadata,
        )

    def _footage(self, state: ItemState, span: Span) -> ClipMedia:
        evidence = kept_evidence(state)
        folders = {visit.stage.name: self._survey.folder(visit.key) for visit in state.visits}
        if "cut" in evidence:
            masks = folders["mask"] / MASKS_NAME if "mask" in folders else None
            return _cut_footage(folders["cut"] / VIDEO_NAME, masks, evidence["cut"])
        fetched = next(visit.item for visit in state.visits if "fetch" in visit.stage.needs)
        info = MediaInfo.from_json(evidence["probe"])
        return ClipMedia(source_path(fetched), info, span.start_s, span.end_s)


class PublishedClips:
    """Source of clips of which nothing but the published dataset is left.

    Args:
        scratch: folder for what is taken out of shards; each clip's files replace the last one's.
    """

    def __init__(self, out: str, scratch: Path) -> None:
        self._destination = Destination(out)
        self._scratch = scratch

    def candidates(self, seen: Collection[str], counts: Counter[str]) -> Iterator[Candidate]:
        """Iterate over clips that were decided on and are not in `seen`; `counts` takes in every
        one, and how many are `without_video`."""
        index = read_index(self._destination)
        if index is None:
            return
        with PublishedTables(self._destination, index) as published:
            for row in published.rows(CLIPS_NAME, _COLUMNS):
                if row["clip_id"] in seen:
                    continue
                counts[row["decision"]] += 1
                if row["decision"] == "fail":
                    continue
                if not _may_be_shown(row):
                    counts["without_video"] += 1
                    continue
                band = band_of(probability_of(json.loads(row["evidence"])))
                stratum = Stratum(row["decision"], band, row["reason"])
                yield Candidate(row["clip_id"], stratum, row)

    def edits(self) -> dict[str, tuple[EditPair, ...]]:
        """Read the edit pairs of all clips that have some, by clip id.

        Raises:
            ManifestError: their manifest is damaged.
        """
        index = read_index(self._destination)
        found = defaultdict[str, list[EditPair]](list)
        if index is None:
            return {}
        with PublishedTables(self._destination, index) as published:
            for row in published.rows(EDITS_NAME, ["clip_id", *EditPair.model_fields]):
                try:
                    found[row.pop("clip_id")].append(EditPair.model_validate(row))
                except ValidationError as error:
                    raise ManifestError(f"{EDITS_NAME}: expected edit pairs: {error}") from error
        return {clip_id: tuple(pairs) for clip_id, pairs in found.items()}

    def clip(self, row: tables.Row) -> ReviewClip:
        """Load all of a clip.

        Raises:
            MediaError: its video is not there any more, or cannot be read.
            ManifestError: its masks or its shard cannot.
        """
        evidence = json.loads(row["evidence"])
        return ReviewClip(
            clip_id=row["clip_id"],
            decision=row["decision"],
            reason=row["reason"],
            source_uri=row["source_uri"],
            start_s=row["start_s"],
            end_s=row["end_s"],
            evidence=evidence,
            footage=self._sample(row, evidence) if row["shard"] else _source_footage(row),
        )

    def _sample(self, row: tables.Row, evidence: Mapping[str, Evidence]) -> ClipMedia:
        video, masks = self._scratch / VIDEO_NAME, self._scratch / MASKS_NAME
        members = {f"{row['clip_id']}.mp4": video, f"{row['clip_id']}.masks.json": masks}
        try:
            with (
                self._destination.reading(row["shard"]) as file,
                tarfile.open(fileobj=file, mode="r:") as tar,
            ):
                for name, path in members.items():
                    member = tar.extractfile(name)
                    assert member is not None, f"{name} is a file"
                    with path.open("wb") as copy:
                        shutil.copyfileobj(member, copy)
        except (tarfile.TarError, KeyError) as error:
            raise ManifestError(
                f"{row['shard']}: cannot read {row['clip_id']}: {error}; `avipipe verify` tells "
                "what is wrong"
            ) from error
        try:
            return _cut_footage(video, masks, evidence["cut"])
        except MediaError as error:
            raise MediaError(
                error.kind,
                f"{row['shard']}: the video of {row['clip_id']} is damaged; `avipipe verify` tells "
                "what is wrong",
            ) from error


def _may_be_shown(row: tables.Row) -> bool:
    """Whether its video is published, or there may be one as its source still seems to be there."""
    uri = row["source_uri"]
    return bool(row["shard"]) or (not is_url(uri) and local_path(uri).is_file())


def _cut_footage(video: Path, masks: Path | None, cut: Evidence) -> ClipMedia:
    track = read_masks(masks) if masks is not None and masks.is_file() else None
    return ClipMedia(video, probe(video), 0.0, cut["duration_s"], track)


def _source_footage(row: tables.Row) -> ClipMedia:
    path = local_path(row["source_uri"])
    try:
        source_id = f"file-{sha256_of(path)[:16]}"
    except OSError as error:
        raise MediaError(FailKind.UNREACHABLE, f"{path}: {error.strerror}") from error
    if row["source_id"] != source_id:
        raise MediaError(FailKind.NO_SUCH_FILE, f"{path}: another file stands there now")
    return ClipMedia(path, probe(path), row["start_s"], row["end_s"])
