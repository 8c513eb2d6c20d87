"""SAM 2 as it is loaded in production, from a tiny random checkpoint of the video model."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from avipipe.annotators.base import Box, Frames  # noqa: E402
from avipipe.annotators.full.sam2 import Sam2Segmenter  # noqa: E402
from avipipe.annotators.registry import create  # noqa: E402
from avipipe.errors import AnnotatorError, FailKind, WeightsError  # noqa: E402
from tests.models.grounded_sam import write_sam2  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.pictures import texture  # noqa: E402


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("weights")
    write_sam2(root / "sam2")
    return root


@pytest.fixture(autouse=True)
def _at_checkpoints(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    lock(monkeypatch, checkpoints, "sam2")


@pytest.fixture(scope="module")
def segmenter(checkpoints: Path) -> Iterator[Sam2Segmenter]:
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, checkpoints, "sam2")
        backend = create("segment", "sam2")
        assert isinstance(backend, Sam2Segmenter)
        backend.setup()
        yield backend


def picture(height: int = 120, width: int = 160) -> Frames:
    return texture(3, (height, width), hue=(90, 120, 60))


@pytest.mark.parametrize(("height", "width"), [(120, 160), (161, 91), (65, 147), (300, 200)])
def test_the_mask_has_the_size_of_the_frame(
    segmenter: Sam2Segmenter, height: int, width: int
) -> None:
    segment = segmenter.segment(picture(height, width), box=(10.0, 12.0, 50.0, 60.0))
    assert segment.mask_HW.shape == (height, width)
    assert segment.mask_HW.dtype == np.bool_
    assert type(segment.score) is float
    assert 0.0 <= segment.score <= 1.0


def test_the_same_input_gives_the_same_mask(segmenter: Sam2Segmenter) -> None:
    box = (10.0, 12.0, 50.0, 60.0)
    first = segmenter.segment(picture(), box=box)
    segmenter.segment(picture(161, 91), box=box)
    again = pickle.loads(pickle.dumps(create("segment", "sam2")))
    again.setup()
    for backend in (segmenter, again):
        segment = backend.segment(picture(), box=box)
        assert (segment.mask_HW == first.mask_HW).all()
        assert segment.score == first.score


def test_box_and_silhouette_are_heard(segmenter: Sam2Segmenter) -> None:
    rough = np.zeros((120, 160), np.bool_)
    rough[30:60, 20:40] = True
    scores = {
        segmenter.segment(picture(), box=(10.0, 12.0, 50.0, 60.0)).score,
        segmenter.segment(picture(), box=(90.0, 12.0, 150.0, 60.0)).score,
        segmenter.segment(picture(), box=(10.0, 12.0, 50.0, 60.0), rough_HW=rough).score,
        segmenter.segment(picture(), box=(10.0, 12.0, 50.0, 60.0), rough_HW=rough[::-1]).score,
    }
    assert len(scores) == 4
    assert (
        segmenter.segment(picture(), box=(10.0, 12.0, 50.0, 60.0), rough_HW=rough & False).score
        in scores
    )


def test_the_best_of_three_masks_is_taken(segmenter: Sam2Segmenter) -> None:
    box = [12.0, 15.0, 50.0, 60.0]
    frame = picture(128, 128)
    inputs = segmenter._processor(images=[frame], input_boxes=[[box]], return_tensors="pt")
    with torch.inference_mode():
        outputs = segmenter._model(**inputs, multimask_output=True)
    scores = outputs.iou_scores[0, 0]
    assert scores.shape == (3,)
    best_HW = outputs.pred_masks[0, 0, scores.argmax()]
    large_HW = torch.nn.functional.interpolate(best_HW[None, None], (128, 128), mode="bilinear")
    segment = segmenter.segment(frame, box=(box[0], box[1], box[2], box[3]))
    assert (segment.mask_HW == (large_HW[0, 0] > 0).numpy()).all()
    expected = float(scores.max()) if segment.mask_HW.any() else 0.0
    assert segment.score == pytest.approx(expected)


def test_any_view_of_a_frame_will_do(segmenter: Sam2Segmenter) -> None:
    frame = picture()
    frame.setflags(write=False)
    view = segmenter.segment(frame[:, ::-1], box=(10.0, 12.0, 50.0, 60.0))
    copy = segmenter.segment(frame[:, ::-1].copy(), box=(10.0, 12.0, 50.0, 60.0))
    assert view.score == copy.score


def test_a_box_reaches_no_further_than_the_frame(segmenter: Sam2Segmenter) -> None:
    wide = segmenter.segment(picture(), box=(-40.0, -5.0, 900.0, 60.0))
    clipped = segmenter.segment(picture(), box=(0.0, 0.0, 160.0, 60.0))
    assert wide.score == clipped.score
    assert (wide.mask_HW == clipped.mask_HW).all()


@pytest.mark.parametrize(
    "box", [(200.0, 10.0, 220.0, 30.0), (10.0, 10.0, 10.0, 30.0), (float("nan"), 1.0, 9.0, 9.0)]
)
def test_a_box_without_pixels_is_refused(segmenter: Sam2Segmenter, box: Box) -> None:
    with pytest.raises(AnnotatorError, match="box inside a 160x120 frame"):
        segmenter.segment(picture(), box=box)


def test_a_frame_that_does_not_fit_into_memory_fails_by_its_kind(segmenter: Sam2Segmenter) -> None:
    def refuse(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    hook = segmenter._model.register_forward_pre_hook(refuse)
    try:
        with pytest.raises(AnnotatorError) as failure:
            segmenter.segment(picture(), box=(10.0, 12.0, 50.0, 60.0))
    finally:
        hook.remove()
    assert failure.value.kind is FailKind.OUT_OF_MEMORY


def test_missing_and_changed_files_are_named(
    tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="avipipe weights pull sam2"):
        create("segment", "sam2").setup()
    folder = tmp_path / "sam2"
    folder.mkdir()
    for file in (checkpoints / "sam2").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    create("segment", "sam2").setup()
    with (folder / "config.json").open("a", encoding="utf-8") as text:
        text.write("\n")
    with pytest.raises(WeightsError, match="corrupted"):
        create("segment", "sam2").setup()
