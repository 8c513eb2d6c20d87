"""The weight-free audio annotators on sounds of known content."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from avipipe.annotators.base import Speech, Turn, Wave
from avipipe.annotators.embedded.diarize import ClusterDiarizer
from avipipe.annotators.embedded.separate import HpssSeparator
from avipipe.annotators.embedded.tag import RuleTagger
from avipipe.annotators.embedded.vad import EnergyVad
from avipipe.annotators.registry import BACKENDS, PROFILES, chosen, create, profile
from avipipe.errors import ConfigError
from tests.sounds import (
    DURATION_S,
    RATE_HZ,
    barks,
    harmonics,
    knocks,
    motor,
    music,
    noise,
    overlap_s,
    voice,
    whole,
)

NOT_SPEECH: dict[str, Callable[[], Wave]] = {
    "music": music,
    "knocks": knocks,
    "barks": barks,
    "motor": motor,
    "noise": lambda: noise(0.1),
    "hum": lambda: harmonics(100.0),
}


def listen(wav_N: Wave) -> Speech:
    return EnergyVad().speech(wav_N, sample_rate_hz=RATE_HZ)


def seconds(speech: Speech) -> float:
    return sum(turn.end_s - turn.start_s for turn in speech.turns)


def scores(wav_N: Wave) -> dict[str, float]:
    return dict(RuleTagger().tag(wav_N, sample_rate_hz=RATE_HZ, speech=listen(wav_N)).scores)


@pytest.mark.parametrize("speaker", range(4))
def test_speech_is_found_where_it_is(speaker: int) -> None:
    wav_N, phrases_s = voice(speaker, seed=speaker, turns_s=((1.5, 4.7),))
    speech = listen(wav_N)
    spoken_s = sum(end_s - start_s for start_s, end_s in phrases_s)
    found_s = overlap_s(speech.turns, phrases_s)
    assert found_s > 0.7 * spoken_s
    # Pauses between phrases may be bridged; the silence before may not.
    assert overlap_s(speech.turns, [(0.0, 1.2)]) < 0.1
    assert speech.confidence is not None
    assert speech.confidence > 0.5


@pytest.mark.parametrize("content", NOT_SPEECH)
def test_what_is_not_speech_is_not_called_so(content: str) -> None:
    assert seconds(listen(NOT_SPEECH[content]())) < 0.1 * DURATION_S


def test_level_does_not_matter() -> None:
    wav_N, _ = voice()
    assert seconds(listen(0.05 * wav_N)) == pytest.approx(seconds(listen(wav_N)), abs=0.3)


@pytest.mark.parametrize("speaker", range(4))
def test_one_voice_is_one_speaker(speaker: int) -> None:
    wav_N, _ = voice(speaker, seed=speaker, duration_s=8.0, turns_s=((0.2, 7.8),))
    found = ClusterDiarizer().diarize(wav_N, sample_rate_hz=RATE_HZ, speech=listen(wav_N))
    assert found.num_speakers == 1
    assert found.overlap_ratio is not None
    assert found.overlap_ratio < 0.1


def test_a_man_and_a_woman_in_turn_are_two_speakers() -> None:
    woman_N, woman_s = voice(0, duration_s=8.0, turns_s=((0.2, 3.8),))
    man_N, man_s = voice(1, duration_s=8.0, turns_s=((4.2, 7.8),))
    wav_N = woman_N + man_N
    found = ClusterDiarizer().diarize(wav_N, sample_rate_hz=RATE_HZ, speech=listen(wav_N))
    assert found.num_speakers == 2
    labels = {
        name: max(
            ("speaker0", "speaker1"),
            key=lambda label: overlap_s([t for t in found.turns if t.label == label], spans_s),
        )
        for name, spans_s in (("woman", woman_s), ("man", man_s))
    }
    assert labels == {"woman": "speaker0", "man": "speaker1"}
    wrong_s = overlap_s([t for t in found.turns if t.label == "speaker1"], woman_s)
    wrong_s += overlap_s([t for t in found.turns if t.label == "speaker0"], man_s)
    assert wrong_s < 1.0


def test_two_at_once_are_overlapped() -> None:
    wav_N = voice(0)[0] + voice(1)[0]
    found = ClusterDiarizer().diarize(wav_N, sample_rate_hz=RATE_HZ, speech=whole())
    assert found.num_speakers == 2
    assert found.overlap_ratio is not None
    assert found.overlap_ratio > 0.2


def test_speakers_are_told_as_far_as_speech_is() -> None:
    diarizer = ClusterDiarizer()
    wav_N = knocks()
    none = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=Speech((), 0.9))
    assert (none.num_speakers, none.overlap_ratio, none.turns) == (0, 0.0, ())
    unknown = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=Speech((), None))
    assert (unknown.num_speakers, unknown.overlap_ratio) == (None, None)
    brief = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=Speech((Turn(0.4, 0.9),), 0.6))
    assert (brief.num_speakers, brief.overlap_ratio) == (1, None)


@pytest.mark.parametrize("seed", range(4))
def test_music_is_tagged(seed: int) -> None:
    assert scores(music(seed))["music"] > 0.8


@pytest.mark.parametrize("snr_db", [-10, 0])
def test_music_is_tagged_under_a_voice(snr_db: int) -> None:
    wav_N = voice()[0]
    score = music()
    gain = np.sqrt((wav_N**2).mean() / (score**2).mean()) * 10 ** (-snr_db / 20)
    assert scores(wav_N + np.float32(gain) * score)["music"] > 0.5


@pytest.mark.parametrize("content", sorted(set(NOT_SPEECH) - {"music"}))
def test_what_is_not_music_is_not_called_so(content: str) -> None:
    assert scores(NOT_SPEECH[content]())["music"] < 0.3


def test_voices_are_not_music() -> None:
    assert all(scores(voice(speaker)[0])["music"] < 0.1 for speaker in range(4))


def test_groups_are_told_apart() -> None:
    assert scores(knocks())["impact"] > 0.7
    assert scores(barks())["impact"] > 0.5
    assert scores(harmonics(220.0))["sustained"] > 0.7
    assert scores(noise(0.1))["noise"] > 0.4
    steady = scores(noise(0.1) + 0.01 * harmonics(220.0))
    assert steady["impact"] < 0.1
    assert scores(voice()[0])["speech"] > 0.5


def test_nothing_is_said_of_silence_and_no_music_of_a_moment() -> None:
    tagger = RuleTagger()
    silent = tagger.tag(np.zeros(RATE_HZ, np.float32), sample_rate_hz=RATE_HZ, speech=Speech((), 1))
    assert (dict(silent.scores), silent.confidence) == ({}, None)
    moment = tagger.tag(music()[: RATE_HZ // 2], sample_rate_hz=RATE_HZ, speech=Speech((), 1))
    assert "music" not in moment.scores
    assert moment.confidence is None


@pytest.mark.parametrize(
    ("wav_N", "largest"),
    [
        (np.pad(harmonics(500.0, duration_s=1.0), 2 * RATE_HZ), "harmonic"),
        (knocks(), "percussive"),
        (noise(0.1), "background"),
        (harmonics(100.0), "background"),
    ],
    ids=["tone", "knocks", "noise", "hum"],
)
def test_stems_hold_what_they_say(wav_N: Wave, largest: str) -> None:
    stems = HpssSeparator().separate(np.stack([wav_N, 0.5 * wav_N]), sample_rate_hz=RATE_HZ)
    energy = {name: float((wave_CN**2).sum()) for name, wave_CN in stems.waves.items()}
    assert max(energy, key=energy.__getitem__) == largest
    assert sum(stems.waves.values()) == pytest.approx(np.stack([wav_N, 0.5 * wav_N]), abs=1e-4)


def test_profiles_choose_a_backend_for_every_role() -> None:
    for name in PROFILES:
        assert set(profile(name)) == set(BACKENDS)
        assert all(profile(name)[role] in BACKENDS[role] for role in BACKENDS)


@pytest.mark.parametrize(
    ("role", "name", "nearest"),
    [("vad", "enrgy", "'energy'"), ("diarise", "cluster", "'diarize'"), ("tag", "rule", "'rules'")],
)
def test_a_wrong_name_is_answered_with_the_nearest(role: str, name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {nearest}"):
        create(role, name)


def test_some_roles_of_a_profile_may_be_replaced() -> None:
    backends = chosen("light", {"tag": "ast"})
    assert backends == {**profile("light"), "tag": "ast"}
    with pytest.raises(ConfigError, match="no annotator role 'diarise'; did you mean 'diarize'"):
        chosen("light", {"diarise": "pyannote"})


def test_turns_come_in_order_and_do_not_touch() -> None:
    speech = listen(voice(duration_s=8.0, turns_s=((0.2, 2.8), (4.0, 7.8)))[0])
    assert len(speech.turns) >= 2
    assert all(a.end_s < b.start_s for a, b in pairwise(speech.turns))
