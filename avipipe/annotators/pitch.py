"""Pitch of a voice, frame by frame, on mono audio at any sample rate."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import HEARING_HZ, Wave
from avipipe.annotators.signal import Array, frames_of, resample

HOP_S = 0.01
"""Usual in the analysis of speech."""
# Range of pitches, from deep voices of men to high ones of women and children. A choice.
LOWEST_HZ = 65.0
HIGHEST_HZ = 400.0

_WINDOW_S = 0.04
"""Three periods of 75 Hz, as Boersma advises."""
_NUM_CANDIDATES = 5
"""Peaks of each frame among which the path goes; a choice."""
_VOICED_STRENGTH = 0.5
"""Normalised autocorrelation from which a frame is voiced; a choice, near Praat's 0.45."""
_LEVEL_RANGE_DB = 35.0
"""Under the loudest 5 % of frames: quieter ones are not voiced. A choice."""
# Costs in units of autocorrelation: per octave of a jump, and per octave below the top.
_JUMP_COST = 0.35
_OCTAVE_COST = 0.02


@dataclass(frozen=True, slots=True)
class PitchTrack:
    """Pitch of a voice every `HOP_S`, frame f around f * HOP_S.

    Attributes:
        f0_F: in Hz, float32 (F,); meaningless where not voiced.
        strength_F: normalised autocorrelation at that pitch, in [0, 1].
        voiced_F: periodic, and within 35 dB of the loudest 5 % of frames.
    """

    f0_F: Array
    strength_F: Array
    voiced_F: npt.NDArray[np.bool_]

    @property
    def semitones(self) -> Array:
        """Pitch in semitones above 100 Hz."""
        return np.asarray(12.0 * np.log2(self.f0_F / 100.0), dtype=np.float32)


def track_pitch(wav_N: Wave, *, sample_rate_hz: int) -> PitchTrack:
    """Follow the strongest pitch between 65 and 400 Hz.

    Source: Boersma, Accurate short-term analysis of the fundamental frequency (1993): the
    autocorrelation divided by that of the window, and a path of least jumps through its peaks.
    """
    wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=HEARING_HZ)
    frames_FW = frames_of(wav_N, sample_rate_hz=HEARING_HZ, window_s=_WINDOW_S, hop_s=HOP_S)
    correlation_FL, energy_F = _autocorrelation(frames_FW)
    f0_FC, strength_FC = _candidates(correlation_FL)
    path_F = _best_path(f0_FC, strength_FC)
    rows = np.arange(len(path_F))
    strength_F = strength_FC[rows, path_F]
    level_F = 10.0 * np.log10(energy_F + 1e-12)
    loud_F = level_F > max(np.percentile(level_F, 95) - _LEVEL_RANGE_DB, -80.0)
    return PitchTrack(
        f0_F=f0_FC[rows, path_F],
        strength_F=strength_F,
        voiced_F=(strength_F > _VOICED_STRENGTH) & loud_F,
    )


def _autocorrelation(frames_FW: Array) -> tuple[Array, Array]:
    """Autocorrelation (F, L) of each frame, 1 at lag 0 and unbiased, and the energy (F,)."""
    num_samples = frames_FW.shape[1]
    window_W = scipy.signal.get_window("hann", num_samples).astype(np.float32)
    centred_FW = (frames_FW - frames_FW.mean(axis=1, keepdims=True)) * window_W
    size = scipy.fft.next_fast_len(2 * num_samples, real=True)
    num_lags = int(HEARING_HZ / LOWEST_HZ) + 2

    def lags(power: Array) -> Array:
        return np.asarray(scipy.fft.irfft(power, axis=-1)[..., :num_lags], dtype=np.float32)

    raw_FL = lags(np.abs(scipy.fft.rfft(centred_FW, size, axis=1)) ** 2)
    own_L = lags(np.abs(scipy.fft.rfft(window_W, size)) ** 2)
    energy_F = raw_FL[:, 0] / own_L[0]
    return raw_FL / (raw_FL[:, :1] + 1e-9) / (own_L / own_L[0]), energy_F


def _candidates(correlation_FL: Array) -> tuple[Array, Array]:
    """The strongest peaks of each frame: pitch in Hz (F, C) and strength (F, C)."""
    shortest = int(HEARING_HZ / HIGHEST_HZ)
    inner_FL = correlation_FL[:, shortest:-1]
    is_peak_FL = (inner_FL >= correlation_FL[:, shortest - 1 : -2]) & (
        inner_FL > correlation_FL[:, shortest + 1 :]
    )
    height_FL = np.where(is_peak_FL, inner_FL, 0.0)
    best_FC = np.argsort(-height_FL, axis=1, kind="stable")[:, :_NUM_CANDIDATES]
    strength_FC = np.clip(np.take_along_axis(height_FL, best_FC, axis=1), 0.0, 1.0)
    f0_FC = HEARING_HZ / (best_FC + shortest)
    return f0_FC.astype(np.float32), strength_FC.astype(np.float32)


def _best_path(f0_FC: Array, strength_FC: Array) -> npt.NDArray[np.int64]:
    """Viterbi: the index of the candidate in each frame (F,)."""
    octaves_FC = np.log2(f0_FC)
    gain_FC = strength_FC + _OCTAVE_COST * octaves_FC
    total_C = gain_FC[0]
    back_FC = np.zeros(f0_FC.shape, dtype=np.int64)
    for f in range(1, len(f0_FC)):
        jump_CC = np.abs(octaves_FC[f][:, None] - octaves_FC[f - 1][None, :])
        score_CC = total_C[None, :] - _JUMP_COST * np.minimum(jump_CC, 1.0)
        back_FC[f] = score_CC.argmax(axis=1)
        total_C = gain_FC[f] + score_CC.max(axis=1)
    path_F = np.zeros(len(f0_FC), dtype=np.int64)
    path_F[-1] = int(np.argmax(total_C))
    for f in range(len(f0_FC) - 1, 0, -1):
        path_F[f - 1] = back_FC[f, path_F[f]]
    return path_F
