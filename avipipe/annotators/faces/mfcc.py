"""What LR-ASD and SyncNet hear: mel-frequency cepstra as `python_speech_features` 0.6 makes them.

Not `signal.mfcc`: a network knows only the features that it was trained on, to the last detail
(rectangular windows, filters cut at whole FFT bins, int16 scale, energy in place of c0, liftering).
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Wave

Samples = npt.NDArray[np.int16]
Cepstra = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
# What LR-ASD was trained on: cepstra, rows of them in a video frame, frames in a second.
NUM_COEFFICIENTS = 13
ROWS_PER_FRAME = 4
TRAINED_FPS = 25

# The defaults of `python_speech_features`.
_WINDOW_S = 0.025
_HOP_S = 0.010
_NUM_MELS = 26
_PRE_EMPHASIS = 0.97
_LIFTER = 22
_TINY = float(np.finfo(np.float64).eps)


def mfcc(
    samples_N: Samples, *, window: float = 400.0, hop: float = 160.0, num_rows: int | None = None
) -> Cepstra:
    """Cepstra (F, 13), float64, of audio at 16 kHz.

    Args:
        samples_N: int16.
        window: length in samples; a rectangle.
        hop: in samples. It need not be whole: windows start at the nearest sample, so that they
            never drift from the pictures.
        num_rows: F; without it 1 + ceil((N - window) / hop), one at least. Zeros follow the last
            sample.
    """
    length = int(window + 0.5)
    if num_rows is None:
        num_rows = 1 + max(0, int(np.ceil((samples_N.size - length) / hop)))
    starts = np.floor(np.arange(num_rows) * hop + 0.5).astype(np.int64)
    emphasised = samples_N.astype(np.float64)
    emphasised[1:] -= _PRE_EMPHASIS * samples_N[:-1]
    emphasised = np.pad(emphasised, (0, max(0, int(starts[-1]) + length - samples_N.size)))
    windows_FW = np.lib.stride_tricks.sliding_window_view(emphasised, length)[starts]
    num_fft = 1 << (length - 1).bit_length()
    power_FK = np.abs(scipy.fft.rfft(windows_FW, num_fft, axis=1)) ** 2 / num_fft
    mel_FM = _not_zero(power_FK @ _mel_filters(num_fft).T)
    cepstra = scipy.fft.dct(np.log(mel_FM), axis=1, norm="ortho")[:, :NUM_COEFFICIENTS]
    order = np.arange(NUM_COEFFICIENTS)
    cepstra *= 1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER)
    cepstra[:, 0] = np.log(_not_zero(power_FK.sum(axis=1)))
    return np.asarray(cepstra, np.float64)


def mfcc_of_frames(wav_N: Wave, *, fps: Fraction, num_frames: int) -> Cepstra:
    """Cepstra of each video frame in four rows (4T, 13), frame n at row 4 n.

    Where the video has not the 25 frames per second of the network, windows and hops are stretched
    instead of frames being dropped or doubled: so the network was trained on videos of other rates.

    Args:
        wav_N: float32 in [-1, 1] at 16 kHz.
    """
    stretch = TRAINED_FPS / fps * SAMPLE_RATE_HZ
    window, hop = float(_WINDOW_S * stretch), float(_HOP_S * stretch)
    return mfcc(to_int16(wav_N), window=window, hop=hop, num_rows=ROWS_PER_FRAME * num_frames)


def to_int16(wav_N: Wave) -> Samples:
    """Samples as a file of 16 bits holds them, of audio in [-1, 1]; louder ones are clipped."""
    return np.asarray(np.clip(np.rint(wav_N * 32768.0), -32768, 32767), np.int16)


def _not_zero(power: Cepstra) -> Cepstra:
    return np.where(power == 0.0, _TINY, power)


def _mel_filters(num_fft: int) -> Cepstra:
    """Triangles (26, num_fft / 2 + 1) over 0 … 8 kHz between whole bins."""
    top_mel = 2595.0 * np.log10(1.0 + SAMPLE_RATE_HZ / 2 / 700.0)
    edges_hz = 700.0 * (10.0 ** (np.linspace(0.0, top_mel, _NUM_MELS + 2) / 2595.0) - 1.0)
    edges = np.floor((num_fft + 1) * edges_hz / SAMPLE_RATE_HZ)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(num_fft // 2 + 1)
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    return np.asarray(np.where(bins < centre, rising, falling).clip(0.0), np.float64)
