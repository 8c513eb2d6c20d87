"""Steady tones in mono audio: partials that hold one pitch, as notes do and voices do not."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import HEARING_HZ, Wave
from avipipe.annotators.signal import Array, power_spectrogram, resample, running_median, to_db

HOP_S = 0.02
"""About a fifth of a window: a tone of `_SHORTEST_FRAMES` lasts for two windows."""

# 96 ms resolve partials 20 Hz apart; a voice glides out of a bin within that time.
_WINDOW_S = 0.096
# Where tones are looked for: most strong partials of instruments, without rumble. A choice.
_LOWEST_HZ = 100.0
_HIGHEST_HZ = 5000.0
_PROMINENCE_DB = 8.0
"""Over the median of the bins around it, a peak that is a tone; a choice."""
_PROMINENCE_BINS = 25
"""Width of that median in bins of 10.4 Hz: 260 Hz."""
# Under the loudest bin, and dB of full scale: peaks under either are noise. Choices.
_LEVEL_RANGE_DB = 55.0
_FLOOR_DB = -85.0
_LINK_SEMITONES = 0.35
"""How far a tone's peak may move from one frame to the next; a choice over what vibrato does in 20
ms."""
_SPREAD_SEMITONES = 0.4
"""Between the 10th and 90th percentile of its pitches: what holds a note is steadier, a voice
glides farther. A choice."""
_SHORTEST_FRAMES = 10
"""Shortest steady tone, 0.2 s; a choice."""
_SERIES_HZ = 60.0 * 2.0 ** (np.arange(202) / 48.0)
"""Fundamentals that are tried: 60 to 1093 Hz, a quarter of a semitone apart."""
_SERIES_STEP = 5
"""In frames: each 0.1 s, which is enough as tones last for 0.2 s."""
_FEWEST_IN_SERIES = 4
"""Tones at a time under which one series explains nearly all; a choice."""
# How far a tone may be from a partial: under half a bin, plus 0.8 % of its frequency, as the
# fundamentals that are tried are 1.5 % apart.
_SERIES_TOLERANCE_HZ = 4.0
_SERIES_TOLERANCE = 0.008
# A sine's power spreads over the Hann window's main lobe: 1.5 times that of its highest bin.
_LOBE = 1.5


@dataclass(frozen=True, slots=True)
class Tones:
    """Steady tones of 0.2 s or longer, in order of their start.

    Attributes:
        first_n, last_n: their first and last frame; frame f lies around f * HOP_S.
        pitch_n: in semitones, on the MIDI scale (69 is 440 Hz), with fractions.
        num_frames: of the audio.
        energy_ratio: the tones' share of the energy above 100 Hz, in [0, 1].
    """

    first_n: npt.NDArray[np.int64]
    last_n: npt.NDArray[np.int64]
    pitch_n: npt.NDArray[np.float64]
    num_frames: int
    energy_ratio: float

    def polyphony(self) -> npt.NDArray[np.int64]:
        """How many tones there are in each frame: (F,)."""
        steps = np.zeros(self.num_frames + 1, dtype=np.int64)
        np.add.at(steps, self.first_n, 1)
        np.add.at(steps, self.last_n + 1, -1)
        return np.cumsum(steps[:-1])

    def one_series(self) -> float:
        """How well one harmonic series explains the tones of a moment, in [0, 1], on average.

        About 1 for one instrument's single line, a hum or a horn; less where notes of different
        pitch sound together. 1 where there are never four tones at a time.
        """
        hz_n = 440.0 * 2.0 ** ((self.pitch_n - 69.0) / 12.0)
        explained = []
        for f in range(0, self.num_frames, _SERIES_STEP):
            hz = hz_n[(self.first_n <= f) & (self.last_n >= f)]
            if len(hz) < _FEWEST_IN_SERIES:
                continue
            tolerance = _SERIES_TOLERANCE_HZ + _SERIES_TOLERANCE * hz
            harmonic = np.maximum(np.round(hz / _SERIES_HZ[:, None]), 1.0)
            is_hit = np.abs(hz - harmonic * _SERIES_HZ[:, None]) < tolerance
            # A major chord is partials 4, 5 and 6 of a note that nobody plays.
            is_hit &= (is_hit & (harmonic <= 2.0)).any(axis=1, keepdims=True)
            by_chance = np.minimum(2.0 * tolerance.mean() / _SERIES_HZ, 0.9)
            explained.append(float(((is_hit.mean(axis=1) - by_chance) / (1 - by_chance)).max()))
        return float(np.mean(explained)) if explained else 1.0


@dataclass(slots=True)
class _Track:
    first: int
    pitches: list[float]
    levels_db: list[float]
    last: int


def find_tones(wav_N: Wave, *, sample_rate_hz: int) -> Tones:
    """Link spectral peaks into tracks and keep those that hold their pitch.

    Source: after Seyerlehner et al., Automatic music detection in television productions (DAFx
    2007), with tracked peaks instead of activated bins.
    """
    wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=HEARING_HZ)
    power_FK = power_spectrogram(wav_N, sample_rate_hz=HEARING_HZ, window_s=_WINDOW_S, hop_s=HOP_S)
    low, high = round(_LOWEST_HZ * _WINDOW_S), round(_HIGHEST_HZ * _WINDOW_S)
    power_FK = power_FK[:, : high + 2]
    level_FK = to_db(power_FK, floor_db=-120.0)
    is_peak_FK = _peaks(level_FK)
    is_peak_FK[:, :low] = False
    tracks = [track for track in _link(level_FK, is_peak_FK) if _is_steady(track)]
    tracks.sort(key=lambda track: (track.first, track.pitches[0]))
    total = float(power_FK[:, low:].sum(dtype=np.float64))
    tonal = sum(_LOBE * float(np.sum(10.0 ** (np.array(t.levels_db) / 10.0))) for t in tracks)
    return Tones(
        first_n=np.array([track.first for track in tracks], dtype=np.int64),
        last_n=np.array([track.last for track in tracks], dtype=np.int64),
        pitch_n=np.array([float(np.median(track.pitches)) for track in tracks]),
        num_frames=power_FK.shape[0],
        energy_ratio=min(1.0, tonal / total) if total > 0 else 0.0,
    )


def _peaks(level_FK: Array) -> npt.NDArray[np.bool_]:
    around_FK = running_median(level_FK, _PROMINENCE_BINS, axis=1)
    lowest = max(float(level_FK.max()) - _LEVEL_RANGE_DB, _FLOOR_DB)
    is_peak_FK = (level_FK - around_FK > _PROMINENCE_DB) & (level_FK > lowest)
    inner = level_FK[:, 1:-1]
    is_peak_FK[:, 1:-1] &= (inner > level_FK[:, :-2]) & (inner >= level_FK[:, 2:])
    is_peak_FK[:, [0, -1]] = False
    return is_peak_FK


def _link(level_FK: Array, is_peak_FK: npt.NDArray[np.bool_]) -> list[_Track]:
    """Greedy continuation, nearest pitch first; a track survives one frame without its peak."""
    live: list[_Track] = []
    done: list[_Track] = []
    for f in range(level_FK.shape[0]):
        pitches, levels = _peak_pitches(level_FK[f], np.flatnonzero(is_peak_FK[f]))
        taken = np.zeros(len(pitches), dtype=bool)
        for track, peak in _pairs(live, pitches):
            live[track].pitches.append(float(pitches[peak]))
            live[track].levels_db.append(float(levels[peak]))
            live[track].last = f
            taken[peak] = True
        done += [track for track in live if track.last < f - 1]
        live = [track for track in live if track.last >= f - 1]
        live += [
            _Track(f, [float(pitches[p])], [float(levels[p])], f) for p in np.flatnonzero(~taken)
        ]
    return done + live


def _peak_pitches(
    level_K: Array, bins: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Pitch and level of peaks, by a parabola through three bins."""
    before, at, after = (level_K[bins + shift].astype(np.float64) for shift in (-1, 0, 1))
    offset = 0.5 * (before - after) / (before - 2 * at + after - 1e-9)
    hz = (bins + offset) / _WINDOW_S
    return 69.0 + 12.0 * np.log2(hz / 440.0), at


def _pairs(live: list[_Track], pitches: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    if not live or not len(pitches):
        return []
    last = np.array([track.pitches[-1] for track in live])
    distance = np.abs(last[:, None] - pitches[None, :])
    rows, columns = np.nonzero(distance <= _LINK_SEMITONES)
    order = np.argsort(distance[rows, columns], kind="stable")
    pairs: list[tuple[int, int]] = []
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_rows and column not in used_columns:
            pairs.append((row, column))
            used_rows.add(row)
            used_columns.add(column)
    return pairs


def _is_steady(track: _Track) -> bool:
    if len(track.pitches) < _SHORTEST_FRAMES:
        return False
    low, high = np.percentile(track.pitches, [10, 90])
    return bool(high - low < _SPREAD_SEMITONES)
