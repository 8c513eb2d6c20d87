"""What is seen by name, from backends that know the one thing in these pictures."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from avipipe.annotators.base import Box, Detection, Frames, Heat, ThingTrack
from avipipe.annotators.key_frames import spread
from avipipe.annotators.match.classes import ClassMatcher
from avipipe.annotators.registry import create
from avipipe.manifests.evidence import ClassSeen, FaceSeen, NormalBox, ThingSeen
from avipipe.stages.eyes import WHOLE, Eyes, Seen, seen_scores
from tests.pictures import SIZE, square_on_wall, swing

HEARD = {"Bark": 0.9, "Speech": 0.3}
RED = 150


class Backend:
    """What all of these have; each names the square as something else."""

    name = "square"
    version = 1
    height_px = 240
    weights: Mapping[str, str] = {}

    def setup(self) -> None:
        """Nothing to load."""


def red(frame: Frames) -> Any:
    return (frame[..., 0] > RED) & (frame[..., 2] < 120)


class Finder(Backend):
    """Says that the square is a dog; it is gone in some of the frames."""

    def detect(self, frames_THWC: Frames, **_: Any) -> list[Detection]:
        return []

    def things(self, frames_THWC: Frames, *, fps: Fraction) -> list[ThingTrack]:
        frames = [n for n in range(0, len(frames_THWC), 4) if red(frames_THWC[n]).any()]
        boxes = []
        for frame in frames:
            x, y, w, h = cv2.boundingRect(red(frames_THWC[frame]).astype(np.uint8))
            boxes.append((float(x), float(y), float(x + w), float(y + h)))
        if not frames:
            return []
        return [ThingTrack("dog", tuple(frames), tuple(boxes), (0.8,) * len(frames))]


class Classifier(Backend):
    """Says "harp" as surely as a picture is red."""

    def classify(self, crops: Sequence[Frames]) -> list[dict[str, float]]:
        return [{"harp": float(red(crop).mean())} if red(crop).any() else {} for crop in crops]

    def locate(self, frame_HWC: Frames, noun: str) -> Heat:
        return np.asarray(red(frame_HWC), np.float32)


class TextFinder(Backend):
    """Takes the square for text, and sees a caption below it in every picture."""

    def find(self, frames: Sequence[Frames]) -> list[tuple[Box, ...]]:
        found: list[tuple[Box, ...]] = []
        for frame in frames:
            caption = (0.0, 100.0, float(frame.shape[1]), 110.0)
            x, y, w, h = cv2.boundingRect(red(frame).astype(np.uint8))
            square = (float(x), float(y), float(x + w), float(y + h))
            found.append((square, caption) if w else (caption,))
        return found


def see(
    frames: Frames,
    *,
    heard: Mapping[str, float] = HEARD,
    place: NormalBox | None = None,
    content: NormalBox = WHOLE,
    **own: Any,
) -> Seen:
    backends = {"detector": Finder(), "classifier": Classifier(), "text_finder": TextFinder()}
    eyes = Eyes(**{**backends, "matcher": ClassMatcher(), **own})
    return eyes.see(frames, heard=heard, faces=(), place=place, content=content)


def test_without_backends_that_see_nothing_is_known() -> None:
    none = {role: create(role, "none") for role in ("classify", "text", "match")}
    eyes = Eyes(
        detector=create("detect", "motion"),
        classifier=none["classify"],
        text_finder=none["text"],
        matcher=none["match"],
    )
    assert eyes.height_px == 0
    assert eyes.backends == {}
    frames, _ = square_on_wall(swing(24))
    nothing = eyes.see(frames, heard=HEARD, faces=(), place=None)
    assert nothing == Seen(None, None, None, None, None)


def test_things_have_boxes_at_even_steps_and_say_what_they_explain() -> None:
    frames, masks = square_on_wall(swing(48, period_frames=96.0))
    (thing,) = see(frames).things or []
    assert (thing.label, thing.score, thing.explains) == ("dog", 0.8, 1.0)
    assert thing.start_s == 0.0
    assert thing.end_s == pytest.approx(45 / 24, abs=1e-4)
    assert len(thing.boxes) == len(thing.scores) == 8
    for step, box in enumerate(thing.boxes):
        rows, columns = np.nonzero(masks[step * thing.box_step_frames])
        truth = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.array(box) * np.tile(SIZE[::-1], 2) == pytest.approx(truth, abs=4.0)


def test_a_thing_that_never_comes_is_no_thing_and_no_eyes_are_not_the_same() -> None:
    wall, _ = square_on_wall([(-90.0, 10.0)] * 30)
    nothing = see(wall)
    assert (nothing.things, nothing.classes) == ([], [])
    assert see(wall, detector=create("detect", "motion")).things is None


def test_a_class_has_the_box_of_the_part_that_shows_it_best() -> None:
    frames, masks = square_on_wall([(10.0, 10.0)] * 24)
    (seen,) = see(frames).classes or []
    rows, columns = np.nonzero(masks[0])
    truth = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert np.array(seen.box) * np.tile(SIZE[::-1], 2) == pytest.approx(truth, abs=5.0)
    assert (seen.label, seen.explains) == ("harp", 0.0)
    assert seen.score > 0.5
    without = see(frames, detector=create("detect", "motion"), place=(0.05, 0.05, 0.3, 0.4))
    (by_place,) = without.classes or []
    assert by_place.score > 0.3, "the place of the sound is shown by itself"
    (by_parts,) = see(frames, detector=create("detect", "motion")).classes or []
    assert by_parts.score < by_place.score


def test_what_lies_in_the_bars_is_shown_to_no_classifier() -> None:
    frames, _ = square_on_wall([(10.0, 10.0)] * 24)
    blind = create("detect", "motion")
    assert see(frames, detector=blind, content=(0.3, 0.4, 1.0, 1.0)).classes == []
    (seen,) = see(frames, detector=blind, content=(0.05, 0.05, 0.3, 0.4)).classes or []
    (whole,) = see(frames, detector=blind).classes or []
    assert seen.score > whole.score
    assert seen.box[0] >= 0.05 - 1 / SIZE[1]
    assert seen.box[3] <= 0.4 + 1 / SIZE[0]


def test_text_that_stays_in_its_place_is_told_from_what_moves() -> None:
    frames, masks = square_on_wall([(4.0 * n, 10.0) for n in range(24)])
    seen = see(frames)
    (lasting,) = seen.text_boxes or []
    assert lasting == pytest.approx((0.0, 100 / SIZE[0], 1.0, 110 / SIZE[0]), abs=1e-4)
    share = 10 / SIZE[0] + masks[0].mean()
    assert seen.text_area == pytest.approx(share, abs=0.01)


class LineFinder(Backend):
    """Takes whatever is green for text."""

    def find(self, frames: Sequence[Frames]) -> list[tuple[Box, ...]]:
        found: list[tuple[Box, ...]] = []
        for frame in frames:
            green = (frame[..., 1] > 200) & (frame[..., 0] < 50)
            x, y, w, h = cv2.boundingRect(green.astype(np.uint8))
            found.append(((float(x), float(y), float(x + w), float(y + h)),) if w else ())
        return found


@pytest.mark.parametrize(("row", "is_seen"), [(115, False), (50, True)])
def test_only_text_within_the_bars_counts_and_is_told_where_it_is(row: int, is_seen: bool) -> None:
    height, width = SIZE
    frames = np.full((24, height, width, 3), 90, np.uint8)
    frames[:, row : row + 4, 30:90] = (0, 255, 0)
    content = (0.0, 0.25, 1.0, 0.75)
    seen = see(frames, text_finder=LineFinder(), content=content)
    assert (seen.text_area or 0) > 0 if is_seen else seen.text_area == 0
    expected = [(30 / width, row / height, 90 / width, (row + 4) / height)] if is_seen else []
    assert seen.text_boxes is not None
    assert np.array(seen.text_boxes).ravel() == pytest.approx(np.array(expected).ravel(), abs=1e-3)


def test_the_sources_that_are_heard_are_told_with_what_explains_them() -> None:
    frames, _ = square_on_wall(swing(48))
    match = see(frames, heard=HEARD | {"Guitar": 0.6}).match or []
    assert [(each.source, each.thing) for each in match] == [
        ("dog", "dog"),
        ("guitar", None),
        ("voice", None),
    ]
    assert (match[0].heard, match[0].match) == (0.9, 1.0)
    assert match[1].match == 0.0
    for heard in ({}, {"Jazz": 0.9}):
        assert not see(frames, heard=heard).match
    silent = see(frames, heard={})
    assert silent.match is None
    assert [thing.explains for thing in silent.things or []] == [None]


def test_what_is_there_for_less_than_half_of_the_clip_counts_less() -> None:
    def thing(label: str, start_s: float, end_s: float, score: float) -> ThingSeen:
        box = (0.0, 0.0, 1.0, 1.0)
        return ThingSeen(
            label=label,
            start_s=start_s,
            end_s=end_s,
            box=box,
            score=score,
            boxes=[box],
            scores=[score],
            box_step_frames=6,
        )

    things = [thing("car", 0, 4, 0.8), thing("dog", 2, 3, 0.8), thing("dog", 0, 0.5, 0.9)]
    classes = [ClassSeen(label="dog", score=0.3, box=(0, 0, 1, 1))]
    face = FaceSeen(start_s=0.0, end_s=1.5, box=(0, 0, 1, 1), score=2.0)
    seen = seen_scores(things, classes, [face], duration_s=4.0)
    assert seen == pytest.approx({"car": 0.8, "dog": 0.4, "face": 0.75})


def test_the_frames_looked_at_are_spread_evenly() -> None:
    assert spread(range(96), 3) == [16, 48, 80]
    assert spread(range(1), 3) == [0]
    assert spread(range(2), 3) == [0, 1]


class LateFinder(Finder):
    """Sees the square from the start, and another one from the fifth frame on."""

    def things(self, frames_THWC: Frames, *, fps: Fraction) -> list[ThingTrack]:
        (track,) = super().things(frames_THWC, fps=fps)
        late = slice(1, None)
        rest = track.frames[late], track.boxes[late], track.scores[late]
        return [track, ThingTrack("cat", *rest)]


def test_boxes_of_all_things_are_of_the_same_frames() -> None:
    """Or two things that are there together would never be seen in one frame."""
    frames, _ = square_on_wall(swing(48, period_frames=96.0))
    things = see(frames, detector=LateFinder()).things
    assert things is not None
    dog, cat = things
    for each in (dog, cat):
        first = round(each.start_s * 24)
        assert first % each.box_step_frames == 0
    assert cat.start_s * 24 == pytest.approx(6, abs=0.01)
