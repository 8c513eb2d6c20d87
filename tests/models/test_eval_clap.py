"""CLAP, tiny and random, as the metrics take it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from avipipe.annotators.full.match import ClapMatcher
from avipipe.errors import AnnotatorError
from avipipe.evaluate.extractors.clap import ClapHtsat
from avipipe.evaluate.metrics.clap_score import clap_score
from tests.models.locked import lock
from tests.models.tiny_matchers import write_clap

RATE_HZ = 48_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_clap(folder / "clap")
    return folder


@pytest.fixture
def clap(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ClapHtsat:
    lock(monkeypatch, folder, "clap")
    extractor = ClapHtsat()
    extractor.setup()
    return extractor


def sound(seconds: float) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(1).standard_normal(round(seconds * RATE_HZ))
    return (0.1 * noise).astype(np.float32)


def test_the_score_is_that_of_the_annotator_for_its_own_words(
    clap: ClapHtsat, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher = ClapMatcher()
    matcher.setup()
    expected = matcher.similarity(sound(1), ["dog", "rain"], sample_rate_hz=RATE_HZ)
    (audio_D,) = clap.audio(sound(1), sample_rate_hz=RATE_HZ)
    texts_KD = clap.texts([f"the sound of a {name}" for name in expected])
    found = [clap_score(audio_D, text_D) for text_D in texts_KD]
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-5)


def test_long_sound_is_heard_whole_and_alike_every_time(clap: ClapHtsat) -> None:
    once, again = (clap.audio(sound(21), sample_rate_hz=RATE_HZ) for _ in range(2))
    assert len(once) == 3
    np.testing.assert_array_equal(once, again)
    with pytest.raises(AnnotatorError, match="at least one"):
        clap.audio(sound(0), sample_rate_hz=RATE_HZ)


def test_windows_from_each_second_on_end_in_zeros(clap: ClapHtsat) -> None:
    wave = sound(2.5)
    found_KD = clap.each_second(wave, sample_rate_hz=RATE_HZ)
    assert len(found_KD) == 3
    for second, found_D in enumerate(found_KD):
        shown = np.zeros(10 * RATE_HZ, np.float32)
        shown[: wave.size - second * RATE_HZ] = wave[second * RATE_HZ :]
        (alone_D,) = clap.audio(shown, sample_rate_hz=RATE_HZ)
        np.testing.assert_allclose(found_D, alone_D, atol=1e-6)
    with pytest.raises(AnnotatorError, match="at least one"):
        clap.each_second(sound(0), sample_rate_hz=RATE_HZ)
