"""Models that hear for the audio agent, and Bark, tiny and random, through their loaders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from transformers import PeAudioFrameLevelModel

from avipipe.annotators.signal import resample
from avipipe.audio_agent import Sound, Task, edit_audio, toolbox
from avipipe.audio_agent.backends import audio_lm
from avipipe.audio_agent.backends.audio_lm import Qwen2Audio, Qwen25Omni
from avipipe.audio_agent.backends.chat import ChatCaptioner
from avipipe.audio_agent.backends.frames import THRESHOLD, QueriedSeparator
from avipipe.audio_agent.backends.speech import BarkSpeech
from avipipe.audio_agent.schema import AudioCaption, AudioSpan, Removal
from avipipe.errors import WeightsError
from avipipe.services.reply import BrokenReplyError, Message
from tests.models import tiny_listeners
from tests.models.locked import lock

pytestmark = pytest.mark.usefixtures("one_thread")

RATE_HZ = 44_100
TOOLS: dict[str, Callable[[], Any]] = {
    "qwen2_audio": Qwen2Audio,
    "qwen2_5_omni": Qwen25Omni,
    "pe_a_frame": QueriedSeparator,
    "bark": BarkSpeech,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for name in TOOLS:
        getattr(tiny_listeners, f"write_{name}")(folder / name)
    return folder


@pytest.fixture(scope="module")
def load(folder: Path) -> Callable[[str], Any]:
    tools: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in tools:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(audio_lm, "MAX_TOKENS", 12)
                lock(patch, folder, name)
                tools[name] = TOOLS[name]()
                tools[name].setup()
        return tools[name]

    return load


def noise(seed: int = 0, *, duration_s: float = 1.0, num_channels: int = 2) -> Sound:
    rng = np.random.default_rng(seed)
    size = (num_channels, round(duration_s * RATE_HZ))
    return Sound((0.1 * rng.standard_normal(size)).astype(np.float32), RATE_HZ)


def first_logits(tool: Any, *parts: Any) -> torch.Tensor:
    """What the model thinks of the first word of its answer."""
    with torch.inference_mode():
        logits: torch.Tensor = tool._model(**tool._inputs([Message("user", parts)])).logits[0, -1]
    return logits


@pytest.mark.parametrize("name", ["qwen2_audio", "qwen2_5_omni"])
def test_every_weight_is_that_of_the_checkpoint(
    load: Callable[[str], Any], folder: Path, name: str
) -> None:
    stored = load_file(folder / name / "model.safetensors")
    loaded = load(name)._model.state_dict()
    assert len(stored) == len(loaded)
    assert sorted(float(value.double().sum()) for value in stored.values()) == pytest.approx(
        sorted(float(value.double().sum()) for value in loaded.values())
    )


@pytest.mark.parametrize("name", ["qwen2_audio", "qwen2_5_omni"])
def test_it_hears_each_sound(load: Callable[[str], Any], name: str) -> None:
    tool = load(name)
    one, other = noise(1), noise(2, duration_s=1.5, num_channels=1)
    whole = first_logits(tool, one, other, "what changed?")
    assert torch.isfinite(whole).all()
    for parts in ((other, one), (one, one), (one, noise(3))):
        assert not torch.allclose(first_logits(tool, *parts, "what changed?"), whole, atol=1e-6)


def test_qwen2_5_omni_sees_the_pictures(load: Callable[[str], Any]) -> None:
    tool = load("qwen2_5_omni")
    rng = np.random.default_rng(0)
    dark, light = (rng.integers(a, a + 60, (60, 90, 3), dtype=np.uint8) for a in (0, 190))
    seen = first_logits(tool, dark, light, noise(), "what is it?")
    assert not torch.allclose(
        first_logits(tool, light, dark, noise(), "what is it?"), seen, atol=1e-6
    )


@pytest.mark.parametrize("name", ["qwen2_audio", "qwen2_5_omni"])
def test_replies_are_decoded_greedily(load: Callable[[str], Any], name: str) -> None:
    tool = load(name)
    question = [Message("user", (noise(), "what is it?"))]
    reply = tool.reply(question, schema=AudioCaption)
    assert reply
    torch.rand(1)
    assert tool.reply(question, schema=AudioCaption) == reply
    assert "what is it?" not in reply


def test_babble_is_a_broken_reply_and_the_next_tool_is_asked(
    load: Callable[[str], Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BrokenReplyError, match="no usable caption in two replies"):
        ChatCaptioner(load("qwen2_audio")).caption(Task(noise(), "remove the noise"))
    monkeypatch.setattr(audio_lm, "MAX_TOKENS", 12)
    lock(monkeypatch, folder, "qwen2_audio")
    result = edit_audio(
        Task(noise(), "add a knock at 0.2 s"),
        toolbox(captioner="qwen2_audio", judge="qwen2_audio"),
    )
    assert [(call.tool, call.outcome) for call in result.trace.opening if call.role == "caption"][
        -1
    ] == ("rules", "ok")
    judged = {
        call.tool: call.outcome for call in result.trace.iterations[0].calls if call.role == "judge"
    }
    assert judged == {"qwen2_audio": "broken", "checks (rules)": "ok"}
    assert result.trace.best == 0


def test_roles_share_a_model() -> None:
    tools: Any = toolbox(captioner="qwen2_audio", planner="qwen2_audio", judge="qwen2_audio")
    assert (
        tools.captioners[0].chat_model is tools.judges[0].chat_model is tools.planners[0].chat_model
    )


def test_probabilities_are_those_of_the_official_model(
    load: Callable[[str], Any], folder: Path
) -> None:
    tool = load("pe_a_frame")
    sound = noise()
    found_F = tool.probability(sound, "Dog barking")
    assert found_F.shape == (25,)  # 40 ms each
    assert found_F.std() > 0
    model: Any = PeAudioFrameLevelModel.from_pretrained(folder / "pe_a_frame")
    model.eval()
    hop, rate_hz = tool._audio.hop_length, tool._audio.sampling_rate
    wav_N = resample(sound.mono(), from_hz=RATE_HZ, to_hz=rate_hz)
    padded_N = np.pad(wav_N, (0, -wav_N.size % hop))
    words = tool._tokenizer(["dog barking"], return_tensors="pt")
    with torch.inference_mode():
        official = model(
            input_ids=words["input_ids"],
            attention_mask=words["attention_mask"],
            input_values=torch.from_numpy(padded_N)[None, None],
        )
    expected_F = official.logits_audio_text[0, 0].sigmoid().numpy()
    assert np.allclose(found_F, expected_F, atol=1e-5)


def test_spans_are_where_the_query_is_likely(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = load("pe_a_frame")
    heard_F = np.full(50, 0.1, np.float32)
    heard_F[[5, 6, 7, 10, 11, 30, 49]] = THRESHOLD + 0.01
    monkeypatch.setattr(tool, "probability", lambda sound, query: heard_F)
    spans = tool.spans(noise(duration_s=1.99), "dog")
    assert [(round(s.start_s, 2), round(s.end_s, 2)) for s in spans] == [
        (0.2, 0.48),
        (1.2, 1.24),
        (1.96, 1.99),
    ]
    heard_F[:] = 0.1
    nothing = tool.separate(noise(), Removal(query="dog", kind="sfx"))
    assert not nothing.wav_CN.any()


def test_only_the_spans_are_taken_out(load: Callable[[str], Any]) -> None:
    tool = load("pe_a_frame")
    mixture = noise()
    loud_CN = mixture.wav_CN.copy()
    loud_CN[:, 20_000:25_000] *= 8
    spans = (AudioSpan(start_s=20_000 / RATE_HZ, end_s=25_000 / RATE_HZ),)
    target = tool.separate(mixture.like(loud_CN), Removal(query="dog", kind="sfx", spans=spans))
    assert target.wav_CN.shape == loud_CN.shape
    assert not target.wav_CN[:, :19_000].any()
    left = (loud_CN - target.wav_CN)[:, 20_500:24_500].std()
    assert left < 0.5 * loud_CN[:, 20_500:24_500].std()


def speak(tool: Any, *, voice: str | None = None, seed: int = 0) -> Sound:
    spoken: Sound = tool.speak("come in", voice=voice, reference=None, duration_s=0.3, seed=seed)
    return spoken


def test_bark_speaks_in_a_voice_that_fits(load: Callable[[str], Any]) -> None:
    tool = load("bark")
    assert tool._preset("an old woman", 0) == "v2/en_speaker_9"
    assert tool._preset("a man", 3) == "v2/en_speaker_0"
    spoken = speak(tool, voice="old woman")
    assert (spoken.wav_CN.shape[0], spoken.sample_rate_hz) == (1, 24_000)
    assert 0.05 < spoken.duration_s < 3
    assert np.isfinite(spoken.wav_CN).all()
    assert np.array_equal(speak(tool, voice="old woman").wav_CN, spoken.wav_CN)
    assert not np.array_equal(speak(tool, voice="man").wav_CN[:, :900], spoken.wav_CN[:, :900])


@pytest.mark.parametrize("name", TOOLS)
def test_a_weight_that_is_missing_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match=f"avipipe weights pull {name}"):
        TOOLS[name]().setup()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cut off", r"/{name}: cannot be loaded as"),
        (
            save({"some": torch.zeros(1)}),
            r"/{name}/model\.safetensors: .* lacks \d+ of .* pull {name}$",
        ),
    ],
    ids=["cut off", "another"],
)
@pytest.mark.parametrize("name", TOOLS)
def test_a_weight_that_is_not_whole_is_told(
    name: str,
    content: bytes,
    words: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / name).mkdir()
    for path in [*(folder / name).glob("*.json"), *(folder / name).glob("*.jinja")]:
        (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / name / "model.safetensors").write_bytes(content)
    lock(monkeypatch, tmp_path, name)
    with pytest.raises(WeightsError, match=words.format(name=name)):
        TOOLS[name]().setup()
