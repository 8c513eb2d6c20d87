"""Sounds of known content: mono float32 at `RATE_HZ`, a few seconds each."""

from collections.abc import Sequence

import numpy as np

from avipipe.annotators.base import Speech, Turn, Wave
from avipipe.annotators.signal import resample
from avipipe.audio_agent.procedural import sound
from avipipe.audio_agent.procedural.voice import VOICES, speak
from avipipe.manifests.evidence import SpeakerTurn

RATE_HZ = 16_000
DURATION_S = 5.0


def _at_rate(wav_N: Wave) -> Wave:
    return resample(wav_N, from_hz=sound.SAMPLE_RATE_HZ, to_hz=RATE_HZ)


def noise(level: float = 0.001, *, duration_s: float = DURATION_S, seed: int = 0) -> Wave:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(duration_s * RATE_HZ))).astype(np.float32)


def voice(
    speaker: int = 0,
    *,
    seed: int = 0,
    turns_s: Sequence[tuple[float, float]] = ((0.3, 4.7),),
    duration_s: float = DURATION_S,
) -> tuple[Wave, list[tuple[float, float]]]:
    """A talking voice over faint noise, and its phrases."""
    rng = np.random.default_rng(seed)
    spoken = speak(VOICES[speaker], rng, duration_s=duration_s, turns_s=turns_s)
    return _at_rate(spoken.wav_N) + noise(duration_s=duration_s), list(spoken.phrases_s)


def music(seed: int = 0) -> Wave:
    return _at_rate(sound.music(np.random.default_rng(seed), DURATION_S))


def knocks(at_s: Sequence[float] = (0.5, 1.2, 1.9, 2.61, 3.7, 4.4), *, seed: int = 0) -> Wave:
    knock = sound.impact(np.random.default_rng(seed), pitch_hz=220.0)
    return _at_rate(sound.place(knock, at_s, duration_s=DURATION_S)) + noise()


def barks(at_s: Sequence[float] = (0.4, 1.1, 2.3, 3.6), *, seed: int = 0) -> Wave:
    bark = sound.bark(np.random.default_rng(seed))
    return _at_rate(sound.place(bark, at_s, duration_s=DURATION_S)) + noise()


def motor(seed: int = 0) -> Wave:
    activity = 0.5 + 0.5 * np.sin(2 * np.pi * 0.4 * sound.clock(DURATION_S)) ** 2
    return _at_rate(sound.motor(np.random.default_rng(seed), activity))


def harmonics(pitch_hz: float, *, duration_s: float = DURATION_S, num_partials: int = 12) -> Wave:
    """A steady tone with partials that fall by 6 dB an octave: a hum or a horn."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    partials = [
        np.sin(2 * np.pi * k * pitch_hz * time_s + k * k) / k for k in range(1, num_partials + 1)
    ]
    return np.asarray(0.3 * np.sum(partials, axis=0), dtype=np.float32)


def whole(duration_s: float = DURATION_S) -> Speech:
    """The claim that all of it is speech."""
    return Speech(turns=(Turn(0.0, duration_s),), confidence=1.0)


def overlap_s(turns: Sequence[Turn | SpeakerTurn], spans: Sequence[tuple[float, float]]) -> float:
    """Time that turns and spans have in common."""
    return sum(
        max(0.0, min(turn.end_s, end_s) - max(turn.start_s, start_s))
        for turn in turns
        for start_s, end_s in spans
    )
