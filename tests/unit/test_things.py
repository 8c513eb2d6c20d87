"""Tracks of things from what a network says frame by frame."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from avipipe.annotators.base import ThingTrack
from avipipe.annotators.coco import KINDS, NAMES
from avipipe.annotators.light.things import track_things
from avipipe.annotators.light.yolox import FrameDetections

Thing = tuple[float, dict[str, float]]
"""The left edge of a box of 40 by 30 px, and scores by class."""


def sights(*things: Thing) -> FrameDetections:
    boxes = np.array([[x, 20.0, x + 40.0, 50.0] for x, _ in things]).reshape(-1, 4)
    scores = np.zeros((len(things), len(NAMES)))
    for row, (_, of) in zip(scores, things, strict=True):
        for name, score in of.items():
            row[NAMES.index(name)] = score
    return FrameDetections(boxes, scores)


def tracked(
    seen: Callable[[int], Sequence[Thing]], *, num_frames: int = 48, cuts: Sequence[int] = ()
) -> list[ThingTrack]:
    looked = {frame: sights(*seen(frame)) for frame in range(0, num_frames, 4)}
    tracks = track_things(looked, cuts, max_gap_frames=12)
    return sorted(tracks, key=lambda track: (track.frames[0], track.boxes[0], track.label))


def test_coco_has_80_things_of_12_kinds() -> None:
    assert len(NAMES) == len(set(NAMES)) == len(KINDS) == 80
    assert (NAMES[0], NAMES[16], NAMES[79]) == ("person", "dog", "toothbrush")
    assert sorted(set(KINDS)) == list(range(12))


def test_a_thing_has_the_name_that_it_has_most_of_the_time() -> None:
    (track,) = tracked(
        lambda frame: [(10.0, {"cat": 0.6, "dog": 0.5} if frame < 12 else {"dog": 0.7})]
    )
    assert track.label == "dog"
    assert track.frames == tuple(range(0, 48, 4))
    assert track.scores == pytest.approx([0.5] * 3 + [0.7] * 9)
    assert set(track.boxes) == {(10.0, 20.0, 50.0, 50.0)}


def test_things_of_two_kinds_in_one_place_stay_two() -> None:
    rider, horse = {"person": 0.8}, {"horse": 0.9}
    tracks = tracked(lambda frame: [(float(frame), rider), (frame + 6.0, horse)])
    assert [(track.label, len(track.frames)) for track in tracks] == [("person", 12), ("horse", 12)]


def test_what_crosses_keeps_its_way() -> None:
    car = {"car": 0.8}
    right, left = tracked(lambda frame: [(3.0 * frame, car), (135.0 - 3.0 * frame, car)])
    assert [box[0] for box in right.boxes] == [3.0 * frame for frame in right.frames]
    assert [box[0] for box in left.boxes] == [135.0 - 3.0 * frame for frame in left.frames]


def test_a_thing_may_be_unseen_for_a_while_but_not_over_a_cut() -> None:
    def hidden(frame: int) -> list[Thing]:
        return [] if frame in (12, 16) else [(10.0, {"dog": 0.5})]

    assert len(tracked(hidden)) == 1
    assert [track.frames[0] for track in tracked(hidden, cuts=[18])] == [0, 20]


@pytest.mark.parametrize(
    "seen",
    [
        lambda frame: [(10.0, {"dog": 0.29})],
        lambda frame: [(10.0, {"dog": 0.9})] if frame == 12 else [],
        lambda frame: [(10.0, {"dog": 0.9})] if frame in (0, 12, 24, 36) else [],
        lambda frame: [],
    ],
    ids=["never sure", "seen once", "seen now and then", "nothing"],
)
def test_what_is_unsure_is_no_thing(seen: Callable[[int], Sequence[Thing]]) -> None:
    assert tracked(seen) == []


def test_one_frame_is_enough_where_there_is_no_other() -> None:
    (track,) = tracked(lambda frame: [(10.0, {"dog": 0.9})], num_frames=4)
    assert track.frames == (0,)
