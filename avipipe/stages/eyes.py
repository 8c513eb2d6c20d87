"""What is seen in a clip by name: things, classes and text, and how they explain the sound."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from avipipe.annotators.base import (
    Annotator,
    Box,
    Classifier,
    Detector,
    Frames,
    Matcher,
    SourceMatcher,
    TextFinder,
    ThingFinder,
    ThingTrack,
)
from avipipe.annotators.key_frames import spread
from avipipe.annotators.mask_quality import box_overlap
from avipipe.annotators.views import View, box_of, pad_box, tiles
from avipipe.manifests.evidence import (
    ClassSeen,
    FaceSeen,
    NormalBox,
    SoundExplained,
    ThingSeen,
)
from avipipe.media.crop import normal_box, pixel_box
from avipipe.media.normalize import FPS

STEP_FRAMES = 6
"""Boxes are kept each quarter of a second at 24 fps; a choice."""
NUM_FRAMES = 3
"""Frames that are looked at for classes and text, which change little within a shot."""
NUM_NAMED = 2
"""How many of the surest things the classifier is shown by themselves."""
NUM_KEPT = 8
"""Classes and sources that are told, of hundreds."""
FACE = "face"
WHOLE: NormalBox = (0.0, 0.0, 1.0, 1.0)
_MARGIN = 0.1
"""Of a box on each side, over its sides: a classifier is shown a thing with some of its
surroundings. A choice."""
_SAME_PLACE = 0.5
"""Intersection over union from which boxes of text are the same; a choice."""
_WHOLE_PART = 0.5
"""Share of the clip from which a thing that comes or goes counts as if it were always there."""

Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True, slots=True)
class Seen:
    """See `LookEvidence`."""

    things: list[ThingSeen] | None
    classes: list[ClassSeen] | None
    text_area: float | None
    text_boxes: list[NormalBox] | None
    match: list[SoundExplained] | None


class Eyes:
    """The backends that see by name, and the one that holds that against the sound.

    A detector that only boxes what it is asked for, and a matcher that listens for itself, have no
    part in this: `mask` asks them.
    """

    def __init__(
        self,
        *,
        detector: Detector,
        classifier: Classifier,
        text_finder: TextFinder,
        matcher: Matcher,
    ) -> None:
        self._finder = detector if isinstance(detector, ThingFinder) else None
        self._classifier = classifier
        self._text_finder = text_finder
        self._matcher = matcher if isinstance(matcher, SourceMatcher) else None
        asked: dict[str, tuple[Annotator, bool]] = {
            "detect": (detector, self._finder is not None),
            "classify": (classifier, classifier.height_px > 0),
            "text": (text_finder, text_finder.height_px > 0),
            "match": (matcher, self._matcher is not None),
        }
        self.backends = {role: backend for role, (backend, sees) in asked.items() if sees}

    @property
    def height_px(self) -> int:
        """Short side of the frames that they want; 0 for any."""
        finder_px = self._finder.height_px if self._finder is not None else 0
        return max(finder_px, self._classifier.height_px, self._text_finder.height_px)

    def see(
        self,
        frames_THWC: Frames,
        *,
        heard: Mapping[str, float],
        faces: Sequence[FaceSeen],
        place: NormalBox | None,
        content: NormalBox = WHOLE,
    ) -> Seen:
        """Everything by name in a clip at 24 fps.

        Args:
            heard: AudioSet class -> score.
            place: where motion goes with the sound.
            content: what of the pictures is no bar or border.
        """
        tracks = None if self._finder is None else self._finder.things(frames_THWC, fps=FPS)
        looked = spread(range(len(frames_THWC)), NUM_FRAMES)
        size = frames_THWC.shape[2], frames_THWC.shape[1]
        things = None if tracks is None else [self._thing(each, size, heard) for each in tracks]
        classes = self._classes(frames_THWC, looked, tracks or [], place, content, heard)
        text_area, text_boxes = self._text([frames_THWC[frame] for frame in looked], content)
        duration_s = len(frames_THWC) / float(FPS)
        seen = seen_scores(things or [], classes or [], faces, duration_s=duration_s)
        return Seen(things, classes, text_area, text_boxes, self._match(heard, seen))

    def _thing(self, track: ThingTrack, size: Size, heard: Mapping[str, float]) -> ThingSeen:
        first, last = track.frames[0], track.frames[-1]
        # On one grid for all things, so that what is seen at a time can be compared.
        every = np.arange(min(-(-first // STEP_FRAMES) * STEP_FRAMES, last), last + 1, STEP_FRAMES)
        boxes_N4 = np.array(track.boxes) / np.tile(size, 2)
        columns = [np.interp(every, track.frames, column) for column in boxes_N4.T]
        x0, y0, x1, y1 = boxes_N4.mean(axis=0).tolist()
        return ThingSeen(
            label=track.label,
            start_s=int(every[0]) / float(FPS),
            end_s=(last + 1) / float(FPS),
            box=(x0, y0, x1, y1),
            score=float(np.mean(track.scores)),
            boxes=list(zip(*(column.tolist() for column in columns), strict=True)),
            scores=np.interp(every, track.frames, track.scores).tolist(),
            box_step_frames=STEP_FRAMES,
            explains=self._explains(track.label, heard),
        )

    def _classes(
        self,
        frames_THWC: Frames,
        looked: Sequence[int],
        tracks: Sequence[ThingTrack],
        place: NormalBox | None,
        content: NormalBox,
        heard: Mapping[str, float],
    ) -> list[ClassSeen] | None:
        """What the picture shows, and its parts, its surest things and where the sound is."""
        if not self._classifier.height_px:
            return None
        sights: dict[str, list[tuple[float, NormalBox]]] = {}
        for frame in looked:
            frame_HWC = frames_THWC[frame]
            views = [*_parts(content, frame_HWC), *_views_of(tracks, place, frame, frame_HWC)]
            named = self._classifier.classify([frame_HWC[view] for view in views])
            best: dict[str, tuple[float, NormalBox]] = {}
            for view, scores in zip(views, named, strict=True):
                sight = normal_box(
                    box_of(view), width=frame_HWC.shape[1], height=frame_HWC.shape[0]
                )
                for label, score in scores.items():
                    best[label] = max(best.get(label, (0.0, sight)), (score, sight))
            for label, found in best.items():
                sights.setdefault(label, []).append(found)
        classes = [
            ClassSeen(
                label=label,
                score=sum(score for score, _ in found) / len(looked),
                box=max(found)[1],
                explains=self._explains(label, heard),
            )
            for label, found in sights.items()
        ]
        return sorted(classes, key=lambda each: (-each.score, each.label))[:NUM_KEPT]

    def _text(
        self, frames: Sequence[Frames], content: NormalBox
    ) -> tuple[float | None, list[NormalBox] | None]:
        """The share of the picture within its bars that is text, and the boxes that stay."""
        height, width = frames[0].shape[:2]
        view = pad_box(pixel_box(content, width=width, height=height), 0.0, frames[0])
        found = self._text_finder.find([frame_HWC[view] for frame_HWC in frames])
        if found is None:
            return None, None
        first, *others = found
        lasting = [box for box in first if all(_is_among(box, boxes) for boxes in others)]
        area = float(np.mean([_covered(boxes, frames[0][view].shape[:2]) for boxes in found]))
        rows, columns = view
        at = np.array([columns.start, rows.start] * 2)
        moved = [tuple((np.array(box) + at).tolist()) for box in lasting]
        return area, [normal_box(box, width=width, height=height) for box in moved]

    def _explains(self, name: str, heard: Mapping[str, float]) -> float | None:
        """How well a thing explains what is heard, if it is surely seen."""
        if self._matcher is None or not heard:
            return None
        return max((each.match for each in self._matcher.explain(heard, {name: 1.0})), default=0.0)

    def _match(
        self, heard: Mapping[str, float], seen: Mapping[str, float]
    ) -> list[SoundExplained] | None:
        if self._matcher is None or not heard:
            return None
        return [
            SoundExplained(source=each.source, heard=each.heard, thing=each.thing, match=each.match)
            for each in self._matcher.explain(heard, seen)[:NUM_KEPT]
        ]


def seen_scores(
    things: Sequence[ThingSeen],
    classes: Sequence[ClassSeen],
    faces: Sequence[FaceSeen],
    *,
    duration_s: float,
) -> dict[str, float]:
    """Name of a thing -> how surely it is seen in a clip of this length, in [0, 1].

    What is there for less than half of the clip counts less.
    """
    scores: dict[str, float] = {}
    spans = [(each.label, each.score, each.start_s, each.end_s) for each in things]
    spans += [(FACE, 1.0, each.start_s, each.end_s) for each in faces]
    for name, score, start_s, end_s in spans:
        part = min(1.0, (end_s - start_s) / duration_s / _WHOLE_PART)
        scores[name] = max(scores.get(name, 0.0), part * score)
    for each in classes:
        scores[each.label] = max(scores.get(each.label, 0.0), each.score)
    return scores


def _views_of(
    tracks: Sequence[ThingTrack], place: NormalBox | None, frame: int, frame_HWC: Frames
) -> Iterator[View]:
    """Of the surest things in a frame, and of the place of the sound, a tenth wider."""
    height, width = frame_HWC.shape[:2]
    if place is not None:
        yield pad_box(pixel_box(place, width=width, height=height), _MARGIN, frame_HWC)
    there = [track for track in tracks if track.frames[0] <= frame <= track.frames[-1]]
    for track in there[:NUM_NAMED]:
        columns = np.array(track.boxes).T
        x0, y0, x1, y1 = (float(np.interp(frame, track.frames, column)) for column in columns)
        yield pad_box((x0, y0, x1, y1), _MARGIN, frame_HWC)


def _covered(boxes: Sequence[Box], shape: tuple[int, ...]) -> float:
    """Share of a picture (height, width) that lies in any of the boxes."""
    covered_HW = np.zeros(shape, np.bool_)
    for box in boxes:
        x0, y0, x1, y1 = (round(edge) for edge in box)
        covered_HW[y0:y1, x0:x1] = True
    return float(covered_HW.mean())


def _is_among(box: Box, boxes: Sequence[Box]) -> bool:
    """Whether one of the boxes is in the same place."""
    return any(box_overlap(box, other) >= _SAME_PLACE for other in boxes)


def _parts(content: NormalBox, frame_HWC: Frames) -> Iterator[View]:
    """What a frame shows within its bars, and the parts of that."""
    box = pixel_box(content, width=frame_HWC.shape[1], height=frame_HWC.shape[0])
    rows, columns = pad_box(box, 0.0, frame_HWC)
    for part_rows, part_columns in tiles(frame_HWC[rows, columns]):
        yield (
            slice(rows.start + part_rows.start, rows.start + part_rows.stop),
            slice(columns.start + part_columns.start, columns.start + part_columns.stop),
        )
