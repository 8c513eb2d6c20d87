"""MobileNetV2 with its official weights on real frames; skipped without either."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avipipe import weights
from avipipe.annotators.base import Detection, Frames
from avipipe.annotators.light.activation import ActivationDetector
from avipipe.annotators.light.mobilenet import MobilenetClassifier
from avipipe.annotators.networks import tflite_interpreter
from avipipe.annotators.views import tiles
from avipipe.errors import AnnotatorError, WeightsError
from avipipe.media.decode import read_frames
from avipipe.media.probe import probe
from tests.models.davis import box_of, dogs_jump
from tests.pictures import still

FPS = Fraction(24)
CLIPS = Path(__file__).parents[3] / "shared" / "clips"


@pytest.fixture(scope="module")
def classifier() -> MobilenetClassifier:
    backend = MobilenetClassifier()
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(str(error))
    return backend


@pytest.fixture(scope="module")
def detector(classifier: MobilenetClassifier) -> ActivationDetector:
    backend = ActivationDetector()
    try:
        backend.setup()
    except WeightsError as error:
        pytest.skip(str(error))
    return backend


def clip(name: str, at_s: float) -> Frames:
    path = CLIPS / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    return read_frames(path, probe(path), start_s=at_s, end_s=at_s + 0.5, fps=FPS, height_px=360)


def dog_crop() -> tuple[Frames, tuple[int, int, int, int]]:
    """A frame with a dog, and the dog's box."""
    frames, masks = dogs_jump()
    x0, y0, x1, y1 = map(int, box_of(masks[0] == 2))
    return frames[0], (x0, y0, x1, y1)


def test_breeds_are_added_up(classifier: MobilenetClassifier) -> None:
    frame, (x0, y0, x1, y1) = dog_crop()
    shown, elsewhere = classifier.classify([frame[y0:y1, x0:x1], still(1)[0]])
    assert next(iter(shown)) == "dog"
    assert shown["dog"] > 0.7
    assert sum(shown.values()) <= 1.0 + 1e-6
    assert elsewhere.get("dog", 0.0) < 0.1
    assert classifier.classify([]) == []


@pytest.mark.parametrize(
    ("name", "at_s", "noun"),
    [("clip_027.mp4", 2.0, "drum"), ("h_008.mp4", 2.0, "harp"), ("h_040.mp4", 2.0, "bird")],
)
def test_it_names_things_of_real_clips(
    classifier: MobilenetClassifier, name: str, at_s: float, noun: str
) -> None:
    frame = clip(name, at_s)[0]
    best: dict[str, float] = {}
    for scores in classifier.classify([frame[part] for part in tiles(frame)]):
        best |= {key: max(score, best.get(key, 0.0)) for key, score in scores.items()}
    assert max(best, key=best.__getitem__) == noun


def test_it_tells_where_a_thing_is(classifier: MobilenetClassifier) -> None:
    frame, (x0, y0, x1, y1) = dog_crop()
    heat = classifier.locate(frame, "dog")
    assert heat.max() == pytest.approx(1.0)
    inside = heat[y0:y1, x0:x1]
    assert inside.mean() > 2 * heat.mean()
    assert classifier.locate(frame, "no such noun").max() == 0.0
    congas = classifier.locate(clip("clip_038.mp4", 1.0)[0], "drum")
    rows, columns = np.nonzero(congas > 0.5)
    assert rows.min() > 0.4 * congas.shape[0], "the drums stand below"
    assert columns.max() - columns.min() > 0.4 * congas.shape[1], "and there are two"


def detect(detector: ActivationDetector, frames: Frames, prompts: list[str]) -> list[Detection]:
    return detector.detect(frames, fps=FPS, prompts=prompts, localization=None)


def test_what_coco_has_no_name_for_is_boxed(detector: ActivationDetector) -> None:
    frames = clip("clip_038.mp4", 1.0)
    drums = detect(detector, frames, ["person playing drum", "drum", "person"])
    assert {found.label for found in drums} == {"drum"}
    assert len({found.frame for found in drums}) == len(drums) == 5
    for found in drums:
        assert found.rough_HW is not None
        assert found.box == box_of(found.rough_HW)
        assert found.box[1] > 0.35 * frames.shape[1]
    people = detect(detector, frames, ["person", "drum"])
    assert {found.label for found in people} == {"person"}


def test_what_coco_names_is_boxed_by_its_detector(detector: ActivationDetector) -> None:
    frames, _ = dogs_jump()
    dogs = detect(detector, frames, ["dog"])
    assert {(found.label, found.rough_HW) for found in dogs} == {("dog", None)}
    assert detect(detector, frames, ["harp", "no such noun"]) == []


def test_an_empty_picture_is_refused(classifier: MobilenetClassifier) -> None:
    with pytest.raises(AnnotatorError):
        classifier.classify([np.zeros((0, 5, 3), np.uint8)])


def load(path: Path) -> None:
    tflite_interpreter(path, weight="mobilenet_v2", inputs=[(1, 224, 224, 3)], outputs=[(1, 1001)])


def test_another_network_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="expected a network in TFLite format"):
        load(path)
    try:
        other = weights.locate("yamnet")
    except WeightsError as error:
        pytest.skip(str(error))
    with pytest.raises(WeightsError, match="weights pull mobilenet_v2"):
        load(other)
