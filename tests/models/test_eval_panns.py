"""PANNs' Cnn14 through the real loader, and KL by it, on a tiny random checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import scipy
import torch

from avipipe.errors import WeightsError
from avipipe.evaluate.cases import Case, completed
from avipipe.evaluate.controls import controls_of
from avipipe.evaluate.extractors.networks.panns import HOP, Cnn14
from avipipe.evaluate.extractors.panns import LEAST_SAMPLES, PannsCnn14
from avipipe.evaluate.measuring import measure
from avipipe.evaluate.metrics.undefined import Undefined
from tests.integration import lavfi
from tests.models.single_file import lock_file
from tests.models.tiny_panns import NUM_CLASSES, WINDOW, panns_state, write_panns

WEIGHT = "panns_cnn14_16k"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    path = tmp_path / "panns_cnn14_16k.pth"
    write_panns(path, panns_state())
    lock_file(monkeypatch, path, WEIGHT)
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})
    return path


def noise(num: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (0.1 * np.random.default_rng(0).standard_normal(num)).astype(np.float32)


def test_its_spectrum_is_that_of_scipy() -> None:
    network = Cnn14(panns_state())
    network.load_state_dict(panns_state())
    wav_N = noise(8000)
    with torch.inference_mode():
        power_TK = network.spectrogram_extractor["stft"](torch.from_numpy(wav_N)[None])[0].numpy()
    padded_N = np.pad(wav_N.astype(np.float64), WINDOW // 2, mode="reflect")
    windows_TN = np.lib.stride_tricks.sliding_window_view(padded_N, WINDOW)[::HOP]
    expected_TK = np.abs(np.fft.rfft(windows_TN * scipy.signal.get_window("hann", WINDOW))) ** 2
    np.testing.assert_allclose(power_TK, expected_TK, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("path")
def test_a_sound_of_any_length_has_logits() -> None:
    panns = PannsCnn14()
    panns.setup()
    found = [panns.logits(noise(num)) for num in (LEAST_SAMPLES, 3 * LEAST_SAMPLES)]
    assert [each.shape for each in found] == [(NUM_CLASSES,)] * 2
    assert np.isfinite(found).all()
    # A level is an offset in decibels, which its first layer sees.
    assert np.abs(panns.logits(0.01 * noise(LEAST_SAMPLES)) - found[0]).max() > 0.01
    with pytest.raises(Undefined, match=r"0\.30 s, under 0\.32 s"):
        panns.logits(noise(4800))


@pytest.mark.parametrize("lost", ["logmel_extractor.melW", "conv_block3.bn1.running_var"])
def test_a_part_of_a_network_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    state = panns_state()
    del state[lost]
    write_panns(path, state)
    lock_file(monkeypatch, path, WEIGHT)
    with pytest.raises(WeightsError, match=f"weights pull {WEIGHT}"):
        PannsCnn14().setup()


@pytest.mark.usefixtures("path")
def test_kl_is_that_of_the_softmax(tmp_path: Path) -> None:
    sounds = {"source": "sine=f=440:d=1", "edit": "anoisesrc=a=0.3:seed=1:d=1"}
    files = {
        name: lavfi.write(tmp_path / f"{name}.mkv", video="color=s=64x48:r=24:d=1", audio=graph)
        for name, graph in sounds.items()
    }
    cases = completed([Case(name="a", method="m", **files)], "test")
    copy = next(each for each in controls_of(cases, seed=0) if each.control == "copy")
    own, copied = (
        each.scores["kl.panns"] for each in measure([*cases, copy], ["kl.panns"], tmp_path)
    )
    assert own.value is not None
    assert own.value > 0.01
    assert copied.value == pytest.approx(0.0, abs=1e-9)
