"""Look: what the picture of a clip says, and how it goes with the sound, from one small decode."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from avipipe.annotators.base import (
    HEARING_HZ,
    ActiveSpeaker,
    ActiveSpeakers,
    Frames,
    Heat,
    Localization,
    SoundLocalizer,
    SpeakerTrack,
    Wave,
)
from avipipe.annotators.embedded.motion import SHORT_SIDE_PX
from avipipe.annotators.key_frames import spread
from avipipe.annotators.picture.measure import blanked, measure_picture
from avipipe.manifests.evidence import (
    FaceSeen,
    LookEvidence,
    NormalBox,
    PictureSeen,
    SpeakerTurn,
    ThingSeen,
)
from avipipe.manifests.records import Evidence, Keep, Outcome
from avipipe.media.crop import WHOLE, Shares, in_crop, is_seen, normal_box, pixel_box
from avipipe.media.decode import read_audio, read_frames
from avipipe.media.normalize import FPS
from avipipe.media.probe import MediaInfo, VideoInfo
from avipipe.stages.annotated import AnnotatedStage
from avipipe.stages.base import Item
from avipipe.stages.eyes import Eyes
from avipipe.stages.fetch import source_path

HEAT_NAME = "heat.png"
PREVIEW_NAME = "preview.jpg"
# Faces are kept each quarter of a second, heat at a fourth of its size, a strip of pictures.
FACE_STEP_FRAMES = 6
HEAT_SCALE = 4
NUM_PREVIEW_FRAMES = 6
PREVIEW_HEIGHT_PX = 160
PREVIEW_QUALITY = 75

Track = TypeVar("Track", FaceSeen, ThingSeen)


class LookConfig(BaseModel):
    """How clips are looked at; the backends are chosen by role."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    height_px: int = Field(180, ge=64, description="Short side at which motion is looked at.")


class Look(AnnotatedStage):
    """Measures motion, its agreement with the sound, faces, and what is seen by name.

    The evidence is a `LookEvidence`.

    Writes `heat.png`, where the motion goes with the sound (8 bits, a quarter of the size), if
    that is known, and `preview.jpg`, a strip of frames.
    """

    name = "look"
    version: ClassVar[int] = 6
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs = ("fetch", "probe", "listen")

    def __init__(
        self,
        config: LookConfig,
        *,
        localizer: SoundLocalizer,
        active_speaker: ActiveSpeaker,
        eyes: Eyes,
    ) -> None:
        super().__init__(
            config,
            {"localize": localizer, "active_speaker": active_speaker, **eyes.backends},
        )
        self.config = config
        self._eyes = eyes
        self._localizer = localizer
        self._active_speaker = active_speaker

    def run(self, item: Item, folder: Path) -> Outcome:
        path, span = source_path(item), item.clip_span
        info = MediaInfo.from_json(item.evidence["probe"])
        frames_THWC = read_frames(
            path,
            info,
            start_s=span.start_s,
            end_s=span.end_s,
            fps=FPS,
            height_px=max(
                self.config.height_px, self._active_speaker.height_px, self._eyes.height_px
            ),
        )
        wav_CN = read_audio(
            path,
            info,
            start_s=span.start_s,
            end_s=span.end_s,
            sample_rate_hz=HEARING_HZ,
            mono=True,
        )
        listen = item.evidence["listen"]
        speech = [SpeakerTurn.model_validate(turn) for turn in listen["speech"]]
        evidence, heat_HW = self.look(frames_THWC, wav_CN[0], speech, listen["tag_classes"])
        source = {
            "source_short_side_px": _short_side_px(info.video, evidence),
            "source_fps": float(info.video.fps),
        }
        files = [PREVIEW_NAME]
        (folder / PREVIEW_NAME).write_bytes(_preview(frames_THWC))
        if heat_HW.any():
            files.append(HEAT_NAME)
            (folder / HEAT_NAME).write_bytes(_heat_png(heat_HW))
        whole = LookEvidence.model_validate(evidence.model_dump() | source)
        return Keep(whole.model_dump(mode="json"), files=tuple(files))

    def look(
        self,
        frames_THWC: Frames,
        wav_N: Wave,
        speech: Sequence[SpeakerTurn],
        heard: Mapping[str, float],
    ) -> tuple[LookEvidence, Heat]:
        """Everything that is measured on a clip at 24 fps with sound (N,) at 16 kHz.

        Args:
            speech: where somebody speaks.
            heard: AudioSet class -> score.
        """
        speakers = self._active_speaker.score(
            frames_THWC, fps=FPS, wav_N=wav_N, sample_rate_hz=HEARING_HZ
        )
        faces = _faces(speakers, speech, width=frames_THWC.shape[2], height=frames_THWC.shape[1])
        small_THWC = _shrunk(frames_THWC, self.config.height_px)
        picture = seen_picture(_shrunk(small_THWC, SHORT_SIDE_PX))
        found = self._localize(small_THWC, wav_N, picture)
        height, width = small_THWC.shape[1:3]
        place = found.box and normal_box(found.box, width=width, height=height)
        seen = self._eyes.see(
            frames_THWC,
            heard=heard,
            faces=faces or (),
            place=place,
            content=picture.content_box,
        )
        measures = dict(found.details)
        evidence = LookEvidence(
            num_frames=len(frames_THWC),
            correlation=found.correlation,
            p_value=found.p_value,
            margin=found.margin,
            lag_s=found.lag_s,
            box=place,
            localization_confidence=found.confidence,
            sync_offset_s=measures.pop("offset_s", None),
            sync_z=measures.pop("offset_z", None),
            motion_px=measures.pop("motion_px", None),
            measures=measures,
            faces=faces,
            things=seen.things,
            classes=seen.classes,
            text_area=seen.text_area,
            text_boxes=seen.text_boxes,
            match=seen.match,
            picture=picture,
            backends=self.backend_names(),
        )
        return evidence, found.heat_HW

    def _localize(self, frames_THWC: Frames, wav_N: Wave, picture: PictureSeen) -> Localization:
        """Where the sound is in what is filmed, in pixels of the whole frames."""
        height, width = frames_THWC.shape[1:3]
        boxes = [pixel_box(box, width=width, height=height) for box in picture.overlays]
        x0, y0, x1, y1 = pixel_box(picture.content_box, width=width, height=height)
        left, top, right, bottom = round(x0), round(y0), round(x1), round(y1)
        found = self._localizer.localize(
            blanked(frames_THWC, boxes)[:, top:bottom, left:right],
            fps=FPS,
            wav_N=wav_N,
            sample_rate_hz=HEARING_HZ,
        )
        heat_HW = np.zeros((height, width), np.float32)
        heat_HW[top:bottom, left:right] = found.heat_HW
        box = found.box and (
            found.box[0] + left,
            found.box[1] + top,
            found.box[2] + left,
            found.box[3] + top,
        )
        return replace(found, heat_HW=heat_HW, box=box)


def _short_side_px(video: VideoInfo, evidence: LookEvidence) -> float:
    """Of what the source's upright pictures show within their bars, in square pixels."""
    x0, y0, x1, y1 = WHOLE if evidence.picture is None else evidence.picture.content_box
    width, height = video.shape
    return min(float(width) * (x1 - x0), float(height) * (y1 - y0))


def seen_picture(frames_THWC: Frames) -> PictureSeen:
    """What small frames of a clip (180 px) at 24 fps are like as such."""
    height, width = frames_THWC.shape[1:3]
    found = measure_picture(frames_THWC, fps=FPS)
    return PictureSeen(
        content_box=normal_box(found.content, width=width, height=height),
        overlays=[normal_box(box, width=width, height=height) for box in found.overlays],
        num_panels=found.num_panels,
        camera_px=found.camera.camera_px,
        residual_ratio=found.camera.residual_ratio,
        still_ratio=found.changes.still_ratio,
        change=found.changes.change,
        largest_jump=found.changes.largest_jump,
        flat_ratio=found.flat_ratio,
    )


def look_of_cut(item: Item) -> LookEvidence:
    """What `look` found, with all boxes as shares of the picture that `cut` has left.

    What lies in the bars that were cut off is gone; the box of what is nowhere seen is empty.
    """
    evidence = LookEvidence.model_validate(item.evidence["look"])
    crop = crop_of(item.evidence["cut"])
    changes: dict[str, Any] = {
        "box": evidence.box and in_crop(evidence.box, crop),
        "faces": tracks_in(evidence.faces, crop),
        "things": tracks_in(evidence.things, crop),
    }
    if evidence.text_boxes is not None:
        changes["text_boxes"] = _boxes_in(evidence.text_boxes, crop)
    if evidence.classes is not None:
        changes["classes"] = [
            each.model_copy(update={"box": in_crop(each.box, crop)}) for each in evidence.classes
        ]
    if evidence.picture is not None:
        changes["picture"] = evidence.picture.model_copy(
            update={
                "content_box": in_crop(evidence.picture.content_box, crop),
                "overlays": _boxes_in(evidence.picture.overlays, crop),
            }
        )
    return evidence.model_copy(update=changes)


def crop_of(cut: Evidence) -> Shares:
    """What of the whole picture is in the cut one."""
    x0, y0, x1, y1 = cut.get("crop", WHOLE)
    return x0, y0, x1, y1


def tracks_in(tracks: list[Track] | None, crop: Shares) -> list[Track] | None:
    """Tracks with their boxes in what is left of the picture, but for those that are outside."""
    if tracks is None:
        return None
    moved = [
        track.model_copy(
            update={
                "box": in_crop(track.box, crop),
                "boxes": [in_crop(box, crop) for box in track.boxes],
            }
        )
        for track in tracks
    ]
    return [track for track in moved if is_seen(track.box)]


def _boxes_in(boxes: Sequence[NormalBox], crop: Shares) -> list[NormalBox]:
    return [moved for moved in (in_crop(box, crop) for box in boxes) if is_seen(moved)]


def read_localization(
    item: Item, evidence: LookEvidence, *, width: int, height: int
) -> Localization | None:
    """What `look` found, in pixels of frames of the cut clip; None where it found no place.

    Args:
        evidence: as `look_of_cut` gives it.
    """
    path = item.folders["look"] / HEAT_NAME
    if not path.is_file():
        return None
    heat = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    return Localization(
        correlation=evidence.correlation,
        p_value=evidence.p_value,
        margin=evidence.margin,
        lag_s=evidence.lag_s,
        heat_HW=_heat_in_crop(heat, crop_of(item.evidence["cut"]), (width, height)),
        box=evidence.box and pixel_box(evidence.box, width=width, height=height),
        confidence=evidence.localization_confidence,
        details=evidence.measures,
    )


def _heat_in_crop(heat: Frames, crop: Shares, size: tuple[int, int]) -> Heat:
    x0, y0, x1, y1 = pixel_box(crop, width=heat.shape[1], height=heat.shape[0])
    rows = slice(int(y0), max(int(y0) + 1, round(y1)))
    columns = slice(int(x0), max(int(x0) + 1, round(x1)))
    heat_HW = cv2.resize(heat[rows, columns], size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(heat_HW / 255.0, np.float32)


def read_speakers(evidence: LookEvidence, *, width: int, height: int) -> ActiveSpeakers | None:
    """The faces that `look` found, in pixels of frames of the cut clip, every few frames.

    Args:
        evidence: as `look_of_cut` gives it.
    """
    if evidence.faces is None:
        return None
    tracks = []
    for face in evidence.faces:
        first = round(face.start_s * FPS)
        tracks.append(
            SpeakerTrack(
                frames=tuple(first + n * face.box_step_frames for n in range(len(face.boxes))),
                boxes=tuple(pixel_box(box, width=width, height=height) for box in face.boxes),
                scores=tuple(face.scores),
                sync_correlation=face.sync_correlation,
                sync_p_value=face.sync_p_value,
                sync_lag_s=face.sync_lag_s,
            )
        )
    return ActiveSpeakers(tuple(tracks), confidence=1.0)


def _shrunk(frames_THWC: Frames, height_px: int) -> Frames:
    """Frames whose short side is `height_px`; the same where it is no longer than that."""
    height, width = frames_THWC.shape[1:3]
    scale = height_px / min(height, width)
    if scale >= 1:
        return frames_THWC
    size = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames_THWC])


def _faces(
    speakers: ActiveSpeakers, speech: Sequence[SpeakerTurn], *, width: int, height: int
) -> list[FaceSeen] | None:
    if speakers.confidence is None:
        return None
    return [_face(track, speech, width=width, height=height) for track in speakers.tracks]


def _face(
    track: SpeakerTrack, speech: Sequence[SpeakerTurn], *, width: int, height: int
) -> FaceSeen:
    boxes_N4 = np.array(track.boxes) / (width, height, width, height)
    scores_N = np.array(track.scores)
    times_N = np.array(track.frames) / float(FPS)
    heard_N = np.zeros(len(times_N), dtype=bool)
    for turn in speech:
        heard_N |= (times_N >= turn.start_s) & (times_N < turn.end_s)
    step = slice(None, None, FACE_STEP_FRAMES)
    return FaceSeen(
        start_s=float(times_N[0]),
        end_s=float((track.frames[-1] + 1) / FPS),
        box=_normal(boxes_N4.mean(axis=0)),
        score=float(scores_N.mean()),
        speech_score=float(scores_N[heard_N].mean()) if heard_N.any() else None,
        boxes=[_normal(box) for box in boxes_N4[step]],
        scores=scores_N[step].tolist(),
        box_step_frames=FACE_STEP_FRAMES,
        sync_correlation=track.sync_correlation,
        sync_p_value=track.sync_p_value,
        sync_lag_s=track.sync_lag_s,
    )


def _normal(box_4: npt.NDArray[np.float64]) -> NormalBox:
    x0, y0, x1, y1 = box_4.tolist()
    return x0, y0, x1, y1


def _heat_png(heat_HW: Heat) -> bytes:
    height, width = heat_HW.shape
    size = (max(1, width // HEAT_SCALE), max(1, height // HEAT_SCALE))
    small = cv2.resize(heat_HW, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".png", np.round(small * 255).astype(np.uint8))
    return bytes(data)


def _preview(frames_THWC: Frames) -> bytes:
    """A strip of frames, evenly spread, as JPEG."""
    indices = spread(range(len(frames_THWC)), NUM_PREVIEW_FRAMES)
    height, width = frames_THWC.shape[1:3]
    size = (max(1, round(width * PREVIEW_HEIGHT_PX / height)), PREVIEW_HEIGHT_PX)
    strip = np.hstack(
        [cv2.resize(frames_THWC[n], size, interpolation=cv2.INTER_AREA) for n in indices]
    )
    quality = [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), quality)
    return bytes(data)
