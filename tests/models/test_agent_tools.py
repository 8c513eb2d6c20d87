"""What makes, separates and measures sounds for the audio agent, tiny and random."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avipipe.audio_agent.backends.clap import ClapLikeness
from avipipe.audio_agent.backends.demucs import HtDemucs
from avipipe.audio_agent.backends.diffusion import AudioLdm2, StableAudio
from avipipe.audio_agent.backends.speech import MmsSpeech
from avipipe.audio_agent.schema import AudioSpan, Removal
from avipipe.audio_agent.tools import Sound
from avipipe.errors import AnnotatorError, WeightsError
from tests.models import test_demucs
from tests.models.locked import lock
from tests.models.tiny_matchers import write_clap
from tests.models.tiny_sound_makers import (
    LONGEST_S,
    SAMPLE_RATE_HZ,
    write_audioldm2,
    write_mms_tts,
    write_stable_audio,
)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*torch_dtype.* is deprecated:FutureWarning"),
    # Of rounding at the ends of the noise schedule.
    pytest.mark.filterwarnings("ignore:Should have t:UserWarning:torchsde"),
]

WRITERS: dict[str, Callable[[Path], None]] = {
    "stable_audio": lambda folder: write_stable_audio(folder / "stable_audio"),
    "audioldm2": lambda folder: write_audioldm2(folder / "audioldm2", folder / "clap"),
    "mms_tts_eng": lambda folder: write_mms_tts(folder / "mms_tts_eng"),
    "clap": lambda folder: write_clap(folder / "clap"),
    "htdemucs": lambda folder: test_demucs.save(folder / "htdemucs"),
}
TOOLS: dict[str, Callable[[], Any]] = {
    "stable_audio": StableAudio,
    "audioldm2": AudioLdm2,
    "mms_tts_eng": MmsSpeech,
    "clap": ClapLikeness,
    "htdemucs": HtDemucs,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for name in ("clap", "audioldm2", "stable_audio", "mms_tts_eng", "htdemucs"):
        WRITERS[name](folder)
    return folder


@pytest.fixture(scope="module")
def load(folder: Path) -> Callable[[str], Any]:
    tools: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in tools:
            with pytest.MonkeyPatch.context() as patch:
                lock(patch, folder, name)
                tool = TOOLS[name]()
                tool.setup()
            if name in ("stable_audio", "audioldm2"):
                scheduler = tool._pipeline.scheduler
                few = partial(type(scheduler).set_timesteps, scheduler, 3)
                scheduler.set_timesteps = lambda _, device: few(device=device)
            tools[name] = tool
        return tools[name]

    return load


def noise(num_channels: int = 2, duration_s: float = 1.0, rate_hz: int = 44_100) -> Sound:
    rng = np.random.default_rng(0)
    size = (num_channels, round(duration_s * rate_hz))
    return Sound((0.1 * rng.standard_normal(size)).astype(np.float32), rate_hz)


@pytest.mark.parametrize(
    ("name", "channels", "rate_hz"), [("stable_audio", 2, SAMPLE_RATE_HZ), ("audioldm2", 1, 16_000)]
)
def test_a_sound_is_drawn_by_its_seed(
    load: Callable[[str], Any], name: str, channels: int, rate_hz: int
) -> None:
    tool = load(name)
    made = tool.generate("dog barking", duration_s=4.0, seed=3)
    assert made.wav_CN.dtype == np.float32
    assert (made.wav_CN.shape[0], made.sample_rate_hz) == (channels, rate_hz)
    assert made.duration_s == pytest.approx(4.0, abs=0.02)
    assert made.wav_CN.std() > 0
    torch.rand(1)
    again = tool.generate("dog barking", duration_s=4.0, seed=3)
    assert np.array_equal(made.wav_CN, again.wav_CN)
    for words, seed in (("dog barking", 4), ("a car horn", 3)):
        other = tool.generate(words, duration_s=4.0, seed=seed)
        assert not np.array_equal(made.wav_CN, other.wav_CN)


def test_a_sound_is_as_long_as_the_model_can(load: Callable[[str], Any]) -> None:
    tool = load("stable_audio")
    assert tool.generate("rain", duration_s=60.0, seed=0).duration_s == pytest.approx(
        LONGEST_S, abs=0.01
    )
    assert tool.generate("a knock", duration_s=0.2, seed=0).duration_s >= 0.2


def speak(tool: Any, words: str, duration_s: float, seed: int = 0) -> Sound:
    spoken: Sound = tool.speak(words, voice=None, reference=None, duration_s=duration_s, seed=seed)
    return spoken


def test_words_are_spoken_as_fast_as_they_must(load: Callable[[str], Any]) -> None:
    tool = load("mms_tts_eng")
    words = "Hello there, how are you?"
    slow = speak(tool, words, 5.0)
    assert (slow.wav_CN.shape[0], slow.sample_rate_hz) == (1, 16_000)
    quick = speak(tool, words, 0.7 * slow.duration_s)
    assert slow.duration_s / 1.3 < quick.duration_s < slow.duration_s
    assert np.array_equal(speak(tool, words, 5.0).wav_CN, slow.wav_CN)
    other = speak(tool, words, 5.0, seed=1)
    assert not np.array_equal(other.wav_CN[:, :1000], slow.wav_CN[:, :1000])


def test_torch_keeps_its_own_numbers(load: Callable[[str], Any]) -> None:
    tool = load("mms_tts_eng")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    speak(tool, "hello", 1.0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("words", ["…", "привет", "room 42"])
def test_words_that_it_cannot_read_are_refused(load: Callable[[str], Any], words: str) -> None:
    with pytest.raises(AnnotatorError, match=words):
        speak(load("mms_tts_eng"), words, 1.0)


@pytest.mark.parametrize(
    ("kind", "query", "stems"),
    [
        ("speech", "a man talking", ["vocals"]),
        ("music", "music", ["drums", "bass", "other"]),
        ("music", "the drums", ["drums"]),
        ("music", "bass guitar", ["bass"]),
        ("music", "singing", ["vocals"]),
    ],
)
def test_the_stem_that_is_named_comes_out(
    load: Callable[[str], Any], kind: Any, query: str, stems: list[str]
) -> None:
    tool, mixture = load("htdemucs"), noise()
    target = tool.separate(mixture, Removal(query=query, kind=kind))
    waves = tool._demucs.separate(mixture.wav_CN, sample_rate_hz=mixture.sample_rate_hz).waves
    expected_CN = np.sum([waves[name] for name in stems], axis=0)
    assert target.sample_rate_hz == mixture.sample_rate_hz
    assert np.allclose(target.wav_CN, expected_CN, atol=1e-6)


def test_nothing_comes_out_beside_the_spans(load: Callable[[str], Any]) -> None:
    tool, mixture = load("htdemucs"), noise()
    whole = tool.separate(mixture, Removal(query="voice", kind="speech"))
    span = AudioSpan(start_s=0.4, end_s=0.7)
    part = tool.separate(mixture, Removal(query="voice", kind="speech", spans=(span,)))
    rate_hz, wav_CN = mixture.sample_rate_hz, part.wav_CN
    inside = slice(round(0.42 * rate_hz), round(0.68 * rate_hz))
    assert np.allclose(wav_CN[:, inside], whole.wav_CN[:, inside], atol=1e-6)
    assert not wav_CN[:, : round(0.38 * rate_hz)].any()
    assert not wav_CN[:, round(0.72 * rate_hz) :].any()


def test_clap_compares_a_sound_with_words(load: Callable[[str], Any]) -> None:
    tool = load("clap")
    first = tool.similarity(noise(), "dog barking")
    assert -1 <= first <= 1
    assert tool.similarity(noise(), "dog barking") == first != tool.similarity(noise(), "car")
    assert tool.similarity(noise().like(0 * noise().wav_CN), "dog barking") is None


@pytest.mark.parametrize("name", TOOLS)
def test_a_missing_file_names_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(folder / name, tmp_path / name)
    lock(monkeypatch, tmp_path, name)
    next(path for path in (tmp_path / name).rglob("*.safetensors")).unlink()
    with pytest.raises(WeightsError, match=f"avipipe weights pull {name}"):
        TOOLS[name]().setup()


@pytest.mark.parametrize("name", ["stable_audio", "audioldm2", "mms_tts_eng"])
def test_what_is_no_checkpoint_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(folder / name, tmp_path / name)
    for config in (tmp_path / name).rglob("config.json"):
        config.write_text("{")
    lock(monkeypatch, tmp_path, name)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        TOOLS[name]().setup()
