"""ImageBind, tiny and by seed, through the real loader, against numbers of the official code.

The numbers were made with facebookresearch/ImageBind@53680b0; weights and views are drawn anew.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.errors import WeightsError
from avipipe.evaluate.extractors.imagebind import ImageBindHuge
from avipipe.evaluate.extractors.imagebind_views import picture_views
from tests.models.drawn import drawn_state, drawn_views

SIZES = {"vision": (32, 2, 1 + 256), "audio": (24, 3, 1 + 12 * 19)}
"""Tower -> numbers of a token, blocks, tokens."""
NUM_OUT = 8

VIDEO = [0.371433, 0.160469, -0.128585, 0.471402, -0.239819, -0.178301, 0.500387, -0.070533]
AUDIO = [-8.65041, 9.962088, -3.699115, 2.197732, -6.848678, -2.859444, 10.702563, 4.501411]
PICTURE = [0.535975, 0.113429, -0.183498, 0.665365, -0.23157, -0.143926, 0.325821, -0.207325]


def shapes(tower: str) -> dict[str, tuple[int, ...]]:
    dim, num_blocks, num_tokens = SIZES[tower]
    stem, trunk, head = (
        f"modality_{kind}.{tower}." for kind in ("preprocessors", "trunks", "heads")
    )
    norm = {"weight": (dim,), "bias": (dim,)}
    found: dict[str, tuple[int, ...]] = {
        f"{stem}cls_token": (1, 1, dim),
        f"{stem}pos_embedding_helper.pos_embed": (1, num_tokens, dim),
        f"{head}2.weight": (NUM_OUT, dim),
    }
    norms = [f"{head}0."]
    if tower == "vision":
        found[f"{stem}rgbt_stem.proj.1.weight"] = (dim, 3, 2, 14, 14)
        norms.append(f"{trunk}pre_transformer_layer.0.")
    else:
        found[f"{stem}rgbt_stem.proj.weight"] = (dim, 1, 16, 16)
        norms.append(f"{stem}rgbt_stem.norm_layer.")
    for number in range(num_blocks):
        block = f"{trunk}blocks.{number}."
        norms += [f"{block}norm_1.", f"{block}norm_2."]
        found |= {
            f"{block}attn.in_proj_weight": (3 * dim, dim),
            f"{block}attn.in_proj_bias": (3 * dim,),
            f"{block}attn.out_proj.weight": (dim, dim),
            f"{block}attn.out_proj.bias": (dim,),
            f"{block}mlp.fc1.weight": (4 * dim, dim),
            f"{block}mlp.fc1.bias": (4 * dim,),
            f"{block}mlp.fc2.weight": (dim, 4 * dim),
            f"{block}mlp.fc2.bias": (dim,),
        }
        if tower == "audio":
            found |= {f"{block}attn.bias_k": (1, 1, dim), f"{block}attn.bias_v": (1, 1, dim)}
    return found | {f"{name}{leaf}": shape for name in norms for leaf, shape in norm.items()}


def state() -> dict[str, Tensor]:
    found = {name: shape for tower in SIZES for name, shape in shapes(tower).items()}
    tensors = drawn_state(found)
    tensors["modality_postprocessors.audio.1.log_logit_scale"] = torch.tensor(20.0).log()
    return tensors


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    torch.save(state(), tmp_path / "imagebind_huge.pth")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_embeddings_are_those_of_the_official_network() -> None:
    imagebind = ImageBindHuge()
    imagebind.setup()
    video_KD = imagebind.video(drawn_views(1, 2, 3, 2, 224, 224))
    audio_KD = imagebind.audio(drawn_views(2, 3, 1, 128, 204))
    picture_TD = imagebind.pictures(drawn_views(3, 1, 3, 224, 224))
    np.testing.assert_allclose(video_KD.mean(axis=0), VIDEO, atol=1e-5)
    np.testing.assert_allclose(20 * audio_KD.mean(axis=0), AUDIO, atol=1e-4)
    np.testing.assert_allclose(picture_TD[0], PICTURE, atol=1e-5)
    assert imagebind.video(drawn_views(1, 0, 3, 2, 224, 224)).shape[0] == 0


@pytest.mark.parametrize(
    "lost",
    [
        "modality_trunks.audio.blocks.1.attn.bias_k",
        "modality_preprocessors.vision.pos_embedding_helper.pos_embed",
    ],
)
def test_a_part_of_a_network_is_refused(folder: Path, lost: str) -> None:
    tensors = state()
    del tensors[lost]
    torch.save(tensors, folder / "imagebind_huge.pth")
    with pytest.raises(WeightsError, match="weights pull imagebind"):
        ImageBindHuge().setup()


def test_pictures_are_the_middle_of_frames() -> None:
    frames = np.zeros((2, 40, 80, 3), np.uint8)
    frames[1, :, 20:60] = 255
    dark, light = picture_views(frames)
    assert dark.shape == (3, 224, 224)
    assert np.ptp(dark[0]) == 0
    assert np.median(light) > 1.5 > dark.max()
    assert picture_views(frames[:0]).shape == (0, 3, 224, 224)
