"""Boxes the person whose face speaks, where a voice is heard; else what moves with the sound.

A face is the surest sign of a person, but it is not the person. So head and body are drawn around
it in standard proportions, and fitted to the colours of the frame: those typical of the inside of
the drawing against those far from it decide what lies between.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import (
    ActiveSpeakers,
    Box,
    Detection,
    Frames,
    Localization,
    Mask,
    SpeakerTrack,
)
from avipipe.annotators.embedded.detect import MotionDetector
from avipipe.annotators.embedded.flow import fit_size, shrink
from avipipe.annotators.embedded.opencv import OpenCvAnnotator
from avipipe.annotators.embedded.segment import disc, grab_cut
from avipipe.annotators.key_frames import spread

PERSON = "person"
"""Prompt for somebody who speaks or sings."""

Points = npt.NDArray[np.float64]

_WORK_SHORT_PX = 240
"""Working size, that of GrabCut (`embedded.segment`)."""
_NUM_FRAMES = 5
"""Frames in which the person is boxed, evenly spread over those with the face; a choice."""
_MIN_FACE_PX = 4.0
"""Side of a face in the frame's pixels under which nothing can be drawn around it; a choice."""


class _Ellipse(NamedTuple):
    centre: tuple[float, float]
    radii: tuple[float, float]


# All in face widths from the middle of the face and in face heights below it; drawn in sight of
# four people (bench/results/light-2cpu.md).
_FACE = _Ellipse((0.0, 0.0), (0.42, 0.44))
_HEAD = _Ellipse((0.0, -0.04), (0.64, 0.62))
_CHEST = ((0.25, 0.3), (0.3, 0.9), (0.5, 1.2), (0.5, 1.6))
_BODY = ((0.45, 0.3), (0.5, 0.62), (1.05, 0.85), (1.35, 1.2), (1.35, 3.3), (0.9, 4.2), (0.75, 7.3))
_EDGE = 0.1
"""Width of the drawing's edge that may not be typical of the inside; a choice, as those below."""
# How far hair may reach beyond the head, and clothes and arms beyond the body.
_HAIR_REACH = 0.4
_BODY_REACH = 0.6
_MIN_WIDTH = 0.12
"""Radius of hair and arms: what is thinner has the same colour by chance."""
_SURROUND = 0.8
"""Width of the ground around whose colours are learnt."""


class FaceOrMotionDetector(OpenCvAnnotator):
    """Detects the person whose face speaks, grown from the face; else as the motion detector."""

    name = "faces"
    version = 2

    def __init__(self) -> None:
        self._motion = MotionDetector()

    def detect(
        self,
        frames_THWC: Frames,
        *,
        fps: Fraction,
        prompts: Sequence[str],
        localization: Localization | None,
        speakers: ActiveSpeakers | None = None,
    ) -> list[Detection]:
        """Detect in up to five frames, best first.

        People are looked for where the first prompt is `PERSON` and a face speaks rather than not
        (mean score above 0); a face that does not is no rival. The score is the mean probability of
        speaking. A frame has several detections where several such faces are in it.
        """
        speaking = speaking_faces(speakers) if list(prompts[:1]) == [PERSON] else []
        found: list[Detection] = []
        there = [f for f in speaking[0].frames if f < len(frames_THWC)] if speaking else []
        for frame in spread(there, _NUM_FRAMES):
            for track in speaking:
                if track.frames[0] <= frame <= track.frames[-1]:
                    found += _person(frames_THWC[frame], frame, track)
        if found:
            return sorted(found, key=lambda detection: -detection.score)
        return self._motion.detect(frames_THWC, fps=fps, prompts=prompts, localization=localization)


def speaking_faces(speakers: ActiveSpeakers | None) -> list[SpeakerTrack]:
    """Tracks of faces that speak, the likeliest first."""
    tracks = speakers.tracks if speakers is not None else ()
    speaking = [track for track in tracks if track.scores and np.mean(track.scores) > 0]
    return sorted(speaking, key=lambda track: -_probability(track))


def _probability(track: SpeakerTrack) -> float:
    logits = np.clip(track.scores, -30.0, 30.0)
    return float(np.mean(1.0 / (1.0 + np.exp(-logits))))


def _person(frame_HWC: Frames, frame: int, track: SpeakerTrack) -> list[Detection]:
    """The person of a face track in one frame; none where the face is out of the picture."""
    columns = np.array(track.boxes, np.float64).T
    x0, y0, x1, y1 = (float(np.interp(frame, track.frames, column)) for column in columns)
    if min(x1 - x0, y1 - y0) < _MIN_FACE_PX:
        return []
    rough_HW = _silhouette(frame_HWC, (x0, y0, x1, y1))
    if not rough_HW.any():
        return []
    x, y, width, height = cv2.boundingRect(rough_HW.astype(np.uint8))
    box = float(x), float(y), float(x + width), float(y + height)
    return [Detection(frame, box, PERSON, _probability(track), rough_HW)]


def _silhouette(frame_HWC: Frames, face: Box) -> Mask:
    """Of the person (H, W) whose face is in the box: a drawing that fits the frame."""
    full = (frame_HWC.shape[1], frame_HWC.shape[0])
    size = fit_size(full, _WORK_SHORT_PX / min(full))
    scale = np.array(size) / full
    corners = np.reshape(face, (2, 2)) * scale
    centre, unit = corners.mean(axis=0), corners[1] - corners[0]

    def drawn(outline: Points) -> Frames:
        canvas = np.zeros(size[::-1], np.uint8)
        cv2.fillPoly(canvas, [np.round(outline * unit + centre).astype(np.int32)], 1)
        return canvas

    head, body = drawn(_around(_HEAD)), drawn(_mirrored(_BODY))
    likely = head | body
    sure = drawn(_around(_FACE)) | drawn(_mirrored(_CHEST))
    width = float(unit[0])
    near = cv2.dilate(head, disc(_HAIR_REACH * width)) | cv2.dilate(body, disc(_BODY_REACH * width))
    labels = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[near == 0] = cv2.GC_BGD
    labels[sure > 0] = cv2.GC_FGD
    typical = (cv2.erode(likely, disc(_EDGE * width)) | sure) > 0
    window = _window(near, round(_SURROUND * width))
    crop = np.ascontiguousarray(shrink(frame_HWC, size)[window])
    cut = np.zeros_like(likely)
    cut[window] = grab_cut(crop, labels[window].copy(), typical_HW=typical[window])
    # Hair and arms have some width; what is thinner has only the same colour by chance.
    wide = cv2.morphologyEx(cut, cv2.MORPH_OPEN, disc(_MIN_WIDTH * width))
    cut = np.maximum(wide, np.minimum(cut, likely))
    return np.asarray(cv2.resize(255 * cut, full, interpolation=cv2.INTER_LINEAR) > 127)


def _around(ellipse: _Ellipse) -> Points:
    angles = np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1) * ellipse.radii + ellipse.centre


def _mirrored(right: Sequence[tuple[float, float]]) -> Points:
    """A closed outline from its right half, given from top to bottom."""
    points = np.array(right)
    return np.concatenate([points, points[::-1] * (-1.0, 1.0)])


def _window(mask_HW: Frames, pad_px: int) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(mask_HW)
    return (
        slice(max(0, y - pad_px), y + height + pad_px),
        slice(max(0, x - pad_px), x + width + pad_px),
    )
