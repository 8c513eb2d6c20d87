"""Two voices at once: frames whose spectral peaks need two harmonic series to explain them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import HEARING_HZ, Wave
from avipipe.annotators.signal import Array, power_spectrogram, resample, to_db

HOP_S = 0.016
"""A quarter of a window."""

_WINDOW_S = 0.064
"""Resolves partials about 60 Hz apart, four bins, as those of deep voices are, and is short beside
a glide."""
# Where peaks are looked for: a voice's partials are strong there and hold together. A choice.
_HIGHEST_HZ = 1500.0
_LOWEST_HZ = 70.0
_FRAME_RANGE_DB = 20.0
"""Under the loudest 5 % of frames: quieter frames are not judged. A choice."""
_PEAK_RANGE_DB = 25.0
"""Under the loudest bin of the frame: lower peaks are not counted. A choice."""
# Peaks that a frame must have to be judged, and that must be left for a second series. Choices.
_FEWEST_PEAKS = 5
_FEWEST_LEFT = 3
# A partial that rings on in a room falls by more than this in 80 ms; one that is voiced does not.
_RINGING_FRAMES = 5
_RINGING_DB = 2.0
_PITCHES_HZ = 80.0 * 2.0 ** (np.arange(103) / 48.0)
"""Pitches that are tried: 80 to 349 Hz, a quarter of a semitone apart."""
# How far a peak may be from a partial: half a bin and a little, plus 0.6 % of its frequency, as the
# pitches that are tried are 1.5 % apart.
_TOLERANCE_HZ = 9.0
_TOLERANCE = 0.006
# Weight of the peaks that the first pitch must leave over, and share of these that the second must
# explain beyond chance. Strict by choice: one voice is marked in 0.2 % of its frames.
_LEAST_LEFT = 0.3
_LEAST_EXPLAINED = 0.75
_OCTAVE = 0.04
"""In octaves, half a semitone: a pitch so near to the first or to its octave is the first
voice's."""
_GLIDE_OCTAVES = 1.0 / 12.0
"""How far a voice may glide from one frame to the next but one, at most: a semitone. A choice."""


@dataclass(frozen=True, slots=True)
class TwoVoices:
    """Attributes:
    judged_F: frames with peaks enough to tell, every `HOP_S`.
    double_F: those of them in which a second voice goes on for two frames or more.
    """

    judged_F: npt.NDArray[np.bool_]
    double_F: npt.NDArray[np.bool_]


def find_two_voices(wav_N: Wave, *, sample_rate_hz: int) -> TwoVoices:
    """Explain the peaks of each frame by one pitch; what is left must be a second pitch's series.

    Strict on purpose: of full overlap at equal level it marks about 4 % of frames, of one voice
    0.2 %, so shares of frames can be compared and single frames should not be believed.

    Source: after Klapuri, Multiple fundamental frequency estimation by summing harmonic amplitudes
    (2006), on peaks instead of bins.
    """
    wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=HEARING_HZ)
    level_FK = to_db(
        power_spectrogram(wav_N, sample_rate_hz=HEARING_HZ, window_s=_WINDOW_S, hop_s=HOP_S)[
            :, : round(_HIGHEST_HZ * _WINDOW_S) + 2
        ],
        floor_db=-110.0,
    )
    is_peak_FK = _voiced_peaks(level_FK)
    judged_F = np.zeros(level_FK.shape[0], dtype=bool)
    double_F = np.zeros(level_FK.shape[0], dtype=bool)
    last: tuple[int, float, float] | None = None
    for f in np.flatnonzero(is_peak_FK.sum(axis=1) >= _FEWEST_PEAKS).tolist():
        judged_F[f] = True
        pair = _two_pitches(level_FK[f], np.flatnonzero(is_peak_FK[f]))
        if pair is None:
            continue
        if last is not None and f - last[0] <= 2 and _goes_on(pair, last[1:]):
            double_F[[last[0], f]] = True
        last = (f, *pair)
    return TwoVoices(judged_F=judged_F, double_F=double_F)


def _voiced_peaks(level_FK: Array) -> npt.NDArray[np.bool_]:
    """Local maxima in frames that are loud, without those that only ring on."""
    loudest_F = level_FK[:, round(_LOWEST_HZ * _WINDOW_S) :].max(axis=1)
    loud_F = loudest_F > np.percentile(loudest_F, 95) - _FRAME_RANGE_DB
    before_FK = np.full_like(level_FK, -200.0)
    near_FK = scipy.ndimage.maximum_filter1d(level_FK, 3, axis=1)
    before_FK[_RINGING_FRAMES:] = near_FK[:-_RINGING_FRAMES]
    is_peak_FK = (level_FK > before_FK - _RINGING_DB) & loud_F[:, None]
    is_peak_FK &= level_FK > level_FK.max(axis=1, keepdims=True) - _PEAK_RANGE_DB
    inner = level_FK[:, 1:-1]
    is_peak_FK[:, 1:-1] &= (inner > level_FK[:, :-2]) & (inner >= level_FK[:, 2:])
    is_peak_FK[:, : round(_LOWEST_HZ * _WINDOW_S) + 1] = False
    is_peak_FK[:, -1] = False
    return np.asarray(is_peak_FK, dtype=np.bool_)


def _two_pitches(level_K: Array, bins: npt.NDArray[np.int64]) -> tuple[float, float] | None:
    """The pitches of two voices, in octaves, or None where one voice will do."""
    before, at, after = (level_K[bins + shift].astype(np.float64) for shift in (-1, 0, 1))
    offset = 0.5 * (before - after) / (before - 2 * at + after - 1e-9)
    hz_p = (bins + offset) / _WINDOW_S
    weight_p = at - (level_K.max() - _PEAK_RANGE_DB)
    weight_p /= weight_p.sum()
    tolerance_p = _TOLERANCE_HZ + _TOLERANCE * hz_p
    harmonic_cp = np.maximum(np.round(hz_p / _PITCHES_HZ[:, None]), 1.0)
    is_hit_cp = np.abs(hz_p - harmonic_cp * _PITCHES_HZ[:, None]) < tolerance_p
    by_chance_c = np.minimum(2.0 * (weight_p @ tolerance_p) / _PITCHES_HZ, 0.99)

    first = int(np.argmax((is_hit_cp @ weight_p - by_chance_c) / (1.0 - by_chance_c)))
    left_p = weight_p * ~is_hit_cp[first]
    if left_p.sum() < _LEAST_LEFT or np.count_nonzero(left_p) < _FEWEST_LEFT:
        return None
    explained_c = (is_hit_cp @ left_p / left_p.sum() - by_chance_c) / (1.0 - by_chance_c)
    octaves_c = np.log2(_PITCHES_HZ)
    apart_c = np.abs(octaves_c - octaves_c[first])
    explained_c[(apart_c < _OCTAVE) | (np.abs(apart_c - 1.0) < _OCTAVE)] = -1.0
    second = int(np.argmax(explained_c))
    if explained_c[second] < _LEAST_EXPLAINED:
        return None
    return float(octaves_c[first]), float(octaves_c[second])


def _goes_on(pair: tuple[float, float], last: tuple[float, ...]) -> bool:
    def near(a: float, b: float) -> bool:
        return abs(a - b) < _GLIDE_OCTAVES

    same = near(pair[1], last[1])
    swapped = near(pair[1], last[0]) and near(pair[0], last[1])
    return same or swapped
