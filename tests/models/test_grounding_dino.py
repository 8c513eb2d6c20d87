"""Grounding DINO as it is loaded in production, from tiny random checkpoints."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from avipipe.annotators.base import Detection, Frames  # noqa: E402
from avipipe.annotators.full.grounding_dino import (  # noqa: E402
    MAX_DETECTIONS,
    TEXT_THRESHOLD,
    GroundingDinoDetector,
    label_spans,
    labelled_boxes,
)
from avipipe.annotators.key_frames import key_frames  # noqa: E402
from avipipe.annotators.registry import create  # noqa: E402
from avipipe.errors import AnnotatorError, FailKind, WeightsError  # noqa: E402
from tests.models.grounded_sam import tokenizer, write_grounding_dino  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.pictures import hops, square_on_wall, texture  # noqa: E402

FPS = Fraction(24)
FOUR = ["dog", "cat", "person playing violin", "violin"]
TWELVE = [*FOUR, "guitar", "car", "truck", "drum", "bird", "train", "hammer", "trumpet"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("weights")
    write_grounding_dino(root / "grounding_dino")
    return root


@pytest.fixture(autouse=True)
def _at_checkpoints(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    lock(monkeypatch, checkpoints, "grounding_dino")


@pytest.fixture(scope="module")
def detector(checkpoints: Path) -> Iterator[GroundingDinoDetector]:
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, checkpoints, "grounding_dino")
        backend = create("detect", "grounding_dino")
        assert isinstance(backend, GroundingDinoDetector)
        backend.setup()
        yield backend


@pytest.fixture(scope="module", params=[-20.0, 20.0], ids=["sees nothing", "sees everything"])
def biased(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[float, Any]:
    root = tmp_path_factory.mktemp("biased")
    write_grounding_dino(root / "mm_grounding_dino", bias=request.param)
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, root, "mm_grounding_dino")
        backend = create("detect", "mm_grounding_dino")
        backend.setup()
    return request.param, backend


def clip(height: int = 120, width: int = 160, num_frames: int = 9) -> Frames:
    return np.stack([texture(n, (height, width), hue=(90, 120, 60)) for n in range(num_frames)])


def detect(backend: Any, frames_THWC: Frames, prompts: list[str]) -> list[Detection]:
    found: list[Detection] = backend.detect(
        frames_THWC, fps=FPS, prompts=prompts, localization=None
    )
    return found


@pytest.mark.parametrize(("height", "width"), [(120, 160), (161, 91), (65, 147), (40, 40)])
@pytest.mark.parametrize("prompts", [["dog"], FOUR, TWELVE], ids=len)
def test_boxes_lie_in_the_picture_and_carry_a_prompt(
    detector: GroundingDinoDetector, prompts: list[str], height: int, width: int
) -> None:
    frames = clip(height, width)
    found = detect(detector, frames, prompts)
    assert found
    assert {d.frame for d in found} <= set(key_frames(frames))
    assert {d.label for d in found} <= set(prompts)
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    for detection in found:
        x0, y0, x1, y1 = detection.box
        assert 0.0 <= x0 < x1 <= width
        assert 0.0 <= y0 < y1 <= height
        assert TEXT_THRESHOLD < detection.score <= 1.0
        assert type(detection.score) is float
        assert type(x0) is float


def test_a_batch_of_frames_gives_what_single_frames_give(
    detector: GroundingDinoDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = clip(91, 161)
    monkeypatch.setattr(detector, "batch_size", 4)
    together = detect(detector, frames, FOUR)
    monkeypatch.setattr(detector, "batch_size", 1)
    single = detect(detector, frames, FOUR)
    assert [(d.frame, d.label) for d in together] == [(d.frame, d.label) for d in single]
    np.testing.assert_allclose([d.score for d in together], [d.score for d in single], atol=1e-4)
    np.testing.assert_allclose([d.box for d in together], [d.box for d in single], atol=0.05)


def test_smaller_batches_give_the_same_where_memory_is_short(
    detector: GroundingDinoDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = detect(detector, clip(), FOUR)
    assert expected
    monkeypatch.setattr(detector, "batch_size", 4)
    room = 2

    def refuse(_: Any, args: Any, kwargs: Any) -> None:
        if len(kwargs["pixel_values"]) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    hook = detector._model.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        found = detect(detector, clip(), FOUR)
        assert [(d.frame, d.label) for d in found] == [(d.frame, d.label) for d in expected]
        room = 0
        with pytest.raises(AnnotatorError) as failure:
            detect(detector, clip(), FOUR)
    finally:
        hook.remove()
    assert failure.value.kind is FailKind.OUT_OF_MEMORY


def test_the_same_clip_gives_the_same_boxes(detector: GroundingDinoDetector) -> None:
    first = detect(detector, clip(), FOUR)
    detect(detector, clip(70, 50, 3), ["car"])
    assert detect(detector, clip(), FOUR) == first
    again = create("detect", "grounding_dino")
    again.setup()
    assert detect(again, clip(), FOUR) == first


def test_any_view_of_frames_will_do(detector: GroundingDinoDetector) -> None:
    frames = clip()
    frames.setflags(write=False)
    assert detect(detector, frames[:, ::-1], ["dog"]) == detect(
        detector, frames[:, ::-1].copy(), ["dog"]
    )


def test_prompts_that_read_the_same_are_one_label(detector: GroundingDinoDetector) -> None:
    one = detect(detector, clip(), ["St. Bernard"])
    assert {d.label for d in one} == {"St. Bernard"}
    assert detect(detector, clip(), ["St. Bernard", "  st bernard?", ""]) == one


def test_a_prompt_of_no_tokens_gets_no_box(detector: GroundingDinoDetector) -> None:
    found = detect(detector, clip(), ["\u200b", "dog"])
    assert {d.label for d in found} == {"dog"}


@pytest.mark.parametrize("prompts", [[], ["", " . "]])
def test_nothing_to_look_for_is_nothing_found(
    detector: GroundingDinoDetector, prompts: list[str]
) -> None:
    assert detect(detector, clip(), prompts) == []


def test_more_than_the_model_can_read_is_said(detector: GroundingDinoDetector) -> None:
    with pytest.raises(AnnotatorError, match="reads 256; give fewer"):
        detect(detector, clip(), [f"dog {'cat ' * n}" for n in range(25)])


def test_no_frames_are_refused(detector: GroundingDinoDetector) -> None:
    with pytest.raises(AnnotatorError, match="at least one frame"):
        detect(detector, clip()[:0], ["dog"])


def test_sure_and_unsure_models(biased: tuple[float, Any]) -> None:
    bias, backend = biased
    found = detect(backend, clip(num_frames=1), FOUR)
    if bias < 0:
        assert found == []
    else:
        assert len(found) == MAX_DETECTIONS
        assert {d.frame for d in found} == {0}


def test_missing_and_changed_files_are_named(
    tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="avipipe weights pull grounding_dino"):
        create("detect", "grounding_dino").setup()
    folder = tmp_path / "grounding_dino"
    folder.mkdir()
    for file in (checkpoints / "grounding_dino").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    create("detect", "grounding_dino").setup()
    with (folder / "model.safetensors").open("ab") as weight:
        weight.write(b"\0")
    with pytest.raises(WeightsError, match="corrupted"):
        create("detect", "grounding_dino").setup()


def test_spans_hold_the_words_of_their_label(tmp_path: Path) -> None:
    reader = tokenizer(tmp_path)
    labels = ["person playing violin", "violin", "trumpet", "dog's guitar", "saxophones"]
    input_ids = reader(". ".join(labels) + ".")["input_ids"]
    spans = label_spans(input_ids, input_ids[-2])
    words = [reader.convert_ids_to_tokens(input_ids[span]) for span in spans]
    assert words == [
        ["person", "playing", "violin"],
        ["violin"],
        ["trump", "##et"],
        ["dog", "'", "[UNK]", "guitar"],
        ["saxophone", "##s"],
    ]


def boxes_of(
    rows: list[list[float]], spans: list[slice], boxes: list[list[float]] | None = None
) -> list[tuple[list[float], int, float]]:
    """Of made-up probabilities; boxes apart from each other unless given."""
    apart = [[(n + 0.5) / len(rows), 0.5, 0.5 / len(rows), 0.5] for n in range(len(rows))]
    return labelled_boxes(torch.tensor(rows), torch.tensor(boxes or apart), spans)


SPANS = [slice(1, 4), slice(5, 6)]
"""Of `[CLS] person playing violin . dog . [SEP]`."""


@pytest.mark.parametrize(
    ("row", "label", "score"),
    [
        ([0.0, 0.0, 0.0, 0.6, 0.0, 0.4, 0.0, 0.0], 0, 0.6),  # would read "violin dog"
        ([0.0, 0.0, 0.3, 0.0, 0.0, 0.4, 0.0, 0.0], 1, 0.4),  # would read "playing dog"
        ([0.0, 0.0, 0.28, 0.0, 0.5, 0.0, 0.0, 0.0], 0, 0.28),  # the dot is likeliest: "playing ."
        ([0.9, 0.3, 0.2, 0.1, 0.0, 0.2, 0.0, 0.0], 0, 0.3),  # [CLS] is likeliest
    ],
)
def test_a_box_goes_to_the_label_with_the_likeliest_token(
    row: list[float], label: int, score: float
) -> None:
    [(_, found_label, found_score)] = boxes_of([row], SPANS)
    assert found_label == label
    assert found_score == pytest.approx(score)


@pytest.mark.parametrize(
    "row",
    [
        [0.0, 0.29, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0],
        [0.9, 0.2, 0.2, 0.1, 0.9, 0.2, 0.0, 0.0],  # nothing but special tokens: an empty label
    ],
)
def test_unlikely_boxes_are_left_out(row: list[float]) -> None:
    assert boxes_of([row], SPANS) == []


def test_only_boxes_of_one_label_suppress_each_other() -> None:
    person, dog = [0.0, 0.9, 0, 0, 0, 0, 0, 0], [0.0, 0, 0, 0, 0, 0.5, 0, 0]
    worse_person = [0.0, 0.8, 0, 0, 0, 0, 0, 0]
    box = [0.5, 0.5, 0.4, 0.4]
    found = boxes_of([worse_person, dog, person], SPANS, [[0.5, 0.5, 0.38, 0.4], box, box])
    assert [(label, round(score, 3)) for _, label, score in found] == [(0, 0.9), (1, 0.5)]
    np.testing.assert_allclose(found[0][0], [0.3, 0.3, 0.7, 0.7], atol=1e-6)


def test_boxes_end_at_the_edge_and_none_is_flat() -> None:
    sure = [0.0, 0.9, 0, 0, 0, 0, 0, 0]
    found = boxes_of([sure, sure], SPANS, [[0.0, 0.5, 0.4, 2.0], [1.2, 0.5, 0.1, 0.1]])
    assert len(found) == 1
    np.testing.assert_allclose(found[0][0], [0.0, 0.0, 0.2, 1.0], atol=1e-6)


def test_key_frames_are_few_and_one_is_sharp() -> None:
    frames, _ = square_on_wall(hops(40, [5, 20]))
    blurred = np.repeat(frames.mean(axis=(1, 2), keepdims=True).astype(np.uint8), 120, axis=1)
    blurred = np.repeat(blurred, 160, axis=2)
    blurred[27] = frames[27]
    assert key_frames(blurred) == [0, 19, 27, 39]
    assert key_frames(frames[:1]) == [0]
    assert key_frames(frames[:2]) == [0, 1]
