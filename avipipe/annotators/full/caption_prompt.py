"""What a captioning model is shown and asked: frames, some with the instance outlined, and hints.

Models cannot hear the clip, and see it at a few moments only, so the evidence gathered so far
goes along in words, marked as uncertain.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from avipipe.annotators.base import Frames
from avipipe.errors import AnnotatorError
from avipipe.media.normalize import FPS
from avipipe.services.reply import Message

NUM_FRAMES = 8
"""Frames shown, half of them outlined; a choice: more cost a model's context."""
OUTLINE_RGB = (255, 0, 255)
"""Colour of the outline: magenta, the rarest in pictures of the world."""

MIN_TAG = 0.3
"""Least score of a group that is a hint; a choice."""
MAX_CLASSES = 5
"""Likeliest classes of sounds that are a hint; a choice."""

_TASK = """\
These pictures are {num_frames} frames of one video clip of {duration_s:.1f} s, in order. \
One thing in the clip, the instance, makes the sound that is heard. {outlined}
You cannot hear the clip. Hints that were measured on it, and that may be wrong: {hints}

Answer with one JSON object and nothing else:
{{"caption": "...", "label": "...", "sounding": 0.0}}
caption: one to three plain English sentences on the scene: what the instance looks like, what it \
does, and where it is. Do not mention frames, pictures, rectangles or hints.
label: a noun phrase of one to five words that names the instance, such as "brown dog".
sounding: from 0 to 1, how sure the pictures make you that the instance makes the sound; null if \
they do not tell."""

_OUTLINED = (
    "In the frames that say so, a magenta rectangle marks the instance; "
    "the rectangle is not part of the scene."
)


def question(frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> Message:
    """The question about a clip, as a message to a model.

    Args:
        frames_THWC: evenly spread over the clip, each from the middle of its share.
        evidence: of the stages `listen`, `look`, `cut` and `mask`.
    Raises:
        AnnotatorError: there are no frames.
    """
    pictures, outlined = shown(frames_THWC, evidence=evidence)
    task = _TASK.format(
        num_frames=len(frames_THWC),
        duration_s=evidence["cut"]["duration_s"],
        outlined=outlined,
        hints="; ".join(hints(evidence)) or "none",
    )
    return Message("user", (*pictures, task))


def shown(frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> tuple[list[str | Frames], str]:
    """The frames with their times, and what to say of those in which the instance is outlined.

    Args:
        evidence: of the stages `cut` and `mask`.
    Raises:
        AnnotatorError: there are no frames.
    """
    if len(frames_THWC) == 0:
        raise AnnotatorError(message="no frames to show a model; expected at least one")
    duration_s = evidence["cut"]["duration_s"]
    content: list[str | Frames] = []
    any_outlined = False
    for index, frame_HWC in enumerate(frames_THWC):
        time_s = (index + 0.5) * duration_s / len(frames_THWC)
        box = _box_at(evidence["mask"], time_s) if index % 2 else None
        any_outlined |= box is not None
        content.append(f"{time_s:.1f} s{', instance outlined' if box else ''}:")
        content.append(frame_HWC if box is None else outline(frame_HWC, box))
    return content, _OUTLINED if any_outlined else ""


def outline(frame_HWC: Frames, box: Sequence[float]) -> Frames:
    """A copy of a frame with a rectangle around a box (x0, y0, x1, y1 as shares of the frame)."""
    height, width = frame_HWC.shape[:2]
    thickness_px = max(round(min(height, width) / 120), 1)
    top_left = (round(box[0] * width), round(box[1] * height))
    bottom_right = (round(box[2] * width) - 1, round(box[3] * height) - 1)
    drawn_HWC = np.ascontiguousarray(frame_HWC).copy()
    cv2.rectangle(drawn_HWC, top_left, bottom_right, OUTLINE_RGB, thickness_px)
    return drawn_HWC


def hints(evidence: Mapping[str, Any]) -> Iterator[str]:
    """Hints for the model: what the evidence says of the sound and of who makes it, in words."""
    listen, look = evidence["listen"], evidence["look"]
    if classes := _likeliest(listen.get("tag_classes", {}), 0.0)[:MAX_CLASSES]:
        yield f"it sounds like {', '.join(classes)}"
    elif groups := _likeliest(listen["tags"], MIN_TAG):
        yield f"it sounds like {', '.join(groups)}"
    if listen["speech"]:
        turns = [f"{turn['start_s']:.1f}-{turn['end_s']:.1f} s" for turn in listen["speech"]]
        yield f"speech is heard at {', '.join(turns)}"
    if (faces := look.get("faces")) is not None:
        speaking = sum((face.get("speech_score") or 0.0) > 0 for face in faces)
        yield f"faces seen: {len(faces)}, of which seem to speak: {speaking}"
    if label := evidence["mask"].get("label"):
        yield f"the instance was found by looking for: {label}"


def _likeliest(scores: Mapping[str, float], least: float) -> list[str]:
    """Names with their scores, the likeliest first."""
    likely = [name for name, score in scores.items() if score >= least]
    likely.sort(key=lambda name: (-scores[name], name))
    return [f"{name} ({scores[name]:.2f})" for name in likely]


def _box_at(mask: Mapping[str, Any], time_s: float) -> Sequence[float] | None:
    """The stored box that is nearest in time; None where the instance is not seen."""
    boxes: Sequence[Sequence[float] | None] = mask.get("boxes", ())
    if not boxes:
        return None
    index = round(time_s * float(FPS) / int(mask["box_step_frames"]))
    return boxes[min(index, len(boxes) - 1)]
