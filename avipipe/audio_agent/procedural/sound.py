"""Sounds with exact onsets: impacts, barks, motors, bowed strings, music; and the weather.

All waves are mono float32 (N,) at `SAMPLE_RATE_HZ` until `master` makes the sound track of a clip.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, fftconvolve, sosfilt

SAMPLE_RATE_HZ = 48_000

Wave = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]


def num_samples(duration_s: float) -> int:
    return round(duration_s * SAMPLE_RATE_HZ)


def clock(duration_s: float) -> Array:
    """The time of every sample, in seconds."""
    return np.arange(num_samples(duration_s)) / SAMPLE_RATE_HZ


def silence(duration_s: float) -> Wave:
    return np.zeros(num_samples(duration_s), np.float32)


def place(wave: Wave, at_s: Sequence[float], *, duration_s: float) -> Wave:
    """A track with a copy of `wave` at each time."""
    return scatter([(time_s, wave) for time_s in at_s], duration_s=duration_s)


def scatter(sounds: Iterable[tuple[float, Wave]], *, duration_s: float) -> Wave:
    """A track with each wave at its own time, cut at both ends of the track."""
    track = silence(duration_s)
    for time_s, wave in sounds:
        start = round(time_s * SAMPLE_RATE_HZ)
        head = max(0, -start)
        room = track[max(0, start) : max(0, start + wave.size)]
        room += wave[head : head + room.size]
    return track


def gain(level_db: float) -> float:
    return float(10 ** (level_db / 20))


def quieter(wave: Wave, by_db: float) -> Wave:
    return (wave * gain(-by_db)).astype(np.float32)


def normalise(wave: Wave, peak_db: float = -3.0) -> Wave:
    """Scaled to a peak; silence stays silence."""
    peak = float(np.abs(wave).max(initial=0.0))
    return wave if peak == 0 else (wave * (gain(peak_db) / peak)).astype(np.float32)


def impact(rng: np.random.Generator, *, pitch_hz: float, decay_s: float = 0.05) -> Wave:
    """A struck body: a click, a burst of noise, and inharmonic modes that die away."""
    time = clock(8 * decay_s)
    wave = np.zeros_like(time)
    for mode, ratio in enumerate((1.0, 1.47, 2.09, 2.56, 3.39, 4.2, 5.3)):
        # Neighbouring modes beat: a body of wood or clay has no clear pitch.
        for detuned in pitch_hz * ratio * rng.uniform(0.93, 1.07, 2):
            decay = decay_s * rng.uniform(0.6, 1.1) / (1 + 0.5 * mode)
            level = rng.uniform(0.4, 1.0) / (1 + 0.5 * mode)
            wave += level * np.cos(2 * np.pi * detuned * time) * np.exp(-time / decay)
    hiss = rng.standard_normal(time.size)
    wave += 2.0 * hiss * np.exp(-time / 0.003) + 1.2 * hiss * np.exp(-time / (0.5 * decay_s))
    return normalise(wave.astype(np.float32))


def bark(rng: np.random.Generator, *, pitch_hz: float = 450.0) -> Wave:
    """A short hoarse shout, its pitch rising and falling, through a muzzle."""
    time = clock(0.22)
    rise = 0.7 + 0.6 * np.sin(np.pi * np.minimum(time / 0.14, 1) ** 0.7)
    rough = 1 + 0.7 * _band(rng.standard_normal(time.size), 30, 200)
    phase = 2 * np.pi * np.cumsum(pitch_hz * rise * rough) / SAMPLE_RATE_HZ
    wave = np.sum([np.sin(k * phase) / k**0.3 for k in range(1, 14)], axis=0)
    wave += 1.5 * rng.standard_normal(time.size)
    muzzle = _band(wave, 350, 900) + 0.7 * _band(wave, 1_000, 2_000) + 0.1 * wave
    envelope = np.minimum(time / 0.006, 1) * np.exp(-((time / 0.105) ** 4))
    return normalise((muzzle * envelope).astype(np.float32))


def motor(rng: np.random.Generator, activity: Array, *, base_hz: float = 90.0) -> Wave:
    """An engine whose loudness and pitch follow `activity`, (N,) in [0, 1].

    Each firing differs from the next, which is what tells an engine from a buzzer.
    """
    cycles = np.cumsum(base_hz * (0.6 + 0.8 * activity)) / SAMPLE_RATE_HZ
    firings = rng.uniform(0.35, 1.0, int(cycles[-1]) + 2)[cycles.astype(int)]
    wave = firings * np.exp(-3.5 * (cycles % 1)) * (1 + rng.standard_normal(cycles.size))
    hiss = rng.standard_normal(cycles.size)
    wave = 2 * _band(wave, 60, 400) + _band(wave, 500, 1_500) + 0.1 * _band(hiss, 300, 4_000)
    return normalise((wave * np.sqrt(activity)).astype(np.float32), -6)


def bowed(rng: np.random.Generator, strength: Array, pitch_hz: Array) -> Wave:
    """A bowed string: a rich steady tone with vibrato; `strength` and `pitch_hz` are (N,)."""
    time = np.arange(strength.size) / SAMPLE_RATE_HZ
    vibrato = np.sin(2 * np.pi * 5.6 * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.008 * vibrato)) / SAMPLE_RATE_HZ
    string = np.sum([np.sin(k * phase) / k**1.2 for k in range(1, 26)], axis=0)
    scrape = 0.4 * rng.standard_normal(time.size)
    # Resonances of the box: air, wood, and the hill of the bridge.
    body = 0.4 * string + _band(string, 250, 330) + _band(string, 430, 600)
    body += _band(string + scrape, 2_000, 3_500)
    return normalise((body * strength * (1 + 0.25 * vibrato)).astype(np.float32), -6)


def note_hz(semitone: int, *, root_hz: float = 220.0) -> float:
    return root_hz * 2 ** (semitone / 12)


def pluck(pitch_hz: float, *, decay_s: float = 0.35) -> Wave:
    """A plucked string."""
    time = clock(4 * decay_s)
    wave = np.sum(
        [
            np.sin(2 * np.pi * k * pitch_hz * time) * np.exp(-time * k**0.5 / decay_s) / k
            for k in range(1, 9)
        ],
        axis=0,
    )
    return normalise((wave * np.minimum(time / 0.002, 1)).astype(np.float32))


def music(rng: np.random.Generator, duration_s: float) -> Wave:
    """Chords, an arpeggio and drums in a steady tempo, begun somewhere in a bar."""
    beat_s = 60 / rng.uniform(92, 132)
    start_s = -rng.uniform(0, 4) * beat_s
    root_hz = note_hz(int(rng.integers(-5, 6)))
    progression = [(0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2)]
    bars = range(int((duration_s - start_s) / (4 * beat_s)) + 1)
    chords: list[tuple[float, Wave]] = []
    notes: list[tuple[float, Wave]] = []
    for bar in bars:
        chord = [note_hz(step, root_hz=root_hz) for step in progression[bar % 4]]
        at_s = start_s + 4 * bar * beat_s
        chords.append((at_s, _pad(chord, 4 * beat_s)))
        strings = [pluck(2 * pitch_hz) for pitch_hz in chord]
        notes += [(at_s + step * beat_s / 2, strings[step % 3]) for step in range(8)]
    mix = 0.5 * scatter(chords, duration_s=duration_s)
    mix += 0.5 * scatter(notes, duration_s=duration_s)
    mix += 0.6 * _drums(rng, duration_s, start_s, beat_s)
    return normalise(mix)


def water(rng: np.random.Generator, duration_s: float) -> Wave:
    """A stream: noise that swells, and bubbles."""
    size = num_samples(duration_s)
    swell = np.interp(
        clock(duration_s),
        np.arange(0, duration_s + 1, 0.3)[:size],
        rng.uniform(0.6, 1.0, np.arange(0, duration_s + 1, 0.3).size),
    )
    wave = _band(rng.standard_normal(size), 250, 7_000) * swell.astype(np.float32)
    bubbles = [(rng.uniform(0, duration_s), _bubble(rng)) for _ in range(int(25 * duration_s))]
    return normalise(wave + scatter(bubbles, duration_s=duration_s), -9)


def wind(rng: np.random.Generator, gust: Array) -> Wave:
    """Wind that grows louder and brighter with `gust`, (N,) in [0, 1]."""
    hiss = rng.standard_normal(gust.size)
    wave = 2.5 * _band(hiss, 60, 250) + 1.5 * gust * _band(hiss, 200, 700)
    wave += 0.8 * gust**2 * _band(hiss, 500, 1_600)
    return normalise((wave * (0.15 + gust)).astype(np.float32), -6)


def rain(rng: np.random.Generator, duration_s: float) -> Wave:
    """Drops on hard ground, so many that they run into a hiss."""
    size = num_samples(duration_s)
    tick = rng.standard_normal(num_samples(0.004)) * np.exp(-clock(0.004) / 0.0003)
    drops = np.zeros(size)
    places = rng.integers(0, size, int(900 * duration_s))
    np.add.at(drops, places, np.minimum(rng.pareto(2.5, places.size), 8.0))
    hiss = _band(rng.standard_normal(size), 800, 14_000)
    wave = 0.1 * hiss + 0.1 * fftconvolve(drops, tick)[:size]
    return normalise(wave.astype(np.float32), -9)


def beep(duration_s: float, *, pitch_hz: float = 1_000.0) -> Wave:
    return (0.5 * np.sin(2 * np.pi * pitch_hz * clock(duration_s))).astype(np.float32)


def reverb(
    wave: Wave, rng: np.random.Generator, *, rt60_s: float = 0.35, wet_db: float = -16
) -> Wave:
    """The wave and its echo in a room; the direct sound keeps its place."""
    time = clock(rt60_s)
    tail = rng.standard_normal(time.size) * 10 ** (-3 * time / rt60_s)
    tail[: num_samples(0.008)] = 0
    tail *= gain(wet_db) / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    return np.asarray(fftconvolve(wave, tail)[: wave.size], np.float32)


def noise(rng: np.random.Generator, duration_s: float, level_db: float) -> Wave:
    """Room noise, falling with frequency, at an RMS level."""
    size = num_samples(duration_s)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ), 60.0))
    wave = np.fft.irfft(spectrum, size)
    return np.asarray(wave * gain(level_db) / wave.std(), np.float32)


def master(
    parts: Sequence[Wave], rng: np.random.Generator, *, floor_db: float, wet_db: float = -16
) -> npt.NDArray[np.float32]:
    """The sound track of a clip, (2, N): the parts in one room over a noise floor.

    The left and the right channel have reverberation and noise of their own.
    """
    mix = normalise(np.sum(parts, axis=0, dtype=np.float32), -4)
    duration_s = mix.size / SAMPLE_RATE_HZ
    channels = [
        reverb(mix, rng, wet_db=wet_db) + noise(rng, duration_s, floor_db) for _ in range(2)
    ]
    return np.clip(np.stack(channels), -1, 1)


def _pad(chord_hz: Sequence[float], duration_s: float) -> Wave:
    time = clock(duration_s)
    wave = np.zeros_like(time)
    for pitch_hz in chord_hz:
        for k in range(1, 7):
            wave += np.sin(2 * np.pi * k * pitch_hz * 1.003 ** (k % 2) * time) / k
    edge = np.minimum(1, np.minimum(time, duration_s - time) / 0.08)
    return normalise((wave * edge).astype(np.float32))


def _drums(rng: np.random.Generator, duration_s: float, start_s: float, beat_s: float) -> Wave:
    time = clock(0.2)
    kick = np.sin(2 * np.pi * (55 * time - 4 * np.exp(-time / 0.03))) * np.exp(-time / 0.09)
    snare = rng.standard_normal(time.size) * np.exp(-time / 0.05)
    hat = _band(rng.standard_normal(time.size) * np.exp(-time / 0.02), 6_000, 15_000)
    num_beats = int((duration_s - start_s) / beat_s) + 1
    beats_s = [start_s + beat * beat_s for beat in range(num_beats)]
    track = place(kick.astype(np.float32), beats_s[::2], duration_s=duration_s)
    track += 0.5 * place(snare.astype(np.float32), beats_s[1::2], duration_s=duration_s)
    offbeats_s = [at_s + half for at_s in beats_s for half in (0.0, beat_s / 2)]
    track += 0.4 * place(hat, offbeats_s, duration_s=duration_s)
    return normalise(track)


def _bubble(rng: np.random.Generator) -> Wave:
    time = clock(0.04)
    pitch_hz = rng.uniform(500, 1_800) * (1 + 6 * time)
    wave = np.sin(2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ) * np.exp(-time / 0.01)
    return (rng.uniform(0.1, 0.5) * wave).astype(np.float32)


def _band(wave: Array, low_hz: float, high_hz: float) -> Wave:
    filtered = sosfilt(butter(2, (low_hz, high_hz), "band", fs=SAMPLE_RATE_HZ, output="sos"), wave)
    return np.asarray(filtered, np.float32)
