"""The detector of people who speak, on drawn people whose masks are known."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import cv2
import numpy as np
import pytest

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
from avipipe.annotators.embedded.propagate import FlowPropagator
from avipipe.annotators.embedded.segment import GrabCutSegmenter
from avipipe.annotators.instance import find_instance
from avipipe.annotators.light.detect import FaceOrMotionDetector
from tests.pictures import hops, overlap, square_on_wall, texture

FPS = Fraction(24)
SIZE = (180, 320)
FACE_PX = 24, 32


def people(middles: Sequence[tuple[float, float]]) -> tuple[Frames, list[Mask]]:
    """One picture of people before a wall, their faces centred at (x, y), and their masks."""
    frame = texture(1, SIZE, hue=(60, 90, 130))
    hair, skin, shirt = (
        texture(seed, SIZE, hue=hue)
        for seed, hue in ((2, (60, 40, 20)), (3, (210, 160, 130)), (4, (170, 40, 50)))
    )
    masks = []
    for x, y in middles:
        mask = np.zeros(SIZE, np.bool_)
        for centre, radii, colours in (
            ((x, y + 20), (8, 14), skin),
            ((x, y + 100), (34, 76), shirt),
            ((x, y - 4), (15, 20), hair),
            ((x, y + 2), (12, 16), skin),
        ):
            part = np.zeros(SIZE, np.uint8)
            middle = round(centre[0]), round(centre[1])
            cv2.ellipse(part, middle, radii, 0, 0, 360, 1, cv2.FILLED)
            frame[part > 0] = np.roll(colours, middle[0], axis=1)[part > 0]
            mask |= part > 0
        masks.append(mask)
    return frame, masks


def face(x: float, y: float) -> Box:
    width, height = FACE_PX
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def track(
    x: float, y: float, *, score: float, frames: Sequence[int] = range(0, 48, 6)
) -> SpeakerTrack:
    return SpeakerTrack(tuple(frames), (face(x, y),) * len(frames), (score,) * len(frames))


def detect(
    frames: Frames,
    tracks: Sequence[SpeakerTrack] | None,
    *,
    prompts: Sequence[str] = ("person",),
    localization: Localization | None = None,
) -> list[Detection]:
    detector = FaceOrMotionDetector()
    detector.setup()
    speakers = ActiveSpeakers(tuple(tracks), 1.0) if tracks is not None else None
    return detector.detect(
        frames, fps=FPS, prompts=prompts, localization=localization, speakers=speakers
    )


def test_who_speaks_is_boxed_from_hair_to_waist() -> None:
    frame, (truth,) = people([(150, 60)])
    frames = np.repeat(frame[None], 48, axis=0)
    found = detect(frames, [track(150, 60, score=1.5)])
    assert len({detection.frame for detection in found}) == len(found) == 5
    for detection in found:
        assert detection.label == "person"
        assert detection.score == pytest.approx(1 / (1 + np.exp(-1.5)))
        assert detection.rough_HW is not None
        assert overlap(detection.rough_HW, truth) > 0.85
        x0, y0, x1, y1 = detection.box
        assert detection.rough_HW[int(y0) : int(y1), int(x0) : int(x1)].sum() == (
            detection.rough_HW.sum()
        )
        segment = GrabCutSegmenter().segment(frame, box=detection.box, rough_HW=detection.rough_HW)
        assert overlap(segment.mask_HW, truth) > 0.9


def test_each_who_speaks_is_found_and_who_is_silent_is_no_rival() -> None:
    frame, truths = people([(60, 60), (160, 70), (260, 60)])
    frames = np.repeat(frame[None], 48, axis=0)
    tracks = [track(60, 60, score=0.4), track(160, 70, score=-3.0), track(260, 60, score=2.0)]
    found = detect(frames, tracks)
    assert set(Counter(detection.frame for detection in found).values()) == {2}
    assert [detection.score for detection in found] == sorted(
        (detection.score for detection in found), reverse=True
    )
    for detection in found:
        assert detection.rough_HW is not None
        overlaps = [overlap(detection.rough_HW, truth) for truth in truths]
        assert overlaps[2 if detection.score > 0.7 else 0] > 0.7
        assert overlaps[1] < 0.1


def test_one_whose_track_is_broken_counts_once() -> None:
    frame, _ = people([(150, 60)])
    frames = np.repeat(frame[None], 96, axis=0)
    before = track(150, 60, score=2.0, frames=range(0, 36, 6))
    after = track(150, 60, score=1.0, frames=range(60, 96, 6))
    found = detect(frames, [before, after])
    assert set(Counter(detection.frame for detection in found).values()) == {1}


def test_a_face_between_looks_is_where_it_has_moved_to() -> None:
    frame, _ = people([(120, 60), (240, 60)])
    moving = SpeakerTrack((0, 6), (face(60, 60), face(180, 60)), (1.0, 1.0))
    frames = np.repeat(frame[None], 7, axis=0)
    staying = track(240, 60, score=2.0, frames=[3])
    rough_HW = detect(frames, [moving, staying])[1].rough_HW
    assert rough_HW is not None
    assert rough_HW[60, 120]
    assert not rough_HW[60, [60, 180]].any()


def hopping() -> tuple[Frames, Localization]:
    frames, masks = square_on_wall(hops(60, [12, 29, 46]))
    heat_HW = masks.mean(axis=0, dtype=np.float32)
    return frames, Localization(0.5, 0.01, 0.3, 0.0, heat_HW, None, 0.9)


@pytest.mark.parametrize(
    ("prompts", "score"), [(["tool", "person"], 2.0), ([], 2.0), (["person"], -0.5)]
)
def test_other_sounds_and_silent_faces_are_left_to_motion(prompts: list[str], score: float) -> None:
    frames, heat = hopping()
    found = detect(frames, [track(30, 30, score=score)], prompts=prompts, localization=heat)
    motion = MotionDetector()
    motion.setup()
    expected = motion.detect(frames, fps=FPS, prompts=prompts, localization=heat)
    assert expected
    assert [(d.frame, d.box, d.label) for d in found] == [
        (d.frame, d.box, d.label) for d in expected
    ]


def test_without_faces_or_motion_nothing_is_found() -> None:
    frames = np.repeat(people([])[0][None], 5, axis=0)
    assert detect(frames, None) == []
    assert detect(frames, []) == []
    assert detect(frames, [SpeakerTrack((), (), ())]) == []


def test_one_frame_is_enough() -> None:
    frame, (truth,) = people([(150, 60)])
    (found,) = detect(frame[None], [track(150, 60, score=1.0, frames=[0])])
    assert found.frame == 0
    assert found.rough_HW is not None
    assert overlap(found.rough_HW, truth) > 0.85


@pytest.mark.parametrize(
    "box",
    [
        (-20.0, 60.0, 4.0, 92.0),
        (310.0, 160.0, 350.0, 210.0),
        (-60.0, -40.0, 400.0, 260.0),
        (500.0, 60.0, 524.0, 92.0),
        (100.0, 60.0, 101.0, 61.0),
    ],
    ids=["half left", "corner", "larger than the picture", "outside", "a dot"],
)
def test_odd_faces_do_no_harm(box: Box) -> None:
    frame, _ = people([(150, 60)])
    speaker = SpeakerTrack((0, 1), (box, box), (1.0, 1.0))
    for detection in detect(np.stack([frame, frame]), [speaker]):
        x0, y0, x1, y1 = detection.box
        assert 0 <= x0 < x1 <= SIZE[1]
        assert 0 <= y0 < y1 <= SIZE[0]


def test_a_track_that_outlasts_the_frames_is_cut_short() -> None:
    frame, _ = people([(150, 60)])
    found = detect(frame[None].repeat(3, axis=0), [track(150, 60, score=1.0)])
    assert {detection.frame for detection in found} == {0}


def test_forty_who_speak_are_all_found() -> None:
    middles = [(4.0 * n + 2.0, 30.0) for n in range(40)]
    small = people([(2 * x, 2 * y) for x, y in middles])[0][::2, ::2]
    boxes = [(x - 6.0, y - 8.0, x + 6.0, y + 8.0) for x, y in middles]
    assert len(detect(small[None], [SpeakerTrack((0,), (box,), (1.0,)) for box in boxes])) == 40


def test_one_who_leaves_and_comes_back_is_one_instance() -> None:
    away = [(150.0 + 14.0 * n, 60.0) for n in range(16)]
    course = [(150.0, 60.0)] * 8 + away + away[::-1]
    pictures = [people([at]) for at in course]
    frames = np.stack([frame for frame, _ in pictures])
    seen = track(150, 60, score=1.0, frames=range(8))
    instance = find_instance(
        frames,
        detect(frames, [seen]),
        segmenter=GrabCutSegmenter(),
        propagator=FlowPropagator(),
        max_seeds=3,
        min_agreement=0.8,
    )
    assert instance is not None
    overlaps = [
        overlap(mask, truth)
        for mask, (_, (truth,)) in zip(instance.track.masks_THW, pictures, strict=True)
    ]
    assert min(overlaps[:12]) > 0.85
    assert not pictures[24][1][0].any()
    assert not instance.track.masks_THW[24].any()
    assert min(overlaps[-4:]) > 0.75
