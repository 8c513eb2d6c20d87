"""SAM 2 as a propagator, loaded as in production from a tiny random checkpoint."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("torchvision")

from transformers import Sam2VideoConfig, Sam2VideoModel  # noqa: E402

from avipipe.annotators.base import PropagatedMasks  # noqa: E402
from avipipe.annotators.full.sam2_video import Sam2VideoPropagator, _Follower  # noqa: E402
from avipipe.annotators.registry import create  # noqa: E402
from avipipe.errors import AnnotatorError, FailKind, WeightsError  # noqa: E402
from tests.models.grounded_sam import write_sam2  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.pictures import SIZE, square_on_wall, swing  # noqa: E402


def write_checkpoint(folder: Path) -> None:
    """One with a whole memory, that thinks that the object is there."""
    write_sam2(folder)
    config: Any = Sam2VideoConfig.from_pretrained(folder)
    config.mask_downsampler_embed_dim = config.memory_fuser_embed_dim = 128
    config.memory_fuser_intermediate_dim = 64
    torch.manual_seed(4)
    model: Any = Sam2VideoModel(config)
    torch.nn.init.constant_(model.mask_decoder.pred_obj_score_head.proj_out.bias, 9.0)
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def propagator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sam2VideoPropagator]:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("weights")
    write_checkpoint(root / "sam2")
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, root, "sam2")
        backend = create("propagate", "sam2_video")
        assert isinstance(backend, Sam2VideoPropagator)
        backend.setup()
        yield backend


def propagate(backend: Any, num_frames: int, seed_frame: int) -> PropagatedMasks:
    frames, masks = square_on_wall(swing(num_frames))
    track = backend.propagate(frames, seed_frame=seed_frame, seed_mask_HW=masks[seed_frame])
    assert isinstance(track, PropagatedMasks)
    return track


@pytest.mark.parametrize("seed_frame", [0, 2, 5])
def test_a_track_reaches_both_ends(propagator: Sam2VideoPropagator, seed_frame: int) -> None:
    track = propagate(propagator, 6, seed_frame)
    assert track.masks_THW.shape == (6, *SIZE)
    assert (track.masks_THW[seed_frame] == square_on_wall(swing(6))[1][seed_frame]).all()
    seen_T = track.masks_THW.any(axis=(1, 2))
    assert seen_T.sum() > 1
    assert ((track.quality_T > 0) == seen_T).all()
    assert track.quality_T[seed_frame] == track.quality_T.max() == 1.0
    assert track.confidence == pytest.approx(track.quality_T.mean())


def test_the_same_input_gives_the_same_track(propagator: Sam2VideoPropagator) -> None:
    first = propagate(propagator, 4, 1)
    copy = pickle.loads(pickle.dumps(create("propagate", "sam2_video")))
    copy.setup()
    for backend in (propagator, copy):
        again = propagate(backend, 4, 1)
        assert (again.masks_THW == first.masks_THW).all()
        assert (again.quality_T == first.quality_T).all()


def test_frames_one_by_one_give_what_the_whole_clip_gives(propagator: Sam2VideoPropagator) -> None:
    """Nothing that is dropped would have been read: compared with a session that keeps all."""
    frames, masks = square_on_wall(swing(20))
    processor, model = propagator._processor, propagator._model
    session = processor.init_video_session(video=list(frames))
    processor.add_inputs_to_inference_session(session, frame_idx=0, obj_ids=1, input_masks=masks[0])
    with torch.inference_mode():
        model(inference_session=session, frame_idx=0)
        whole = [output.pred_masks for output in model.propagate_in_video_iterator(session)]
    follower = _Follower(model, processor, frames[0], masks[0])
    for frame in range(1, 20):
        follower._frame = frame
        torch.testing.assert_close(follower._run(frames[frame]).pred_masks, whole[frame])


def test_a_session_holds_no_more_than_it_needs(propagator: Sam2VideoPropagator) -> None:
    frames, masks = square_on_wall(swing(24))
    follower = _Follower(propagator._model, propagator._processor, frames[0], masks[0])
    for frame in frames[1:]:
        follower.step(frame)
    assert not follower._session.processed_frames
    outputs = follower._session.output_dict_per_obj[0]["non_cond_frame_outputs"]
    assert sorted(outputs) == list(range(9, 24))


def test_an_empty_seed_gives_an_empty_track(propagator: Sam2VideoPropagator) -> None:
    frames, masks = square_on_wall(swing(3))
    track = propagator.propagate(frames, seed_frame=0, seed_mask_HW=masks[0] & False)
    assert not track.masks_THW.any()
    assert track.confidence is None


def test_a_seed_that_does_not_fit_is_refused(propagator: Sam2VideoPropagator) -> None:
    frames, _ = square_on_wall(swing(3))
    with pytest.raises(AnnotatorError, match="expected a mask of size"):
        propagator.propagate(frames, seed_frame=0, seed_mask_HW=np.ones((9, 9), np.bool_))


def test_memory_that_runs_out_is_an_error_of_that_kind(propagator: Sam2VideoPropagator) -> None:
    def run_out(_module: object, _args: object) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    hook = propagator._model.memory_encoder.register_forward_pre_hook(run_out)
    try:
        with pytest.raises(AnnotatorError) as caught:
            propagate(propagator, 3, 0)
    finally:
        hook.remove()
    assert caught.value.kind == FailKind.OUT_OF_MEMORY


def test_a_network_that_gives_no_numbers_is_an_error(propagator: Sam2VideoPropagator) -> None:
    def nonsense(_module: object, _args: object, output: Any) -> Any:
        return tuple(part * float("nan") for part in output)

    hook = propagator._model.mask_decoder.register_forward_hook(nonsense)
    try:
        with pytest.raises(AnnotatorError, match="gave no numbers"):
            propagate(propagator, 3, 0)
    finally:
        hook.remove()


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="avipipe weights pull sam2"):
        create("propagate", "sam2_video").setup()
