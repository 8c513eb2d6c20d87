"""What looks at pictures for metrics, on tiny random checkpoints in the layout of the real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("transformers")

from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from avipipe.errors import WeightsError  # noqa: E402
from avipipe.evaluate.extractors import dino_views, fvd_views  # noqa: E402
from avipipe.evaluate.extractors.clip import ClipVitB32  # noqa: E402
from avipipe.evaluate.extractors.dino import Dinov2VitB14, DinoVitS16  # noqa: E402
from avipipe.evaluate.extractors.i3d import I3dStyleganV, I3dVideoGpt  # noqa: E402
from avipipe.evaluate.extractors.local_views import cropped_views, masked_views  # noqa: E402
from avipipe.evaluate.metrics.undefined import Undefined  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.models.single_file import lock_file  # noqa: E402
from tests.models.tiny_clip import write_clip  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def frames() -> Frames:
    """More frames than go through a network at once, each with noise of its own."""
    return np.random.default_rng(0).integers(0, 256, (18, 48, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def masks() -> npt.NDArray[np.bool_]:
    """A box that moves, and is gone in the last frame."""
    found = np.zeros((18, 48, 80), bool)
    for frame in range(17):
        found[frame, 10:30, 2 * frame : 2 * frame + 20] = True
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipVitB32:
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder / "clip_vitb32")
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, folder, "clip_vitb32")
        extractor = ClipVitB32()
        extractor.setup()
    return extractor


def dino_state(**options: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    sizes = {"img_size": 224, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 1}
    network = VisionTransformer(**sizes | {"num_classes": 0} | options)
    torch.nn.init.normal_(network.pos_embed)
    return network.state_dict()


def dino(state: dict[str, Any], folder: Path, kind: type[DinoVitS16] = DinoVitS16) -> DinoVitS16:
    (weight,) = kind.needs
    names = {"dino_vits16": "dino_deitsmall16_pretrain.pth"}
    path = folder / names.get(weight, f"{weight}_pretrain.pth")
    torch.save(state, path)
    with pytest.MonkeyPatch.context() as patch:
        lock_file(patch, path, weight)
        extractor = kind()
        extractor.setup()
    return extractor


def test_clip_sees_each_frame_by_itself(clip: ClipVitB32, frames: Frames) -> None:
    together = clip.images(frames)
    assert together.shape == (18, 16)
    alone = np.concatenate([clip.images(frames[at : at + 1]) for at in (0, 15, 17)])
    np.testing.assert_allclose(together[[0, 15, 17]], alone, atol=1e-5)
    frozen = np.broadcast_to(frames[:1], frames.shape)
    np.testing.assert_allclose(clip.images(frozen), together[:1].repeat(18, axis=0), atol=1e-5)
    with pytest.raises(Undefined, match="at least 1"):
        clip.images(frames[:0])


def test_clip_sees_what_is_inside_the_mask(
    clip: ClipVitB32, frames: Frames, masks: npt.NDArray[np.bool_]
) -> None:
    crops = cropped_views(frames, masks)
    assert [crop_HWC.shape for crop_HWC in crops] == [(20, 20, 3)] * 17
    outside = frames.copy()
    outside[~masks] = 200
    for show in (masked_views, cropped_views):
        np.testing.assert_array_equal(
            clip.images(show(outside, masks)), clip.images(show(frames, masks))
        )


def test_clip_reads_a_text_by_itself_and_a_long_one_to_its_limit(clip: ClipVitB32) -> None:
    texts = ["a b c", "c b a", " ".join("abc" * 50)]
    together = clip.texts(texts)
    alone = np.concatenate([clip.texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(
        clip.texts([" ".join("abc" * 60)]), clip.texts([" ".join("abc" * 50)])
    )
    assert not np.allclose(together[0], together[1], atol=1e-3)


def test_dino_of_a_square_frame_is_that_of_timm(tmp_path: Path) -> None:
    state = dino_state()
    extractor = dino(state, tmp_path)
    frames = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    network = VisionTransformer(
        img_size=224, patch_size=16, embed_dim=64, depth=2, num_heads=1, num_classes=0
    )
    network.load_state_dict(state)
    colours = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    pictures = (torch.tensor(frames).permute(0, 3, 1, 2) / 255 - colours[0]) / colours[1]
    with torch.inference_mode():
        expected = network.eval().forward_features(pictures)[:, 0]
    np.testing.assert_allclose(extractor.cls(frames), expected, atol=1e-5)


def test_dino_keys_have_a_row_for_each_patch_of_a_wide_frame(
    tmp_path: Path, frames: Frames
) -> None:
    extractor = dino(dino_state(), tmp_path)
    keys = list(extractor.keys(frames))
    assert len(keys) == 18
    assert keys[0].shape == (1 + 14 * 23, 64)  # 224 x 373 px
    (alone,) = extractor.keys(frames[17:])
    np.testing.assert_allclose(keys[17], alone, atol=1e-5)
    (parity,) = extractor.keys(frames[17:], view=dino_views.whole_pie)
    assert not np.allclose(alone, parity, atol=1e-3)


def test_vbench_sees_whole_grey_levels_without_a_bound_of_the_long_side(frames: Frames) -> None:
    shown_TCHW = dino_views.vbench(frames[:1, :, :20])
    assert shown_TCHW.shape == (1, 3, 537, 224)
    grey = (shown_TCHW[:, 0] * 0.229 + 0.485) * 255
    np.testing.assert_allclose(grey, grey.round(), atol=1e-3)
    assert dino_views.whole(frames[:1, :, :20]).shape == (1, 3, 480, 200)


def test_dinov2_loads_with_its_layer_scale_and_sees_crops(
    tmp_path: Path, frames: Frames, masks: npt.NDArray[np.bool_]
) -> None:
    state = dino_state(img_size=70, patch_size=14, init_values=0.5)
    state["mask_token"] = torch.zeros(1, 64)
    extractor = dino(state, tmp_path, Dinov2VitB14)
    crops = cropped_views(frames, masks)
    features = extractor.cls(crops, view=dino_views.crops)
    assert features.shape == (17, 64)
    np.testing.assert_allclose(
        features[16:], extractor.cls(crops[16:], view=dino_views.crops), atol=1e-5
    )


@pytest.mark.parametrize("lost", ["patch_embed.proj.weight", "blocks.1.norm2.bias"])
def test_a_dino_that_lacks_a_tensor_is_refused(tmp_path: Path, lost: str) -> None:
    state = dino_state()
    del state[lost]
    with pytest.raises(WeightsError, match=lost):
        dino(state, tmp_path)


class _Scripted(nn.Module):
    """What StyleGAN-V calls, with numbers that tell what it was asked."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        flags = [float(rescale), float(resize), float(return_features), float(x.mean())]
        told: Tensor = torch.tensor([flags])
        return told


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_i3d_of_styleganv_is_asked_as_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: Frames
) -> None:
    path = tmp_path / "i3d_torchscript.pt"
    with torch.inference_mode():
        program = torch.jit.script(_Scripted())
    program.save(path)
    lock_file(monkeypatch, path, "i3d_torchscript")
    extractor = I3dStyleganV()
    extractor.setup()
    clips = np.stack([frames[:16], frames[2:]])
    raw = extractor.logits(fvd_views.styleganv(clips))
    np.testing.assert_allclose(raw[:, :3], 1)
    np.testing.assert_allclose(raw[:, 3], clips.mean(axis=(1, 2, 3, 4)), rtol=1e-4)
    ready = extractor.logits(fvd_views.common_styleganv(clips), is_ready=True)
    np.testing.assert_allclose(ready[:, :3], [[0, 0, 1]] * 2)
    assert np.abs(ready[:, 3]).max() < 1


@pytest.mark.parametrize("kind", [I3dStyleganV, I3dVideoGpt])
def test_a_clip_that_is_too_short_for_i3d_has_no_features(
    kind: type[I3dVideoGpt | I3dStyleganV], frames: Frames
) -> None:
    with pytest.raises(Undefined, match="8 frames, and I3D needs 9"):
        kind().logits(fvd_views.cdfvd_array(frames[None, :8]))
