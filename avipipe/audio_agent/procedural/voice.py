"""Speech-like voices: syllables with pitch, moving formants, consonant noise, and pauses.

Synthesis is additive: every harmonic of the pitch is weighted by the response of four resonances
(Klatt, "Software for a cascade/parallel formant synthesizer", 1980) that glide between vowels.
What is said means nothing; its rhythm, spectrum and pitch are those of talking.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import resample_poly

from avipipe.audio_agent.procedural.sound import SAMPLE_RATE_HZ, Array, Wave, normalise, silence

_VOICE_RATE_HZ = 16_000
_CONTROL_RATE_HZ = 200
"""Of pitch, formants and jaw: steps of 5 ms."""
_STEP = _VOICE_RATE_HZ // _CONTROL_RATE_HZ

# Formants in Hz of a man (Peterson and Barney, 1952), and how far the jaw opens.
_VOWELS: tuple[tuple[float, float, float, float], ...] = (
    (730, 1090, 2440, 1.0),  # a
    (660, 1720, 2410, 0.85),  # ae
    (530, 1840, 2480, 0.65),  # e
    (390, 1990, 2550, 0.45),  # i
    (270, 2290, 3010, 0.3),  # ee
    (570, 840, 2410, 0.7),  # o
    (440, 1020, 2240, 0.5),  # u
    (300, 870, 2240, 0.3),  # oo
)
_BANDWIDTHS_HZ = (70.0, 90.0, 130.0, 200.0)
"""Of the four resonances; a choice in round numbers."""
_FRICATIVE_BANDS_HZ = ((4_000, 7_500), (2_000, 5_500), (1_000, 6_500))
"""Bands of the noise of fricatives, as of s, sh and f; a choice."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What makes a speaker recognisable.

    Attributes:
        name: of the speaker.
        pitch_hz: mean fundamental frequency.
        tract: vocal tract shortness, 1 for a tall man, about 1.2 for a woman.
        tilt_db: further fall per octave; low for a dull voice.
        breath: share of aspiration.
        syllables_hz: rate of talking.
    """

    name: str
    pitch_hz: float
    tract: float
    tilt_db: float
    breath: float
    syllables_hz: float


VOICES = (
    Voice("anna", 205, 1.18, -1.0, 0.05, 4.4),
    Voice("boris", 102, 0.97, -3.5, 0.02, 3.7),
    Voice("clara", 255, 1.27, 0.5, 0.10, 4.8),
    Voice("dario", 136, 1.06, 0.0, 0.03, 4.1),
)
"""Speakers made up to differ clearly; `Voice` names the numbers."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech on the clock of a clip.

    Attributes:
        speaker: whose voice it is.
        wav_N: float32 (N,) at 48 kHz, as long as the clip.
        phrases_s: [start_s, end_s) of each run of syllables without a pause.
        jaw_K: how far the mouth is open, [0, 1], every 5 ms.
    """

    speaker: str
    wav_N: Wave
    phrases_s: tuple[tuple[float, float], ...]
    jaw_K: Array

    def jaw(self, time_s: float) -> float:
        """How far the mouth is open, [0, 1]."""
        place = time_s * _CONTROL_RATE_HZ
        return float(np.interp(place, np.arange(self.jaw_K.size), self.jaw_K))


@dataclass(slots=True)
class _Score:
    """Control tracks of a synthesised voice, one value every 5 ms."""

    pitch: Array
    formants: npt.NDArray[np.float64]
    voiced: Array
    fricative: npt.NDArray[np.float64]
    jaw: Array


def speak(
    voice: Voice,
    rng: np.random.Generator,
    *,
    duration_s: float,
    turns_s: Sequence[tuple[float, float]],
) -> Utterance:
    """Talk in each turn `[start_s, end_s)` of a clip, with pauses between phrases."""
    score = _blank(round(duration_s * _CONTROL_RATE_HZ) + 1, voice)
    phrases = []
    for start_s, end_s in turns_s:
        cursor_s = start_s
        while end_s - cursor_s > 0.35:
            stop_s = _phrase(score, voice, rng, cursor_s, end_s)
            phrases.append((cursor_s, stop_s))
            cursor_s = stop_s + rng.uniform(0.22, 0.42)
    _smooth(score)
    wave = normalise(_sing(score, voice, rng), -6)
    track = silence(duration_s)
    spoken = resample_poly(wave, SAMPLE_RATE_HZ // _VOICE_RATE_HZ, 1)[: track.size]
    track[: spoken.size] = spoken
    phrases_s = tuple((round(start_s, 3), round(end_s, 3)) for start_s, end_s in phrases)
    return Utterance(voice.name, track, phrases_s, score.jaw)


def _blank(length: int, voice: Voice) -> _Score:
    neutral = np.array([500.0, 1_500.0, 2_500.0, 3_500.0]) * voice.tract
    return _Score(
        pitch=np.full(length, voice.pitch_hz),
        formants=np.tile(neutral[:, None], (1, length)),
        voiced=np.zeros(length),
        fricative=np.zeros((len(_FRICATIVE_BANDS_HZ), length)),
        jaw=np.zeros(length),
    )


def _phrase(
    score: _Score, voice: Voice, rng: np.random.Generator, start_s: float, limit_s: float
) -> float:
    """Write one phrase of up to eight syllables; return when it ends."""
    cursor_s = start_s
    for index in range(int(rng.integers(4, 9))):
        length_s = rng.uniform(0.8, 1.25) / voice.syllables_hz
        if cursor_s + length_s > limit_s and index:
            break
        length_s = min(length_s, limit_s - cursor_s)
        accent = rng.uniform(0.94, 1.14) * (1.12 - 0.04 * index)
        _syllable(score, voice, rng, cursor_s, length_s, accent, voiced_start=index == 0)
        cursor_s += length_s
    return cursor_s


def _syllable(
    score: _Score,
    voice: Voice,
    rng: np.random.Generator,
    start_s: float,
    length_s: float,
    accent: float,
    *,
    voiced_start: bool,
) -> None:
    """A consonant (fricative, stop or glide) and a vowel that may glide into another."""
    first = round(start_s * _CONTROL_RATE_HZ)
    last = min(round((start_s + length_s) * _CONTROL_RATE_HZ), score.pitch.size)
    consonant = "glide" if voiced_start else rng.choice(["fricative", "stop", "glide"])
    onset = min(first + int({"fricative": 18, "stop": 10, "glide": 0}[consonant]), last)
    if consonant == "fricative":
        band = int(rng.integers(len(_FRICATIVE_BANDS_HZ)))
        score.fricative[band, first:onset] = rng.uniform(0.25, 0.5)
        score.jaw[first:onset] = 0.12
    elif consonant == "stop":
        score.fricative[2, max(first, onset - 3) : onset] = 0.5
    vowels = np.array([_VOWELS[rng.integers(len(_VOWELS))] for _ in range(2)])
    glide = np.linspace(0, rng.choice([0.0, 0.3, 1.0]), max(last - onset, 1))[: last - onset]
    track = vowels[0][:, None] * (1 - glide) + vowels[1][:, None] * glide
    score.formants[:3, onset:last] = track[:3] * voice.tract
    score.jaw[onset:last] = track[3]
    arch = np.sin(np.linspace(0.15, 0.95, last - first) * np.pi)
    score.pitch[first:last] = voice.pitch_hz * accent * (0.94 + 0.12 * arch)
    swell = np.sin(np.linspace(0.12, 0.96, last - onset) * np.pi) ** 0.7
    score.voiced[onset:last] = rng.uniform(0.7, 1.0) * swell


def _smooth(score: _Score) -> None:
    score.pitch = gaussian_filter1d(score.pitch, 8)
    score.formants = gaussian_filter1d(score.formants, 4, axis=-1)
    # Smoothing reaches back in time; moved by as much, a phrase is not heard before it begins.
    score.voiced = np.roll(gaussian_filter1d(score.voiced, 1), 2)
    score.fricative = gaussian_filter1d(score.fricative, 1.2, axis=-1)
    score.jaw = gaussian_filter1d(score.jaw, 5)


def _sing(score: _Score, voice: Voice, rng: np.random.Generator) -> Wave:
    """Turn control tracks into sound at 16 kHz."""
    size = (score.pitch.size - 1) * _STEP
    place = np.arange(size) / _STEP
    knots = np.arange(score.pitch.size)
    jitter = gaussian_filter1d(rng.standard_normal(score.pitch.size), 2) * 0.012
    pitch = np.interp(place, knots, score.pitch * (1 + jitter))
    phase = 2 * np.pi * np.cumsum(pitch) / _VOICE_RATE_HZ
    wave = np.zeros(size)
    twice_cos, before, current = 2 * np.cos(phase), np.zeros(size), np.sin(phase)
    for harmonic in range(1, int(5_500 / voice.pitch_hz)):
        level = score.voiced * _response(harmonic * score.pitch, score.formants, voice)
        wave += np.interp(place, knots, level) * current
        before, current = current, twice_cos * current - before
    wave /= wave.std() + 1e-9
    hiss = rng.standard_normal(size)
    wave += voice.breath * hiss * np.interp(place, knots, score.voiced)
    for band_hz, level in zip(_FRICATIVE_BANDS_HZ, score.fricative, strict=True):
        wave += _band(hiss, band_hz) * np.interp(place, knots, level)
    return wave.astype(np.float32)


def _response(frequency: Array, formants: npt.NDArray[np.float64], voice: Voice) -> Array:
    """Magnitude of the vocal tract and the source at a frequency, over time."""
    octaves = np.log2(np.maximum(frequency, 50) / 100)
    # A glottal source falls by 12 dB per octave, and lips radiate 6 dB more per octave.
    response = 10 ** ((voice.tilt_db - 6) * octaves / 20)
    for formant, bandwidth_hz in zip(formants, _BANDWIDTHS_HZ, strict=True):
        detuning = formant**2 - frequency**2
        response = response * formant**2 / np.hypot(detuning, bandwidth_hz * frequency)
    return np.asarray(response)


def _band(wave: Array, band_hz: tuple[int, int]) -> Array:
    spectrum = np.fft.rfft(wave)
    frequency = np.fft.rfftfreq(wave.size, 1 / _VOICE_RATE_HZ)
    centre_hz, width_hz = sum(band_hz) / 2, (band_hz[1] - band_hz[0]) / 2
    band = np.fft.irfft(spectrum / (1 + ((frequency - centre_hz) / width_hz) ** 4), wave.size)
    return np.asarray(band / (band.std() + 1e-9))
