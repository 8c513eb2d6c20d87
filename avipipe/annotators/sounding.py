"""Which of several detections is the one that sounds."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avipipe.annotators.base import (
    ActiveSpeakers,
    Box,
    Detection,
    Localization,
    SpeakerTrack,
)

RIVAL_SHARE = 0.5
"""Share of the hottest box's heat that makes another one a rival."""
_PERSON_WORDS = frozenset(
    "person people human man woman boy girl child baby face head singer speaker".split()
)
_MIN_SPEAKING_RATIO = 0.2
"""Share of a face's frames with a positive logit from which it speaks; a choice."""
_NEAR_FRAMES = 6
"""A quarter of a second at 24 fps: how far a face may be known from the frame that is asked for."""
_LOST_FRAMES = 48
"""Two seconds at 24 fps for which a face may be away and come back as the same; a choice."""
_GROWTH = 1.5
"""Width over the last one, or the other way, with which it may come back; a choice."""


def sounding_first(
    detections: Sequence[Detection],
    localization: Localization | None,
    speakers: ActiveSpeakers | None,
) -> list[Detection]:
    """Sort detections: those that sound first, otherwise in their order.

    1. A person whose box holds the centre of a speaking face comes before all others, and the one
       who speaks in more frames before the other. A face speaks that has a positive logit in at
       least a fifth of its frames.
    2. The rest, and ties, go by `score * (1 + confidence * lift)`, where `lift` is the box's share
       of the heat minus its share of the picture: from -1 to 1, and 0 for a box around everything.
       Without heat this is the score; a confidence that is unknown counts as 1.

    Detections that are equal in both keep their order. All boxes are in pixels of `heat_HW`.
    """
    faces = speaking_tracks(speakers)

    def worth(detection: Detection) -> tuple[int, float]:
        worth = detection.score * (1.0 + lift(localization, detection.box))
        return frames_spoken(detection, faces), worth

    return sorted(detections, key=worth, reverse=True)


def competitors(
    detections: Sequence[Detection],
    localization: Localization | None,
    speakers: ActiveSpeakers | None,
) -> list[Detection]:
    """Detections that may be what sounds; a silent bystander is none of them.

    Where a face speaks, people with such a face. Else what has in its box at least half as much
    heat as the hottest of its frame; everything where no heat is known.
    """
    faces = speaking_tracks(speakers)
    speaking = [found for found in detections if frames_spoken(found, faces)]
    if speaking or localization is None or not localization.heat_HW.any():
        return speaking or list(detections)
    hottest: dict[int, float] = {}
    shares = [_heat_share(localization, found.box) for found in detections]
    for found, share in zip(detections, shares, strict=True):
        hottest[found.frame] = max(hottest.get(found.frame, 0.0), share)
    return [
        found
        for found, share in zip(detections, shares, strict=True)
        if share >= RIVAL_SHARE * hottest[found.frame]
    ]


def is_person(label: str) -> bool:
    """Whether a label names people: "person", "person playing violin", "a man's face", …."""
    return not _PERSON_WORDS.isdisjoint(label.lower().replace("'s", "").split())


def speaks(detection: Detection, faces: Sequence[SpeakerTrack]) -> bool:
    """Whether a detection is a person with one of these faces that speaks at some time."""
    return frames_spoken(detection, faces) > 0


def speaking_tracks(speakers: ActiveSpeakers | None) -> list[SpeakerTrack]:
    """Faces that speak: those with a positive logit in at least a fifth of their frames."""
    return [track for track in speakers.tracks if _speaks(track)] if speakers else []


def join_tracks(speakers: ActiveSpeakers) -> ActiveSpeakers:
    """Join the tracks of faces that were lost for a moment.

    A face that turns away or is hidden comes back within two seconds, at most its own width from
    where it was, and as large.
    """
    chains: list[SpeakerTrack] = []
    for track in sorted(speakers.tracks, key=lambda each: each.frames[0]):
        earlier = next((n for n, chain in enumerate(chains) if _goes_on(chain, track)), None)
        if earlier is None:
            chains.append(track)
        else:
            chains[earlier] = _one(chains[earlier], track)
    return ActiveSpeakers(tuple(chains), speakers.confidence)


def _goes_on(track: SpeakerTrack, later: SpeakerTrack) -> bool:
    if not 0 < later.frames[0] - track.frames[-1] <= _LOST_FRAMES:
        return False
    x0, y0, x1, y1 = track.boxes[-1]
    u0, v0, u1, v1 = later.boxes[0]
    away = np.hypot(x0 + x1 - u0 - u1, y0 + y1 - v0 - v1) / 2
    growth = (u1 - u0) / max(x1 - x0, 1e-6)
    return bool(away <= x1 - x0) and 1 / _GROWTH <= growth <= _GROWTH


def _one(track: SpeakerTrack, later: SpeakerTrack) -> SpeakerTrack:
    """Both as one; what was measured on the mouth is of the longer part."""
    longer = max(track, later, key=lambda each: len(each.frames))
    return replace(
        longer,
        frames=track.frames + later.frames,
        boxes=track.boxes + later.boxes,
        scores=track.scores + later.scores,
    )


def _speaks(track: SpeakerTrack) -> bool:
    return _num_positive(track) >= max(1.0, _MIN_SPEAKING_RATIO * len(track.scores))


def _num_positive(track: SpeakerTrack) -> int:
    return sum(score > 0.0 for score in track.scores)


def frames_spoken(detection: Detection, faces: Sequence[SpeakerTrack]) -> int:
    """Number of frames in which a person's face speaks; 0 for one without a face."""
    if not is_person(detection.label):
        return 0
    return max((_num_positive(face) for face in faces if _holds(detection, face)), default=0)


def _holds(detection: Detection, face: SpeakerTrack) -> bool:
    """Whether the face is in the box in that frame, or in the nearest one in which it is seen."""
    nearest = min(range(len(face.frames)), key=lambda n: abs(face.frames[n] - detection.frame))
    if abs(face.frames[nearest] - detection.frame) > _NEAR_FRAMES:
        return False
    fx0, fy0, fx1, fy1 = face.boxes[nearest]
    x0, y0, x1, y1 = detection.box
    return x0 <= (fx0 + fx1) / 2 < x1 and y0 <= (fy0 + fy1) / 2 < y1


def lift(localization: Localization | None, box: Box) -> float:
    """A box's share of the heat minus its share of the picture, times the confidence in it.

    0 where no heat is known; a confidence that is unknown counts as 1.
    """
    if localization is None or not localization.heat_HW.any():
        return 0.0
    height, width = localization.heat_HW.shape
    x0, y0, x1, y1 = _inside(box, height, width)
    over: float = _heat_share(localization, box) - (x1 - x0) * (y1 - y0) / (width * height)
    return over if localization.confidence is None else localization.confidence * over


def _heat_share(localization: Localization, box: Box) -> float:
    """Share of all heat that lies in a box."""
    heat_HW = localization.heat_HW
    x0, y0, x1, y1 = _inside(box, *heat_HW.shape)
    return float(heat_HW[y0:y1, x0:x1].sum(dtype=np.float64) / heat_HW.sum(dtype=np.float64))


def _inside(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """A box in whole pixels, clipped to the picture."""
    x0, x1 = (min(max(round(edge), 0), width) for edge in (box[0], box[2]))
    y0, y1 = (min(max(round(edge), 0), height) for edge in (box[1], box[3]))
    return x0, y0, x1, y1
