"""XMem as it is loaded in production, from a small random checkpoint."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from avipipe.annotators.base import Frames, Mask, PropagatedMasks  # noqa: E402
from avipipe.annotators.full.xmem import XmemPropagator  # noqa: E402
from avipipe.annotators.registry import create  # noqa: E402
from avipipe.annotators.xmem.inference import Tracker  # noqa: E402
from avipipe.annotators.xmem.memory import MemoryLimits  # noqa: E402
from avipipe.annotators.xmem.network import Widths, XMem  # noqa: E402
from avipipe.errors import AnnotatorError, FailKind, WeightsError  # noqa: E402
from avipipe.weights import sha256  # noqa: E402
from tests.pictures import SIZE, square_on_wall, swing  # noqa: E402

WIDTHS = Widths(base=8, key=8, value=32, hidden=8)


def write_checkpoint(folder: Path) -> None:
    torch.manual_seed(3)
    network = XMem(WIDTHS)
    # Else the random net sees the object everywhere or nowhere.
    torch.nn.init.normal_(network.decoder.pred.weight, std=0.3)
    torch.save(network.state_dict(), folder / "XMem.pth")


def write_lock(folder: Path, digest: str | None) -> None:
    entry = {
        "url": "https://example.org/xmem",
        "licence": "none",
        "purpose": "a test",
        "files": [{"name": "XMem.pth", "sha256": digest}],
    }
    (folder / "lock.yaml").write_text(yaml.safe_dump({"xmem": entry}), encoding="utf-8")


def use(patch: pytest.MonkeyPatch, folder: Path, digest: str | None = None) -> None:
    write_lock(folder, digest)
    patch.setenv("AVIPIPE_WEIGHTS_DIR", str(folder))
    patch.setenv("AVIPIPE_WEIGHTS_LOCK", str(folder / "lock.yaml"))


@pytest.fixture(scope="module", autouse=True)
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, folder)
        yield folder / "XMem.pth"


@pytest.fixture
def propagator() -> XmemPropagator:
    backend = create("propagate", "xmem")
    assert isinstance(backend, XmemPropagator)
    backend.setup()
    return backend


def scene(num_frames: int) -> tuple[Frames, Mask]:
    return square_on_wall(swing(num_frames))


def propagate(backend: XmemPropagator, num_frames: int = 8, seed_frame: int = 3) -> PropagatedMasks:
    frames, masks = scene(num_frames)
    return backend.propagate(frames, seed_frame=seed_frame, seed_mask_HW=masks[seed_frame])


@pytest.mark.parametrize("seed_frame", [0, 3, 7])
def test_a_track_reaches_both_ends(propagator: XmemPropagator, seed_frame: int) -> None:
    track = propagate(propagator, seed_frame=seed_frame)
    _, masks = scene(8)
    assert track.masks_THW.shape == (8, *SIZE)
    assert (track.masks_THW[seed_frame] == masks[seed_frame]).all()
    seen_T = track.masks_THW.any(axis=(1, 2))
    assert np.asarray(seen_T)[[0, -1]].all()
    assert track.quality_T.dtype == np.float32
    assert track.quality_T[seed_frame] == 1.0
    assert ((track.quality_T > 0) == seen_T).all()
    assert track.quality_T.max() <= 1.0
    assert track.confidence == pytest.approx(track.quality_T.mean())


def test_both_ways_are_the_same_but_for_the_order(propagator: XmemPropagator) -> None:
    frames, masks = scene(9)
    mirrored = np.concatenate([frames[:0:-1], frames])
    track = propagator.propagate(mirrored, seed_frame=8, seed_mask_HW=masks[0])
    assert (track.masks_THW == track.masks_THW[::-1]).all()
    assert (track.quality_T == track.quality_T[::-1]).all()


def test_the_same_input_gives_the_same_track(propagator: XmemPropagator) -> None:
    first = propagate(propagator)
    copy = pickle.loads(pickle.dumps(create("propagate", "xmem")))
    copy.setup()
    for backend in (propagator, copy):
        again = propagate(backend)
        assert (again.masks_THW == first.masks_THW).all()
        assert (again.quality_T == first.quality_T).all()


def seen_sizes(network: Any, sizes: list[tuple[int, ...]]) -> None:
    network.key_encoder.register_forward_pre_hook(
        lambda _module, args: sizes.append(tuple(args[0].shape[-2:]))
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1080, 1200), (480, 544)), ((97, 131), (112, 144)), ((30, 20), (32, 32))],
)
def test_frames_are_shrunk_to_480_and_never_enlarged(
    propagator: XmemPropagator, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    sizes: list[tuple[int, ...]] = []
    seen_sizes(propagator._network, sizes)
    frames = np.random.default_rng(5).integers(0, 255, (2, *size, 3), np.uint8)
    seed = np.zeros(size, np.bool_)
    seed[5:15, 5:15] = True
    track = propagator.propagate(frames, seed_frame=0, seed_mask_HW=seed)
    assert track.masks_THW.shape == (2, *size)
    assert set(sizes) == {expected}


def test_a_seed_of_one_pixel_and_one_of_the_whole_picture_are_carried(
    propagator: XmemPropagator,
) -> None:
    frames, _ = scene(3)
    dot = np.zeros(SIZE, np.bool_)
    dot[60, 80] = True
    for seed in (dot, np.ones(SIZE, np.bool_)):
        track = propagator.propagate(frames, seed_frame=1, seed_mask_HW=seed)
        assert (track.masks_THW[1] == seed).all()


def test_an_empty_seed_gives_an_empty_track_of_unknown_confidence(
    propagator: XmemPropagator,
) -> None:
    frames, masks = scene(3)
    track = propagator.propagate(frames, seed_frame=0, seed_mask_HW=masks[0] & False)
    assert not track.masks_THW.any()
    assert track.confidence is None


def test_a_seed_that_does_not_fit_is_refused(propagator: XmemPropagator) -> None:
    frames, masks = scene(3)
    with pytest.raises(AnnotatorError, match="expected a mask of size"):
        propagator.propagate(frames, seed_frame=3, seed_mask_HW=masks[0])


def test_an_instance_may_be_gone_and_come_back(propagator: XmemPropagator) -> None:
    """The decoder is made to see nothing in frames 3 to 12, two of which are memorised."""
    frame = 0

    def blind(_module: object, _args: object, logits: Any) -> Any:
        nonlocal frame
        frame += 1
        return logits - 50.0 if 3 <= frame <= 12 else logits

    propagator._network.decoder.pred.register_forward_hook(blind)
    track = propagate(propagator, num_frames=16, seed_frame=0)
    assert not track.masks_THW[3:13].any()
    assert (track.quality_T[3:13] == 0.0).all()
    assert track.masks_THW[[2, 13, 15]].any(axis=(1, 2)).all()


def test_a_long_clip_is_held_in_bounds() -> None:
    torch.manual_seed(0)
    limits = MemoryLimits(top_k=5, max_work_frames=3, min_work_frames=2, num_prototypes=4)
    tracker = Tracker(XMem(WIDTHS).eval(), limits, memory_every=1)
    mask = torch.zeros(1, 64, 64)
    mask[0, 10:30, 10:30] = 1.0
    for frame in range(24):
        prob = tracker.step(torch.randn(3, 64, 64), mask if frame == 0 else None)
        assert prob.isfinite().all()
    assert tracker.memory.work is not None
    assert tracker.memory.long is not None
    assert tracker.memory.work.size == 2 * 16
    assert tracker.memory.long.size == 22 * 4


def test_half_precision_gives_about_the_same(
    propagator: XmemPropagator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on a GPU, as far as a CPU can tell."""
    exact = propagate(propagator)
    monkeypatch.setattr(
        Tracker, "_precision", lambda _self, _image: torch.autocast("cpu", torch.bfloat16)
    )
    half = propagate(propagator)
    assert (half.masks_THW != exact.masks_THW).mean() < 0.05
    assert not (half.quality_T == exact.quality_T).all()
    np.testing.assert_allclose(half.quality_T, exact.quality_T, atol=0.05)


@pytest.mark.parametrize(("failures", "passes"), [(1, True), (2, False)])
def test_memory_that_runs_out_is_tried_once_more_with_less(
    propagator: XmemPropagator, failures: int, passes: bool
) -> None:
    left = failures

    def run_out(_module: object, _args: object) -> None:
        nonlocal left
        if left:
            left -= 1
            raise torch.cuda.OutOfMemoryError("out of memory")

    propagator._network.decoder.register_forward_pre_hook(run_out)
    if passes:
        assert propagate(propagator).masks_THW.any()
        return
    with pytest.raises(AnnotatorError, match="fits into memory") as caught:
        propagate(propagator)
    assert caught.value.kind == FailKind.OUT_OF_MEMORY


def test_a_network_that_gives_no_numbers_is_an_error(propagator: XmemPropagator) -> None:
    torch.nn.init.constant_(propagator._network.decoder.pred.bias, float("nan"))
    with pytest.raises(AnnotatorError, match="gave no numbers"):
        propagate(propagator)


def test_weights_are_named_by_content(propagator: XmemPropagator, checkpoint: Path) -> None:
    assert propagator.weights == {"xmem": sha256("xmem")}
    assert len(propagator.weights["xmem"]) == 64


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, tmp_path)
    with pytest.raises(WeightsError, match="avipipe weights pull xmem"):
        create("propagate", "xmem").setup()


def test_changed_weights_are_refused(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "XMem.pth").write_bytes(checkpoint.read_bytes())
    use(monkeypatch, tmp_path, digest="0" * 64)
    with pytest.raises(WeightsError, match="corrupted"):
        create("propagate", "xmem").setup()


def without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda s: without(s, "key_proj.e_proj.bias"), "lacks 1 .* key_proj.e_proj.bias"),
        (lambda s: without(s, "key_encoder.conv1.weight"), "lacks 1 .* key_encoder.conv1.weight"),
        (lambda s: {**s, "decoder.extra": torch.zeros(2)}, "Unexpected key.*decoder.extra"),
        (lambda s: {**s, "decoder.pred.bias": torch.zeros(2)}, r"decoder.pred.bias.*Size\(\[2\]\)"),
        (lambda s: {"model": s}, r"lacks \d+ of its tensors"),
        (lambda s: list(s), "expected a state dict, got list"),
    ],
)
def test_another_checkpoint_is_refused_with_the_reason(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, reason: str
) -> None:
    state = torch.load(checkpoint, weights_only=True)
    torch.save(spoil(state), tmp_path / "XMem.pth")
    use(monkeypatch, tmp_path)
    with pytest.raises(WeightsError, match=f"network of XMem: .*{reason}.* pull xmem"):
        create("propagate", "xmem").setup()


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", pickle.dumps(print, protocol=2)]
)
def test_what_is_no_checkpoint_at_all_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "XMem.pth").write_bytes(content)
    use(monkeypatch, tmp_path)
    with pytest.raises(WeightsError, match="cannot be loaded as a network of XMem"):
        create("propagate", "xmem").setup()
