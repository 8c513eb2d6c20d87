"""Onsets of a sound as librosa 0.11 finds them, which AV-Align is defined by.

At 22 050 Hz mono, hop 512 (23 ms). librosa itself is not needed for these two of its functions.

Source: librosa 0.11.0, onset.py (onset_strength, onset_detect), util (peak_pick), filters.py (mel),
core/spectrum.py (power_to_db), with their default settings; Böck, Krebs and Schedl, Evaluating the
online capabilities of onset detection methods, ISMIR 2012 (peak picking).
"""

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Wave
from avipipe.evaluate.metrics.undefined import require_sound

Array = npt.NDArray[np.floating]

ONSET_RATE_HZ = 22050

# Samples and bands of the spectrogram: librosa's defaults.
_WINDOW = 2048
_HOP = 512
_NUM_MELS = 128

# Slaney's mel scale: linear below the break, logarithmic above.
_MEL_LINEAR_HZ = 200 / 3
_MEL_BREAK_HZ = 1000.0
_MEL_LOG_STEP = np.log(6.4) / 27

# Levels below either are equally quiet: power_to_db's defaults.
_FLOOR_POWER = 1e-10
_RANGE_DB = 80.0

# Peaks are picked as by onset_detect, in hops of 23 ms and shares of the largest strength: in the
# 30 ms before nothing is higher, it is above the mean of the 100 ms around, and the next is later.
_BEFORE_MAX = int(0.03 * ONSET_RATE_HZ) // _HOP
_BEFORE_MEAN = int(0.10 * ONSET_RATE_HZ) // _HOP
_AFTER_MEAN = _BEFORE_MEAN + 1
_WAIT = _BEFORE_MAX
_DELTA = 0.07


def onset_times(wav_N: Wave) -> npt.NDArray[np.float64]:
    """Times in seconds at which a sound begins or grows.

    Args:
        wav_N: mono, float32 [-1, 1], at 22 050 Hz.
    Raises:
        Undefined: no sound, silence, NaN or infinity.
    """
    require_sound(wav_N)
    return np.asarray(pick_peaks(onset_strength(wav_N)) * (_HOP / ONSET_RATE_HZ), np.float64)


def onset_strength(wav_N: Wave) -> npt.NDArray[np.float32]:
    """Mean rise over the mel bands in dB, float32, one value each 512 samples, the first around 0.

    Args:
        wav_N: as in `onset_times`.
    """
    power_MF = _mel_filters() @ _power_spectrogram(wav_N)
    level_MF = 10.0 * np.log10(np.maximum(power_MF, _FLOOR_POWER))
    level_MF = np.maximum(level_MF, level_MF.max() - _RANGE_DB)
    rise_F = np.maximum(np.diff(level_MF, axis=1), 0.0).mean(axis=0)
    # A rise is told of half a window later: that is when its cause is in the middle.
    delay = 1 + _WINDOW // (2 * _HOP)
    return np.pad(rise_F, (delay, 0))[: level_MF.shape[1]].astype(np.float32)


def pick_peaks(strength_F: Array) -> npt.NDArray[np.int64]:
    """Indices of the peaks of an onset strength."""
    strength = strength_F - strength_F.min()
    largest = float(strength.max())
    if largest == 0.0:
        return np.zeros(0, np.int64)
    strength = strength / (largest + np.finfo(strength.dtype).tiny)
    peaks: list[int] = []
    for index, value in enumerate(strength):
        if peaks and index <= peaks[-1] + _WAIT:
            continue
        before = strength[max(0, index - _BEFORE_MAX) : index + 1]
        around = strength[max(0, index - _BEFORE_MEAN) : index + _AFTER_MEAN]
        if value >= before.max() and value >= around.mean() + _DELTA:
            peaks.append(index)
    return np.array(peaks, dtype=np.int64)


def _power_spectrogram(wav_N: Wave) -> npt.NDArray[np.float32]:
    padded = np.pad(wav_N.astype(np.float32), _WINDOW // 2)
    frames_FW = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    hann_W = scipy.signal.get_window("hann", _WINDOW).astype(np.float32)
    return np.asarray(np.abs(scipy.fft.rfft(frames_FW * hann_W, axis=1)).T ** 2)


def _mel_filters() -> npt.NDArray[np.float32]:
    """Triangles of equal area (M, K), evenly spaced on Slaney's scale from 0 to half the rate."""
    highest_mel = _hz_to_mel(ONSET_RATE_HZ / 2)
    edges_hz = _mel_to_hz(np.linspace(0.0, highest_mel, _NUM_MELS + 2))
    bins_hz = scipy.fft.rfftfreq(_WINDOW, 1 / ONSET_RATE_HZ)
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None], np.float32)


def _hz_to_mel(hz: float) -> float:
    return float(_MEL_BREAK_HZ / _MEL_LINEAR_HZ + np.log(hz / _MEL_BREAK_HZ) / _MEL_LOG_STEP)


def _mel_to_hz(mel_M: Array) -> Array:
    break_mel = _MEL_BREAK_HZ / _MEL_LINEAR_HZ
    return np.where(
        mel_M < break_mel,
        mel_M * _MEL_LINEAR_HZ,
        _MEL_BREAK_HZ * np.exp(_MEL_LOG_STEP * (mel_M - break_mel)),
    )
