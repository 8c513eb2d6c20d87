"""VGGish against numbers of its references, with recipe weights."""

from pathlib import Path

import pytest
import torch

from avipipe.evaluate.extractors.vggish import VggishAudio, log_mel_examples
from tests.parity.metric_fixtures import Arrays, arrays, close
from tests.parity.metric_recipes import noisy_tone, recipe_state, stats


@pytest.fixture
def fixture() -> Arrays:
    return arrays("inception_vggish")


def test_log_mel_examples(fixture: Arrays) -> None:
    wave = noisy_tone(*fixture["vggish_params"].tolist())
    close([wave.sum(dtype=float), wave[0], wave[-1]], fixture["vggish_wave_check"], 1e-6)
    examples = log_mel_examples(wave)
    close(examples[:, ::5, ::4], fixture["vggish_examples_part"], 1e-5)
    close(stats(examples), fixture["vggish_examples_stats"], 1e-5)


@pytest.mark.slow  # 72 million weights are drawn and saved
def test_embeddings(fixture: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(recipe_state("inception_vggish", "vggish"), tmp_path / "vggish-10086976.pth")
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    vggish = VggishAudio()
    vggish.setup()
    wave = noisy_tone(*fixture["vggish_params"].tolist())
    for is_rectified, name in ((False, "vggish_embeddings"), (True, "vggish_embeddings_relu")):
        close(vggish.features(wave, is_rectified=is_rectified), fixture[name], 1e-4)
