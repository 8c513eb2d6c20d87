"""What is measured on a clip, by stage: the evidence that decisions and reports rest on.

Raw numbers, so that thresholds can be applied to them again; None where a backend cannot tell.
"""

import math
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from avipipe.errors import AnnotatorError


def _rounded(value: float, info: ValidationInfo) -> float:
    # Compared with a threshold, NaN would drop a clip for a reason that nobody measured.
    if not math.isfinite(value):
        raise AnnotatorError(
            message=f"a backend gave {value} for `{info.field_name}` instead of a number; check "
            "its weights with `avipipe weights verify`, or choose another backend"
        )
    return round(value, 4)


Rounded = Annotated[float, AfterValidator(_rounded)]
"""A finite number with four decimals: enough for every threshold, the same text everywhere."""


class _Evidence(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SpeakerTurn(_Evidence):
    """A half-open interval of speech by one speaker, in seconds from the start of the clip."""

    start_s: Rounded
    end_s: Rounded
    label: str


class ListenEvidence(_Evidence):
    """Evidence of `listen`: what the sound of a clip says.

    Attributes:
        rms_dbfs, peak_dbfs: level of the whole clip; -120 for digital silence.
        noise_floor_dbfs: level of its quietest tenth.
        silence_ratio: share of time 40 dB or more under the peak, or under -60 dBFS.
        clipped_ratio: share of samples at full scale.
        speech: where somebody speaks; `speech_ratio` is their share of the clip.
        speakers: who speaks when.
        stem_dbfs: name of a separated stem -> its level.
        tags: group of sounds -> score in [0, 1]; a group nobody can judge is absent.
        tag_classes: the likeliest classes of a tagger that knows classes, with their scores.
        onsets_s: when sounds begin.
        waveform: largest absolute sample of 200 equal parts of the clip.
        backends: role -> `name@version`.
    """

    duration_s: Rounded
    rms_dbfs: Rounded
    peak_dbfs: Rounded
    noise_floor_dbfs: Rounded
    silence_ratio: Rounded
    clipped_ratio: Rounded
    speech: list[SpeakerTurn]
    speech_ratio: Rounded
    speech_confidence: Rounded | None
    speakers: list[SpeakerTurn]
    num_speakers: int | None
    overlap_ratio: Rounded | None
    diarization_confidence: Rounded | None
    stem_dbfs: dict[str, Rounded]
    tags: dict[str, Rounded]
    tag_details: dict[str, Rounded]
    tag_classes: dict[str, Rounded] = {}
    tag_confidence: Rounded | None
    onsets_s: list[Rounded]
    waveform: list[Rounded]
    backends: dict[str, str]


NormalBox = tuple[Rounded, Rounded, Rounded, Rounded]
"""A box (x0, y0, x1, y1), half-open, as shares of the picture's width and height."""


class FaceSeen(_Evidence):
    """Evidence of one face over a part of the clip, and how much it seems to speak.

    Attributes:
        box: mean of its boxes.
        boxes: in every `box_step_frames`-th frame from `start_s` on.
        scores: logit of speaking at the same frames; `score` is the mean over all its frames.
        speech_score: the mean over those of its frames in which speech is heard; None without any.
        sync_correlation, sync_p_value, sync_lag_s: of the mouth's motion with the sound.
    """

    start_s: Rounded
    end_s: Rounded
    box: NormalBox
    score: Rounded
    speech_score: Rounded | None = None
    boxes: list[NormalBox] = []
    scores: list[Rounded] = []
    box_step_frames: int = 1
    sync_correlation: Rounded | None = None
    sync_p_value: Rounded | None = None
    sync_lag_s: Rounded | None = None


class ThingSeen(_Evidence):
    """Evidence of one thing of a known class over a part of the clip.

    Attributes:
        box: mean of its boxes; `score` is the mean of its scores, in [0, 1].
        boxes, scores: in every `box_step_frames`-th frame from `start_s` on.
        explains: how well a thing of this name explains what is heard, in [0, 1]; None where no
            backend can tell.
    """

    label: str
    start_s: Rounded
    end_s: Rounded
    box: NormalBox
    score: Rounded
    boxes: list[NormalBox]
    scores: list[Rounded]
    box_step_frames: int
    explains: Rounded | None = None


class ClassSeen(_Evidence):
    """Evidence of a class that a part of the picture shows.

    Attributes:
        score: of the part that shows it best in each frame looked at, the mean over these.
        box: the part that showed it best of all.
        explains: as of `ThingSeen`.
    """

    label: str
    score: Rounded
    box: NormalBox
    explains: Rounded | None = None


class SoundExplained(_Evidence):
    """Evidence of a source that is heard, and of what is seen that explains it best.

    Attributes:
        heard: score of the source, in [0, 1].
        thing: None where nothing that is seen explains it.
        match: how well it does, in [0, 1].
    """

    source: str
    heard: Rounded
    thing: str | None
    match: Rounded


class PictureSeen(_Evidence):
    """Evidence of the pictures as such: overlays, panels, changes, camera.

    Attributes:
        content_box: what lies within bars, borders and blurred sides; all of it where there are
            none.
        overlays: what stays over the moving picture: logos, captions. None are told where most of
            the picture stays as it is.
        num_panels: pictures that it is put together from, side by side or one in another; 1 for
            one that is whole.
        camera_px: mean motion of the whole picture in px/frame at 180 px height.
        residual_ratio: share of the change that is left once that motion is undone: 0 for a still
            that is panned or zoomed, 1 with a camera that keeps still. None where nothing changes.
        still_ratio: share of pictures, at 24 fps, that repeat the one before.
        change: mean absolute difference of successive pictures, in levels of 255.
        largest_jump: the largest of these differences over the usual one.
        flat_ratio: share of the picture that is evenly coloured, as drawings are.
    """

    content_box: NormalBox
    overlays: list[NormalBox]
    num_panels: int
    camera_px: Rounded
    residual_ratio: Rounded | None
    still_ratio: Rounded
    change: Rounded
    largest_jump: Rounded
    flat_ratio: Rounded


class LookEvidence(_Evidence):
    """Evidence of `look`: what the picture of a clip says, and how it goes with the sound.

    Attributes:
        correlation, p_value, margin, lag_s, box, localization_confidence: of the region whose
            motion goes with the sound (`annotators.base.Localization`).
        sync_offset_s: lag at which sound and motion agree best, positive where the sound is late;
            `sync_z` is how far that agreement stands out from accidents.
        motion_px: mean motion in px/frame at 180 px height, the camera's taken away.
        measures: everything else that the localizer measured.
        faces: None where no backend could look for any.
        things: that a detector has names for, the surest first; None where none could look.
        classes: that a classifier names, the surest first; None where none could look.
        text_area: mean share of the picture that is text; `text_boxes` around the text that stays
            in its place. None where no backend looked for any.
        match: the sources that are heard, the best explained first; None where no backend
            compares them with what is seen, or no class of sounds is known.
        picture: what the pictures are like as such; None where an older version has looked.
        source_short_side_px, source_fps: of the source's upright pictures, within their bars; None
            as above.
        backends: role -> `name@version`.
    """

    num_frames: int
    correlation: Rounded | None
    p_value: Rounded | None
    margin: Rounded | None
    lag_s: Rounded | None
    box: NormalBox | None
    localization_confidence: Rounded | None
    sync_offset_s: Rounded | None
    sync_z: Rounded | None
    motion_px: Rounded | None
    measures: dict[str, Rounded]
    faces: list[FaceSeen] | None
    things: list[ThingSeen] | None = None
    classes: list[ClassSeen] | None = None
    text_area: Rounded | None = None
    text_boxes: list[NormalBox] | None = None
    match: list[SoundExplained] | None = None
    picture: PictureSeen | None = None
    source_short_side_px: Rounded | None = None
    source_fps: Rounded | None = None
    backends: dict[str, str]


class MaskEvidence(_Evidence):
    """Evidence of `mask`: measures of the track. Means are over the frames with a mask.

    Attributes:
        seed_frame: from which the mask was carried both ways; None where nothing was found.
        seed_score: of the segmenter on that frame.
        persistence: share of frames with a mask; 0 where nothing was found.
        mean_area_ratio, min_area_ratio, max_area_ratio: mask area over the picture's.
        num_detections: things of the kind looked for in the frames looked at (median).
        num_instances: those of them that compete for the sound (median).
        sound_share: share of the motion that goes with the sound that lies in the mask.
        similarity: of the sound with what is likest to it of all in the best detection's frame;
            `similarity_margin` is its lead over the next. None where no backend compares them.
        mean_parts: connected parts of the mask.
        mean_quality: how far the propagator trusts its masks.
        agreement: mean overlap with what was segmented by itself in other frames, those counting
            more that detector and segmenter stand by.
        temporal_iou: mean overlap of masks in successive frames; `aligned_iou` the same with each
            moved onto the one before.
        area_jump_ratio: share of successive frames in which the area changes by a third or more;
            `largest_area_jump` is the largest change, over the area before.
        edge_ratio: share of the masks that touch the picture's edge.
        longest_gap_s: the longest time for which the instance is away before it comes back.
        return_iou: overlap of a mask with what comes back to it when a later one, at most 2 s
            farther from the seed, is carried back; of the stretch of the track where it is least.
        num_anchors: how often a detection took over a track that was in doubt.
        signs: what speaks for the track and against it (`annotators.track_signs`).
        predicted_jf: how good the masks are likely to be, by the signs: J&F in [0, 1].
        boxes: around the mask in every `box_step_frames`-th frame; None where it has none.
        backends: role -> `name@version`.
    """

    num_frames: int
    seed_frame: int | None = None
    seed_score: Rounded | None = None
    persistence: Rounded
    mean_area_ratio: Rounded | None = None
    min_area_ratio: Rounded | None = None
    max_area_ratio: Rounded | None = None
    num_detections: int
    num_instances: int
    sound_share: Rounded | None = None
    similarity: Rounded | None = None
    similarity_margin: Rounded | None = None
    mean_parts: Rounded | None = None
    mean_quality: Rounded | None = None
    agreement: Rounded | None = None
    temporal_iou: Rounded | None = None
    aligned_iou: Rounded | None = None
    area_jump_ratio: Rounded | None = None
    largest_area_jump: Rounded | None = None
    edge_ratio: Rounded | None = None
    longest_gap_s: Rounded
    return_iou: Rounded | None = None
    num_anchors: int = 0
    signs: dict[str, Rounded] = {}
    predicted_jf: Rounded | None = None
    boxes: list[NormalBox | None]
    box_step_frames: int
    backends: dict[str, str]
