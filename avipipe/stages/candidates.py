"""Which of the things that `look` named is the one that sounds, and where it is over time.

A thing counts as far as it explains what is heard and as it is seen; where the picture moves with
the sound is a hint that it gets on top. A speaking face comes before all that: its person is the
instance. Where nothing that has a name explains the sound, motion must tell, and nothing is
returned here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avipipe.annotators.base import ActiveSpeakers, Detection, Localization
from avipipe.annotators.key_frames import spread
from avipipe.annotators.match.classes import SURE_SEEN
from avipipe.annotators.sounding import frames_spoken, lift, speaking_tracks
from avipipe.manifests.evidence import ThingSeen
from avipipe.media.crop import is_seen, pixel_box
from avipipe.media.normalize import FPS

STEP_FRAMES = 12
"""Half a second at 24 fps."""
MAX_SEEDS = 8
"""The chosen thing is cut out anew twice a second, and eight times at most, which costs as much as
carrying its mask; all sights in between are still compared with the mask that is carried."""

_MIN_WORTH = 0.15
"""Half of what a player who is surely seen is worth for a sound that is surely heard."""
_RIVAL_WORTH = 0.5
"""Worth over the best one's from which another thing may be what sounds, too; a choice."""
_HEAT_WEIGHT = 0.5
"""Heat lies where most moves, a hand or a mouth; names are the better evidence of the two."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The things that may be the instance, with their boxes in pixels.

    Attributes:
        chosen: every half second, of the thing that sounds, best first.
        rivals: every half second, of what may be it as well.
        sights: of everything that is seen, whatever it is, in all frames that were looked at.
    """

    chosen: list[Detection]
    rivals: list[Detection]
    sights: list[Detection]

    @property
    def seeds(self) -> list[Detection]:
        """Detections of `chosen` to cut out anew, evenly spread, best first."""
        in_time = sorted(self.chosen, key=lambda each: each.frame)
        few = [in_time[n] for n in spread(range(len(in_time)), MAX_SEEDS)]
        return sorted(few, key=lambda each: -each.score)


def named_candidates(
    things: Sequence[ThingSeen],
    *,
    localization: Localization | None,
    speakers: ActiveSpeakers | None,
    size: tuple[int, int],
    num_frames: int,
) -> Candidates:
    """The thing that explains the sound best; `chosen` is empty where none does.

    Args:
        speakers: where somebody is heard who speaks or sings; None otherwise.
        size: width and height of the pictures that the boxes, heat and faces are in pixels of.
    """
    boxes = [_boxes(thing, size, num_frames) for thing in things]
    sights = [sight for found in boxes for sight in found]
    nothing = Candidates([], [], sights)
    faces = speaking_tracks(speakers)
    spoken = [max((frames_spoken(each, faces) for each in found), default=0) for found in boxes]
    worths = [
        _worth(thing, found, localization, num_frames)
        for thing, found in zip(things, boxes, strict=True)
    ]
    if faces and not any(spoken):
        return nothing  # the face is seen, and its person is not: begin at the face
    ranks = [(frames, worth) for frames, worth in zip(spoken, worths, strict=True)]
    order = sorted((n for n in range(len(things)) if boxes[n]), key=ranks.__getitem__, reverse=True)
    if not order or (not spoken[order[0]] and worths[order[0]] < _MIN_WORTH):
        return nothing
    best, *others = order
    rivals = [
        n
        for n in others
        if (spoken[n] if spoken[best] else worths[n] >= _RIVAL_WORTH * worths[best])
    ]
    chosen = sorted(_at_times(things[best], boxes[best]), key=lambda each: -each.score)
    of_rivals = [each for n in rivals for each in _at_times(things[n], boxes[n])]
    return Candidates(chosen, of_rivals, sights)


def _worth(
    thing: ThingSeen,
    boxes: Sequence[Detection],
    localization: Localization | None,
    num_frames: int,
) -> float:
    """How well it explains the sound, as far as it is seen and there."""
    if not thing.explains:
        return 0.0
    there = min(1.0, 2.0 * (thing.end_s - thing.start_s) * float(FPS) / num_frames)
    hot = float(np.mean([lift(localization, each.box) for each in boxes])) if boxes else 0.0
    seen = min(1.0, thing.score / SURE_SEEN)
    return thing.explains * seen * there * (1.0 + _HEAT_WEIGHT * hot)


def _boxes(thing: ThingSeen, size: tuple[int, int], num_frames: int) -> list[Detection]:
    first = round(thing.start_s * FPS)
    width, height = size
    return [
        Detection(frame, pixel_box(box, width=width, height=height), thing.label, score)
        for n, (box, score) in enumerate(zip(thing.boxes, thing.scores, strict=True))
        if (frame := first + n * thing.box_step_frames) < num_frames and is_seen(box)
    ]


def _at_times(thing: ThingSeen, boxes: Sequence[Detection]) -> list[Detection]:
    """Those next to each half second."""
    return [each for each in boxes if each.frame % STEP_FRAMES < thing.box_step_frames]
