"""Which detection comes first."""

import numpy as np
import pytest

from avipipe.annotators.base import (
    ActiveSpeakers,
    Box,
    Detection,
    Localization,
    SpeakerTrack,
)
from avipipe.annotators.sounding import competitors, is_person, sounding_first

HEIGHT, WIDTH = 60, 100
LEFT: Box = (5.0, 10.0, 35.0, 50.0)
RIGHT: Box = (60.0, 10.0, 90.0, 50.0)
WHOLE: Box = (0.0, 0.0, float(WIDTH), float(HEIGHT))


def found(box: Box, score: float, label: str = "person", frame: int = 10) -> Detection:
    return Detection(frame, box, label, score)


def heat_at(box: Box, confidence: float | None = 1.0) -> Localization:
    heat_HW = np.zeros((HEIGHT, WIDTH), np.float32)
    x0, y0, x1, y1 = map(int, box)
    heat_HW[y0:y1, x0:x1] = 0.5
    return Localization(0.5, 0.01, 0.3, 0.0, heat_HW, box, confidence)


def face_in(box: Box, scores: list[float], first_frame: int = 0) -> SpeakerTrack:
    x, y = (box[0] + box[2]) / 2, box[1] + 8.0
    frames = tuple(range(first_frame, first_frame + len(scores)))
    return SpeakerTrack(frames, ((x - 5, y - 5, x + 5, y + 5),) * len(scores), tuple(scores))


def faces(*tracks: SpeakerTrack) -> ActiveSpeakers:
    return ActiveSpeakers(tracks, 0.9)


def test_without_sound_the_score_decides_and_ties_stay() -> None:
    low, high, same = found(LEFT, 0.4), found(RIGHT, 0.8), found(WHOLE, 0.8)
    assert sounding_first([low, high, same], None, None) == [high, same, low]
    nowhere = Localization(
        None, None, None, None, np.zeros((HEIGHT, WIDTH), np.float32), None, None
    )
    assert sounding_first([low, same, high], nowhere, faces()) == [same, high, low]
    assert sounding_first([], heat_at(LEFT), None) == []


def test_the_box_with_the_heat_comes_before_a_surer_one() -> None:
    quiet, loud = found(RIGHT, 0.7, "dog"), found(LEFT, 0.5, "dog")
    assert sounding_first([quiet, loud], heat_at(LEFT), None) == [loud, quiet]
    assert sounding_first([quiet, loud], heat_at(LEFT, confidence=None), None) == [loud, quiet]


def test_heat_counts_as_far_as_it_can_be_trusted() -> None:
    quiet, loud = found(RIGHT, 0.7, "dog"), found(LEFT, 0.5, "dog")
    assert sounding_first([quiet, loud], heat_at(LEFT, confidence=0.1), None) == [quiet, loud]


def test_a_box_around_everything_gains_nothing() -> None:
    whole, tight = found(WHOLE, 0.6, "dog"), found(LEFT, 0.4, "dog")
    assert sounding_first([whole, tight], heat_at(LEFT), None) == [tight, whole]
    even = Localization(0.5, 0.01, 0.3, 0.0, np.ones((HEIGHT, WIDTH), np.float32), None, 1.0)
    assert sounding_first([tight, whole], even, None) == [whole, tight]


def test_who_speaks_comes_first_whatever_the_score_and_the_heat() -> None:
    speaks, silent = found(LEFT, 0.35), found(RIGHT, 0.9)
    seen = faces(face_in(RIGHT, [-2.0] * 20), face_in(LEFT, [2.0] * 12 + [-2.0] * 8))
    assert sounding_first([silent, speaks], heat_at(RIGHT), seen) == [speaks, silent]


def test_who_speaks_most_comes_first() -> None:
    brief, long = found(LEFT, 0.9), found(RIGHT, 0.4)
    seen = faces(face_in(LEFT, [1.0] * 6 + [-1.0] * 14), face_in(RIGHT, [1.0] * 14 + [-1.0] * 6))
    assert sounding_first([brief, long], None, seen) == [long, brief]


def test_a_face_that_hardly_ever_speaks_does_not_speak() -> None:
    person, violin = found(LEFT, 0.5), found(RIGHT, 0.8, "violin")
    seen = faces(face_in(LEFT, [1.0] * 3 + [-1.0] * 17))
    assert sounding_first([person, violin], None, seen) == [violin, person]


def test_a_speaking_face_moves_only_people() -> None:
    stage, person = found(WHOLE, 0.9, "stage"), found(LEFT, 0.4, "person playing violin")
    seen = faces(face_in(LEFT, [1.0] * 20))
    assert sounding_first([stage, person], None, seen) == [person, stage]


def test_of_two_boxes_with_the_speaking_face_the_better_one_is_first() -> None:
    group, single = found(WHOLE, 0.5), found(LEFT, 0.45)
    seen = faces(face_in(LEFT, [1.0] * 20))
    assert sounding_first([group, single], heat_at(LEFT), seen) == [single, group]


@pytest.mark.parametrize(("frame", "is_near"), [(20, True), (25, True), (26, False)])
def test_a_face_must_be_seen_near_the_frame(frame: int, is_near: bool) -> None:
    speaks, silent = found(LEFT, 0.4, frame=frame), found(RIGHT, 0.9, frame=frame)
    seen = faces(face_in(LEFT, [1.0] * 20))
    assert sounding_first([silent, speaks], None, seen)[0] is (speaks if is_near else silent)


def test_a_silent_bystander_does_not_compete() -> None:
    speaks, silent, dog = found(LEFT, 0.4), found(RIGHT, 0.9), found(RIGHT, 0.9, "dog")
    seen = faces(face_in(LEFT, [1.0] * 20), face_in(RIGHT, [-1.0] * 20))
    assert competitors([silent, speaks, dog], heat_at(RIGHT), seen) == [speaks]


def test_all_who_speak_compete() -> None:
    both = [found(LEFT, 0.4), found(RIGHT, 0.9)]
    seen = faces(face_in(LEFT, [1.0] * 20), face_in(RIGHT, [-1.0] * 14 + [1.0] * 6))
    assert competitors(both, heat_at(RIGHT), seen) == both


def test_without_a_speaking_face_what_has_half_of_the_most_heat_competes() -> None:
    heat_HW = np.zeros((HEIGHT, WIDTH), np.float32)
    heat_HW[10:50, 5:35], heat_HW[10:50, 60:90] = 1.0, 0.6
    two = Localization(0.5, 0.01, 0.3, 0.0, heat_HW, LEFT, 1.0)
    hot, warm = found(LEFT, 0.3, "dog"), found(RIGHT, 0.9, "dog")
    assert competitors([warm, hot], two, None) == [warm, hot]
    assert competitors([warm, hot], two, faces(face_in(RIGHT, [-1.0] * 20))) == [warm, hot]
    heat_HW[10:50, 60:90] = 0.4
    assert competitors([warm, hot], two, None) == [hot]


def test_heat_is_compared_within_a_frame() -> None:
    alone, hot = found(RIGHT, 0.9, "dog", frame=30), found(LEFT, 0.3, "dog", frame=10)
    assert competitors([alone, hot], heat_at(LEFT), None) == [alone, hot]


def test_everything_competes_where_no_heat_is_known() -> None:
    both = [found(LEFT, 0.4, "dog"), found(RIGHT, 0.9, "dog")]
    assert competitors(both, None, None) == both
    cold = Localization(None, None, None, None, 0 * heat_at(LEFT).heat_HW, None, None)
    assert competitors(both, cold, faces()) == both
    assert competitors([], heat_at(LEFT), faces()) == []


@pytest.mark.parametrize(
    ("label", "person"),
    [("Person", True), ("a man's face", True), ("person playing violin", True), ("parson", False)],
)
def test_labels_of_people(label: str, person: bool) -> None:
    assert is_person(label) is person
