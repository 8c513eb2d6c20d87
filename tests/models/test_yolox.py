"""YOLOX-nano with its official weights on real frames; skipped without either."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avipipe import weights
from avipipe.annotators.base import (
    ActiveSpeakers,
    Box,
    Detection,
    Frames,
    Localization,
    SpeakerTrack,
    ThingFinder,
)
from avipipe.annotators.coco import NAMES
from avipipe.annotators.light.detect import FaceOrMotionDetector
from avipipe.annotators.light.things import YoloxDetector
from avipipe.annotators.light.yolox import YoloxNano
from avipipe.annotators.tracking import overlaps
from avipipe.errors import AnnotatorError, WeightsError
from tests.models.davis import box_of, dogs_jump, judo
from tests.pictures import hops, square_on_wall

FPS = Fraction(24)


@pytest.fixture(scope="module")
def detector() -> YoloxDetector:
    backend = YoloxDetector()
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(str(error))
    return backend


def iou(box: Box, other: Box) -> float:
    return float(overlaps(np.array([box]), np.array([other]))[0, 0])


def detect(
    detector: YoloxDetector | FaceOrMotionDetector,
    frames: Frames,
    prompts: list[str],
    *,
    localization: Localization | None = None,
    speakers: ActiveSpeakers | None = None,
) -> list[Detection]:
    return detector.detect(
        frames, fps=FPS, prompts=prompts, localization=localization, speakers=speakers
    )


def test_things_are_found_where_they_are_in_frames_of_any_shape(detector: YoloxDetector) -> None:
    frames, masks = judo()
    net = YoloxNano(weights.locate("yolox_nano"))
    for frame in (frames[0], np.ascontiguousarray(frames[0, :, :300])):
        sights = net.look(frame)
        assert NAMES[int(sights.scores_NK[0].argmax())] == "person"
        assert (sights.boxes_N4 >= 0).all()
        assert (sights.boxes_N4 <= np.tile(frame.shape[1::-1], 2)).all()
    boxes = net.look(frames[8]).boxes_N4
    assert overlaps(boxes, np.array([box_of(masks[8] > 0)])).max() > 0.8


def test_things_are_followed(detector: YoloxDetector) -> None:
    assert isinstance(detector, ThingFinder)
    frames, masks = dogs_jump()
    tracks = detector.things(frames, fps=FPS)
    dog = next(track for track in tracks if track.label == "dog")
    person = next(track for track in tracks if track.label == "person")
    for track, number, least in ((dog, 2, 0.85), (person, 3, 0.7)):
        seen = zip(track.frames, track.boxes, strict=True)
        agreement = [iou(box, box_of(masks[frame] == number)) for frame, box in seen]
        assert np.mean(agreement) > least
    assert sum(track.label == "person" for track in detector.things(judo()[0], fps=FPS)) >= 5


def test_what_the_prompts_name_is_boxed(detector: YoloxDetector) -> None:
    frames, masks = dogs_jump()
    dogs = detect(detector, frames, ["bark", "dog"])
    assert {found.label for found in dogs} == {"dog"}
    assert [found.score for found in dogs] == sorted((d.score for d in dogs), reverse=True)
    truth = masks[dogs[0].frame]
    assert max(iou(dogs[0].box, box_of(truth == number)) for number in (1, 2)) > 0.8
    assert {found.label for found in detect(detector, frames, ["person"])} == {"person"}


def test_where_no_name_helps_it_does_as_faces_does(detector: YoloxDetector) -> None:
    frames, masks = square_on_wall(hops(60, [12, 29, 46]))
    heat = Localization(0.5, 0.01, 0.3, 0.0, masks.mean(axis=0, dtype=np.float32), None, 0.9)
    faces = FaceOrMotionDetector()
    faces.setup()
    for prompts in ([], ["drum"], ["dog"]):
        found = detect(detector, frames, prompts, localization=heat)
        expected = detect(faces, frames, prompts, localization=heat)
        assert [(d.frame, d.box, d.score) for d in found] == [
            (d.frame, d.box, d.score) for d in expected
        ]
        assert found


def test_a_face_that_speaks_is_told_although_no_person_is_seen_around_it(
    detector: YoloxDetector,
) -> None:
    frames, masks = dogs_jump()
    x0, y0, x1, _ = box_of(masks[30] == 3)
    there = (x0 + 0.3 * (x1 - x0), y0, x1 - 0.3 * (x1 - x0), y0 + 0.4 * (x1 - x0))
    looked = tuple(range(0, 66, 6))

    def speakers(face: Box) -> ActiveSpeakers:
        return ActiveSpeakers((SpeakerTrack(looked, (face,) * 11, (2.0,) * 11),), 1.0)

    person = detect(detector, frames, ["person"], speakers=speakers(there))
    assert all(found.rough_HW is None for found in person), "the network's boxes"
    elsewhere = detect(detector, frames, ["person"], speakers=speakers((5.0, 5.0, 25.0, 30.0)))
    assert all(found.rough_HW is not None for found in elsewhere), "drawn around the face"


def test_no_frames_are_refused(detector: YoloxDetector) -> None:
    with pytest.raises(AnnotatorError):
        detector.things(np.zeros((0, 36, 64, 3), np.uint8), fps=FPS)


def test_another_network_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="expected a network in ONNX format"):
        YoloxNano(path)
    try:
        other = weights.locate("silero_vad")
    except WeightsError as error:
        pytest.skip(str(error))
    with pytest.raises(WeightsError, match="weights pull yolox_nano"):
        YoloxNano(other)
