"""ImageBind, tiny and by seed, through the real loader, against numbers of the official code.

The numbers were made with facebookresearch/ImageBind@53680b0; weights and views are drawn anew.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from avipipe.annotators.imagebind.views import picture_views
from avipipe.errors import WeightsError
from avipipe.evaluate.extractors.imagebind import ImageBindHuge
from tests.models.drawn import drawn_views
from tests.models.tiny_imagebind import imagebind_state

VIDEO = [0.371433, 0.160469, -0.128585, 0.471402, -0.239819, -0.178301, 0.500387, -0.070533]
AUDIO = [-8.65041, 9.962088, -3.699115, 2.197732, -6.848678, -2.859444, 10.702563, 4.501411]
PICTURE = [0.535975, 0.113429, -0.183498, 0.665365, -0.23157, -0.143926, 0.325821, -0.207325]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    torch.save(imagebind_state(), tmp_path / "imagebind_huge.pth")
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
    tensors = imagebind_state()
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
