"""A narrow Cnn14, by seed, in the layout of PANNs' checkpoints, through the real loader."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from avipipe.errors import AnnotatorError, WeightsError
from avipipe.evaluate.extractors.cnn14 import Cnn14Audio
from tests.models.tiny_cnn14 import FILE, NUM_HIDDEN, checkpoint

RATE_HZ = 32_000


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    path = tmp_path / FILE
    torch.save(checkpoint(), path)
    return path


def sound(seconds: float) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(1).standard_normal(round(seconds * RATE_HZ))
    return (0.1 * noise).astype(np.float32)


def expected(state: dict[str, Tensor], wav_N: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """The network in plain numpy, a frame and a pixel at a time where that is short."""
    tensors = {key: value.double() for key, value in state.items()}
    padded = np.pad(wav_N.astype(float), 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = [padded[at : at + 1024] * window for at in range(0, len(wav_N) + 1, 320)]
    power = np.abs(np.fft.rfft(np.stack(frames))) ** 2
    mel = 10 * np.log10(np.maximum(power @ tensors["logmel_extractor.melW"].numpy(), 1e-10))
    maps = torch.from_numpy((mel + 20) / np.sqrt(100 + 1e-5))[None, None]
    for number in range(1, 7):
        for place in (1, 2):
            kernel = tensors[f"conv_block{number}.conv{place}.weight"]
            maps = torch.conv2d(maps, kernel, padding=1) / np.sqrt(1 + 1e-5)
            maps = maps.clamp(min=0)
        if number < 6:
            height, width = maps.shape[2] // 2 * 2, maps.shape[3] // 2 * 2
            part = maps[:, :, :height, :width]
            places = [part[:, :, a::2, b::2] for a in (0, 1) for b in (0, 1)]
            maps = torch.stack(places).mean(dim=0)
    over_time = maps.mean(dim=3)[0]
    pooled = over_time.max(dim=1).values + over_time.mean(dim=1)
    return np.asarray(np.maximum(tensors["fc1.weight"].numpy() @ pooled.numpy(), 0))


def test_the_embedding_is_that_of_the_formula(path: Path) -> None:
    cnn14 = Cnn14Audio()
    cnn14.setup()
    wav_N = sound(0.5)
    (found_D,) = cnn14.features(wav_N)
    reference_D = expected(torch.load(path, weights_only=False)["model"], wav_N)
    assert reference_D.max() > 0.1
    np.testing.assert_allclose(found_D, reference_D, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("path")
def test_a_sound_has_one_embedding_or_none() -> None:
    cnn14 = Cnn14Audio()
    cnn14.setup()
    assert cnn14.features(sound(3.0)).shape == (1, NUM_HIDDEN)
    assert cnn14.features(sound(0.31)).shape == (1, NUM_HIDDEN)
    assert cnn14.features(sound(0.3)).shape == (0, NUM_HIDDEN)
    with pytest.raises(AnnotatorError, match="at least one"):
        cnn14.features(sound(0))


@pytest.mark.parametrize("lost", ["fc1.weight", "conv_block3.bn2.running_var", "bn0.weight"])
def test_a_part_of_a_network_is_refused(path: Path, lost: str) -> None:
    whole = checkpoint()
    del whole["model"][lost]
    torch.save(whole, path)
    with pytest.raises(WeightsError, match="weights pull cnn14"):
        Cnn14Audio().setup()
    torch.save(checkpoint()["model"], path)
    with pytest.raises(WeightsError, match="weights pull cnn14"):
        Cnn14Audio().setup()
