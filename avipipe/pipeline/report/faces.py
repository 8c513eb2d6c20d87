"""The faces of a clip: where they are in its pictures, and when they speak."""

from collections.abc import Sequence
from itertools import groupby

from avipipe.manifests.evidence import FaceSeen, LookEvidence
from avipipe.manifests.records import Evidence
from avipipe.media.normalize import FPS
from avipipe.pipeline import words
from avipipe.pipeline.report.model import FaceMark, FaceTimeline, Stripe

MAX_FACES = 4
"""Faces whose timelines are shown; a choice."""

_SPEAKS, _SILENT = "speaks", "silent"


def tracks(look: Evidence | None) -> list[FaceSeen]:
    """Face tracks, those that seem to speak longest first; none where none were looked for."""
    if look is None:
        return []
    found = LookEvidence.model_validate(look).faces or []
    return sorted(found, key=lambda track: -sum(score >= 0 for score in track.scores))


def rows(found: Sequence[FaceSeen]) -> tuple[FaceTimeline, ...]:
    """Timelines of the first `MAX_FACES` faces."""
    return tuple(
        FaceTimeline(_name(index), tuple(_stripes(track)), words.face(track))
        for index, track in enumerate(found[:MAX_FACES])
    )


def marks(
    found: Sequence[FaceSeen], frame: int, *, width: int, height: int, left: int = 0
) -> tuple[FaceMark, ...]:
    """Marks of the faces in a frame of the clip, of the first `MAX_FACES`.

    Args:
        width, height: of the drawn frame; `left` is where it begins in its picture.
    """
    seen = []
    for index, track in enumerate(found[:MAX_FACES]):
        at = (frame - round(track.start_s * FPS)) // track.box_step_frames
        if 0 <= at < len(track.boxes) and frame < track.end_s * FPS:
            x0, y0, x1, y1 = track.boxes[at]
            place = (left + x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height)
            seen.append(FaceMark(*place, name=_name(index), score=track.scores[at]))
    return tuple(seen)


def _name(index: int) -> str:
    return f"face {index + 1}"


def _stripes(track: FaceSeen) -> list[Stripe]:
    """Runs of samples of one kind; each sample stands for the time up to the next one."""
    step_s = float(track.box_step_frames / FPS)
    stripes = []
    runs = groupby(enumerate(track.scores), key=lambda sample: sample[1] >= 0)
    for speaks, samples in runs:
        places = [place for place, _ in samples]
        start_s = track.start_s + places[0] * step_s
        end_s = min(track.start_s + (places[-1] + 1) * step_s, track.end_s)
        stripes.append(Stripe(start_s, end_s, _SPEAKS if speaks else _SILENT))
    return stripes
