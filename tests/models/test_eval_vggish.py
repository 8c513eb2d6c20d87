"""VGGish with narrow layers at its end, by seed, through the real loader."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from avipipe.errors import AnnotatorError, WeightsError
from avipipe.evaluate.extractors.networks.vggish import Vggish
from avipipe.evaluate.extractors.vggish import VggishAudio


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    torch.manual_seed(0)
    path = tmp_path / "vggish-10086976.pth"
    torch.save(Vggish(num_hidden=16).state_dict(), path)
    return path


def sound(seconds: float) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(1).standard_normal(round(seconds * 16_000))
    return (0.1 * noise).astype(np.float32)


@pytest.mark.usefixtures("path")
def test_one_embedding_for_each_whole_example() -> None:
    vggish = VggishAudio()
    vggish.setup()
    whole = vggish.features(sound(3.0))
    assert whole.shape == (3, 128)
    second = vggish.features(sound(3.0)[96 * 160 : 2 * 96 * 160 + 240])
    np.testing.assert_allclose(second[0], whole[1], atol=1e-6)
    rectified = vggish.features(sound(3.0), is_rectified=True)
    np.testing.assert_array_equal(rectified, np.maximum(whole, 0))
    assert rectified.min() == 0 > whole.min()
    assert vggish.features(sound(0.97)).shape == (0, 128)
    with pytest.raises(AnnotatorError, match="at least one"):
        vggish.features(sound(0))


@pytest.mark.parametrize("lost", ["embeddings.2.weight", "features.0.bias"])
def test_a_part_of_a_network_is_refused(path: Path, lost: str) -> None:
    state = torch.load(path, weights_only=True)
    del state[lost]
    torch.save(state, path)
    with pytest.raises(WeightsError, match="weights pull vggish"):
        VggishAudio().setup()
