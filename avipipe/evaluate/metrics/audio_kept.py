"""How much of the source's sound an edit keeps, after AVE-Compass.

Source: NJU-LINK/AVE-Compass@2b11dd0, preservation/audio_similarity.py.

K bins of frequency, F frames of a spectrogram.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.evaluate.metrics.undefined import Undefined

Samples = npt.NDArray[np.int16]
Spectrogram = npt.NDArray[np.floating[Any]]

# AVE-Compass': window and hop in samples at 16 kHz, longest lag in seconds.
SAMPLE_RATE_HZ = 16_000
WINDOW, HOP = 1024, 512
MAX_LAG_S = 3.0
_SILENT_RMS = 1e-3
"""Of the scale of int16: digital silence, and nothing else."""
_LAG_STEPS = 50
"""Lags that are tried to either side before the best one's neighbours are."""
_FLAT = 1e-8
"""Standard deviation under which a spectrogram counts as constant."""
_NO_CORRELATION = -1.0
"""What the reference gives where there is none: of a constant spectrogram, or of one frame."""


@dataclass(frozen=True, slots=True)
class KeptSound:
    """How much of the source's sound an edit keeps.

    Attributes:
        score: (1 + correlation) / 2: unrelated sound scores 0.5, not 0.
        correlation: of the spectrograms at the best lag; None where both sounds are silent.
        lag_frames: the best lag in hops of 32 ms, negative where the edit is late.
    """

    score: float
    correlation: float | None
    lag_frames: int | None


def audio_kept(source_N: Samples, edit_N: Samples) -> KeptSound:
    """Compare magnitude spectrograms at the best lag within 3 s and half of the shorter sound.

    Args:
        source_N, edit_N: mono, at 16 kHz (`mfcc.to_int16`); lengths may differ.
    Raises:
        Undefined: one of them is shorter than a window.
    """
    assert source_N.dtype == edit_N.dtype == np.int16, (source_N.dtype, edit_N.dtype)
    if min(source_N.size, edit_N.size) < WINDOW:
        raise Undefined("one of the sounds is shorter than 64 ms")
    if max(_rms(source_N), _rms(edit_N)) < _SILENT_RMS:
        return KeptSound(score=1.0, correlation=None, lag_frames=None)
    reach = int(MAX_LAG_S / (HOP / SAMPLE_RATE_HZ))
    rho, lag = best_lag(_magnitude(source_N), _magnitude(edit_N), max_lag_frames=reach)
    return KeptSound(score=(1 + rho) / 2, correlation=rho, lag_frames=lag)


def best_lag(
    source_KF: Spectrogram, edit_KF: Spectrogram, *, max_lag_frames: int
) -> tuple[float, int]:
    """The highest correlation of two spectrograms, and its lag; the first one of equals.

    The lag is at most half of the shorter one. Where that is more than 50 frames, steps of several
    come first, then every lag around the best.
    """
    shorter = min(source_KF.shape[1], edit_KF.shape[1])
    reach = min(max_lag_frames, shorter // 2)
    step = max(1, reach // _LAG_STEPS)
    found = _best(source_KF, edit_KF, range(-reach, reach + 1, step))
    around = range(max(-reach, found[1] - step), min(reach, found[1] + step) + 1)
    return max(found, _best(source_KF, edit_KF, around), key=lambda pair: pair[0])


def correlation_at_lag(source_KF: Spectrogram, edit_KF: Spectrogram, lag: int) -> float:
    """Pearson's correlation where source frame f + lag meets edit frame f; -1 for none."""
    x_KF, y_KF = source_KF[:, max(lag, 0) :], edit_KF[:, max(-lag, 0) :]
    num = min(x_KF.shape[1], y_KF.shape[1])
    x, y = (part[:, :num].ravel().astype(np.float64) for part in (x_KF, y_KF))
    if num < 2 or min(x.std(), y.std()) < _FLAT:
        return _NO_CORRELATION
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


def _best(source_KF: Spectrogram, edit_KF: Spectrogram, lags: range) -> tuple[float, int]:
    pairs = ((correlation_at_lag(source_KF, edit_KF, lag), lag) for lag in lags)
    return max(pairs, key=lambda pair: pair[0])


def _magnitude(samples_N: Samples) -> Spectrogram:
    _, _, spectrum_KF = scipy.signal.stft(
        samples_N.astype(np.float32), nperseg=WINDOW, noverlap=WINDOW - HOP
    )
    return np.asarray(np.abs(spectrum_KF), np.float32)


def _rms(samples_N: Samples) -> float:
    return float(np.sqrt(np.mean(samples_N.astype(np.float64) ** 2)))
