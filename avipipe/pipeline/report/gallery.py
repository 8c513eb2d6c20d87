"""The clips that the report shows, and everything there is to see of each."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from avipipe.annotators.key_frames import spread
from avipipe.decision.judge import Judge, used_backends
from avipipe.manifests.evidence import FaceSeen, ListenEvidence, SpeakerTurn
from avipipe.manifests.pairs import read_pairs
from avipipe.manifests.records import Drop, Evidence, Keep, digest
from avipipe.manifests.rle import MaskTrack, area, decode, iou, read_masks
from avipipe.media.normalize import FPS, VIDEO_NAME
from avipipe.pipeline import words
from avipipe.pipeline.accounting import ItemState
from avipipe.pipeline.graph import Row
from avipipe.pipeline.report import faces
from avipipe.pipeline.report.measures import deciding, gather_evidence, verdict
from avipipe.pipeline.report.model import ClipCard, DegradedMask, FramePicture, SoundSummary, Stripe
from avipipe.pipeline.report.pictures import (
    FRAME_HEIGHT_PX,
    frames_at,
    outline,
    picture,
    still,
)
from avipipe.pipeline.sampling import Strata, interleave
from avipipe.stages.look import (
    HEAT_NAME,
    NUM_PREVIEW_FRAMES,
    PREVIEW_NAME,
    crop_of,
    tracks_in,
)

# What is shown of a clip: frames, and levels of its coarse masks. Choices.
NUM_FRAMES = 4
MAX_LEVELS = 6

_STILLS = {
    PREVIEW_NAME: "frames, evenly spread",
    HEAT_NAME: "motion with the sound",
}


@dataclass(slots=True)
class StratifiedSample:
    """A stratified sample of clips that depends on their ids alone, in constant memory."""

    max_clips: int
    _strata: Strata[str, Row] = field(init=False)

    def __post_init__(self) -> None:
        self._strata = Strata(self.max_clips)

    def offer(self, stratum: str, clip_id: str, row: Row) -> None:
        """Consider a clip. `stratum`: "" for a kept clip, else the reason that it was dropped."""
        self._strata.offer(stratum, int(digest(clip_id)[:16], 16), clip_id, row)

    def rows(self) -> list[Row]:
        """Rows of the sample: kept clips first, then those of each reason."""
        dropped = {name: self._strata[name] for name in sorted(self._strata) if name}
        num_dropped = sum(map(len, dropped.values()))
        kept = self._strata[""][: max(self.max_clips // 2, self.max_clips - num_dropped)]
        named = [[(name, row) for row in rows] for name, rows in dropped.items()]
        shown = list(islice(interleave(named), self.max_clips - len(kept)))
        # Sorting is stable: of each reason they stay in the order in which they were drawn.
        return kept + [row for _, row in sorted(shown, key=lambda entry: entry[0])]


@dataclass(frozen=True, slots=True)
class CardBuilder:
    """Builds the card of a clip from what its stages have left."""

    judge: Judge
    folder: Callable[[str], Path]
    out: str

    def card(self, state: ItemState) -> ClipCard:
        """Build the card of a clip. Missing files leave a gap, not an error."""
        span = state.row.span
        record = state.last.record
        assert span is not None
        assert record is not None
        evidence = evidence_of(state)
        folders = {visit.stage.name: self.folder(visit.key) for visit in state.visits}
        caption, cut = evidence.get("caption", {}), evidence.get("cut", {})
        tracks = faces.tracks(evidence.get("look"))
        frames, pair_frame, levels = _frames(
            folders, cut.get("num_frames", 0), tracks_in(tracks, crop_of(cut)) or []
        )
        stills = _stills(folders, state, [HEAT_NAME] if frames else list(_STILLS), tracks)
        return ClipCard(
            clip_id=state.clip_id,
            status=record.status,
            reason=record.reason,
            stage=record.stage,
            because=words.REASONS[drop.reason] if isinstance(drop := record.outcome, Drop) else "",
            deciding=deciding(self.judge, evidence) if record.status == "drop" else "",
            source_uri=state.row.source.uri,
            start_s=span.start_s,
            end_s=span.end_s,
            label=str(caption.get("label", "")),
            caption=str(caption.get("text", "")),
            backend=str(caption.get("backend", "")),
            av_offset_ms=cut["sync"]["av_offset_ms"] if cut else None,
            frames=frames,
            pair_frame=pair_frame,
            levels=levels,
            stills=tuple(stills),
            sound=_sound(evidence.get("listen")),
            faces=faces.rows(tracks),
            num_faces=len(tracks),
            verdict=verdict(self.judge, evidence),
            backends=tuple(used_backends(gather_evidence(evidence)).items()),
            command=f"avipipe why {shlex.quote(state.clip_id)} --out {shlex.quote(self.out)}",
        )


def evidence_of(state: ItemState) -> dict[str, Evidence]:
    """Evidence of every stage that let the item through."""
    return {
        visit.stage.name: visit.record.outcome.evidence
        for visit in state.visits
        if visit.record is not None and isinstance(visit.record.outcome, Keep)
    }


def _frames(
    folders: Mapping[str, Path], num_frames: int, tracks: Sequence[FaceSeen]
) -> tuple[tuple[FramePicture, ...], int, tuple[DegradedMask, ...]]:
    """Pictures of a cut clip with their masks, and the degraded masks of the fullest of them."""
    video = folders["cut"] / VIDEO_NAME if "cut" in folders else None
    if video is None or not video.is_file():
        return (), 0, ()
    masks = _masks(folders)
    indices = spread(range(num_frames), NUM_FRAMES)
    frames = frames_at(video, indices)
    pictures = tuple(
        _with_faces(
            picture(
                frame_HWC,
                masks.mask(index) if masks else None,
                height_px=FRAME_HEIGHT_PX,
                time_s=float(index / FPS),
            ),
            [index],
            tracks,
        )
        for index, frame_HWC in zip(indices, frames, strict=False)
    )
    if masks is None or not pictures:
        return pictures, 0, ()
    areas = [area(masks.frames[index], masks.size) for index in indices[: len(pictures)]]
    fullest = areas.index(max(areas))
    return pictures, fullest, _levels(folders, masks, indices[fullest], pictures[fullest])


def _with_faces(
    strip: FramePicture, indices: Sequence[int], tracks: Sequence[FaceSeen]
) -> FramePicture:
    """A picture of these frames side by side, with the faces in each."""
    width = strip.width // len(indices)
    marks = (
        mark
        for place, index in enumerate(indices)
        for mark in faces.marks(tracks, index, width=width, height=strip.height, left=place * width)
    )
    return replace(strip, faces=tuple(marks))


def _masks(folders: Mapping[str, Path]) -> MaskTrack | None:
    path = folders["mask"] / "masks.json" if "mask" in folders else None
    return read_masks(path) if path is not None and path.is_file() else None


def _levels(
    folders: Mapping[str, Path], masks: MaskTrack, frame: int, drawn: FramePicture
) -> tuple[DegradedMask, ...]:
    """The degraded masks of one frame, evenly chosen among all, the box always with them."""
    path = folders["pair"] / "pairs.json" if "pair" in folders else None
    if path is None or not path.is_file():
        return ()
    levels = read_pairs(path).levels
    step = -(-len(levels) // MAX_LEVELS)
    return tuple(
        DegradedMask(
            p=entry.level.p,
            outline=outline(decode(entry.frames[frame], masks.size), drawn.width, drawn.height),
            iou=iou(entry.frames[frame], masks.frames[frame], masks.size),
            is_box=entry is levels[-1],
        )
        for entry in levels[::-1][::step][::-1]
    )


def _stills(
    folders: Mapping[str, Path],
    state: ItemState,
    names: Sequence[str],
    tracks: Sequence[FaceSeen],
) -> Iterator[FramePicture]:
    """What `look` has left of a clip."""
    look = next((visit.record for visit in state.visits if visit.stage.name == "look"), None)
    if look is None or not isinstance(look.outcome, Keep):
        return
    num_frames = look.outcome.evidence["num_frames"]
    for name in names:
        if name in look.outcome.files and (shown := still(folders["look"] / name, _STILLS[name])):
            indices = spread(range(num_frames), NUM_PREVIEW_FRAMES)
            yield _with_faces(shown, indices, tracks) if name == PREVIEW_NAME else shown


def _sound(listen: Evidence | None) -> SoundSummary | None:
    """The sound track as `listen` heard it; None where it has not run."""
    if listen is None:
        return None
    heard = ListenEvidence.model_validate(listen)
    return SoundSummary(
        peaks=tuple(heard.waveform),
        speech=_stripes(heard.speech),
        speakers=_stripes(heard.speakers),
        onsets_s=tuple(heard.onsets_s),
        classes=tuple(words.sounds(listen)),
    )


def _stripes(turns: Iterable[SpeakerTurn]) -> tuple[Stripe, ...]:
    return tuple(Stripe(turn.start_s, turn.end_s, turn.label) for turn in turns)
