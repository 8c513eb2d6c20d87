"""Silero VAD and YAMNet with their official weights on real recordings; skipped without either."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile

from avipipe.annotators import audioset
from avipipe.annotators.audioset import nouns_of
from avipipe.annotators.base import Speech, Tags, Wave
from avipipe.annotators.light.tag import YamnetTagger
from avipipe.annotators.light.vad import SileroVad
from avipipe.annotators.signal import resample
from avipipe.errors import WeightsError
from tests.sounds import RATE_HZ, noise

AUDIO = Path(__file__).parents[3] / "shared" / "audio"
NO_SPEECH = Speech((), 1.0)


def recording(name: str) -> Wave:
    path = AUDIO / f"{name}.wav"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    rate_hz, samples = scipy.io.wavfile.read(path)
    scale = 1.0 if samples.dtype.kind == "f" else 32768.0
    wav_N = samples.reshape(len(samples), -1).mean(axis=1) / scale
    return resample(wav_N.astype(np.float32), from_hz=rate_hz, to_hz=RATE_HZ)


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    backend = SileroVad()
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(str(error))
    return backend


@pytest.fixture(scope="module")
def tagger() -> YamnetTagger:
    backend = YamnetTagger()
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(str(error))
    return backend


def tag(tagger: YamnetTagger, wav_N: Wave) -> Tags:
    return tagger.tag(wav_N, sample_rate_hz=RATE_HZ, speech=NO_SPEECH)


def spoken_s(vad: SileroVad, wav_N: Wave) -> float:
    speech = vad.speech(wav_N, sample_rate_hz=RATE_HZ)
    assert speech.confidence is not None
    assert speech.confidence > 0.8
    return sum(turn.end_s - turn.start_s for turn in speech.turns)


def test_speech_is_found_and_nothing_else(vad: SileroVad) -> None:
    assert spoken_s(vad, recording("silero_test")) > 40.0
    for name in ("pyannote_empty", "imagebind_dog", "esc50_1-100032-A-0", "esc50_2-100648-A-43"):
        assert spoken_s(vad, recording(name)) == 0.0


def test_turns_lie_where_speech_was_put(vad: SileroVad) -> None:
    wav_N = noise(0.0005, duration_s=9.0)
    wav_N[3 * RATE_HZ : 6 * RATE_HZ] += recording("silero_test")[5 * RATE_HZ : 8 * RATE_HZ]
    turns = vad.speech(wav_N, sample_rate_hz=RATE_HZ).turns
    assert turns[0].start_s > 2.9
    assert turns[-1].end_s < 6.2
    assert sum(turn.end_s - turn.start_s for turn in turns) > 1.5


@pytest.mark.parametrize(
    ("name", "group", "noun"),
    [
        ("imagebind_dog", "dog", "dog"),
        ("esc50_1-100032-A-0", "dog", "dog"),
        ("esc50_2-100648-A-43", "vehicle", "car"),
        ("silero_test", "speech", "person"),
    ],
)
def test_real_sounds_have_their_names(
    tagger: YamnetTagger, name: str, group: str, noun: str
) -> None:
    tags = tag(tagger, recording(name))
    assert max(tags.scores, key=tags.scores.__getitem__) == group
    assert nouns_of(tags.classes, 0.3)[0] == noun


def test_two_barks_in_a_quiet_clip_are_a_dog(tagger: YamnetTagger) -> None:
    dog_N = recording("esc50_1-100032-A-0")
    peak = int(np.abs(dog_N).argmax())
    bark_N = dog_N[max(0, peak - RATE_HZ // 4) : peak + RATE_HZ // 4]
    wav_N = noise(0.0005, duration_s=8.0)
    for start_s in (1.0, 5.0):
        wav_N[round(start_s * RATE_HZ) :][: len(bark_N)] += bark_N
    alone, sparse = tag(tagger, bark_N), tag(tagger, wav_N)
    assert sparse.details["num_sounding"] < 0.5 * sparse.details["num_windows"]
    assert sparse.scores["dog"] > 0.5 * alone.scores["dog"]
    assert sparse.details["prevalence_dog"] > 0.5


def test_a_network_with_other_outputs_is_refused(
    tagger: YamnetTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audioset, "yamnet_names", lambda: ["Speech", "Music"])
    with pytest.raises(WeightsError, match="expected a network from"):
        type(tagger)().setup()
