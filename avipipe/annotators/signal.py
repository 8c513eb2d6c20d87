"""Signal processing that the classical annotators share: spectra, envelopes, onsets.

Everything works on mono audio (N,) at any sample rate and is level-independent where it can be.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Wave
from avipipe.errors import AnnotatorError

Array = npt.NDArray[np.float32]

_TINY = 1e-10
"""Power, -100 dB of full scale, that stands for silence where a logarithm is taken."""
# Usual in onset detection, and finer than a video frame.
_ONSET_HOP_S = 0.01
_ONSET_WINDOW_S = 0.025
_ONSET_RANGE_DB = 60.0
"""Under the loudest band: quieter ones count as equally quiet, so noise under the sound gives no
onsets. A choice."""


def check_wave(wav: npt.NDArray[np.floating], *, sample_rate_hz: int) -> None:
    """Refuse audio that no measurement can be trusted on.

    Raises:
        AnnotatorError: no samples, a sample that is not finite, or a rate that is not positive.
    """
    if sample_rate_hz <= 0:
        raise AnnotatorError(message=f"expected a positive sample rate, got {sample_rate_hz}")
    if wav.shape[-1] == 0:
        raise AnnotatorError(message="expected at least one audio sample, got none")
    if not np.isfinite(wav).all():
        raise AnnotatorError(
            message="expected finite audio samples, got NaN or infinity; decode the audio again"
        )


def resample(wav: Wave, *, from_hz: int, to_hz: int) -> Wave:
    """Change the sample rate of (..., N) audio with a polyphase low-pass filter."""
    if from_hz == to_hz:
        return wav
    ratio = Fraction(to_hz, from_hz)
    out = scipy.signal.resample_poly(wav, ratio.numerator, ratio.denominator, axis=-1)
    return np.asarray(out, dtype=np.float32)


def frames_of(wav_N: Wave, *, sample_rate_hz: int, window_s: float, hop_s: float) -> Array:
    """Cut audio into centred windows: (F, W), window f around f * hop_s, zeros beyond the ends."""
    window = max(2, round(window_s * sample_rate_hz))
    num_frames = 1 + int(wav_N.shape[0] / (hop_s * sample_rate_hz))
    starts = np.round(np.arange(num_frames) * hop_s * sample_rate_hz).astype(np.int64)
    padded = np.pad(wav_N, (window // 2, window))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[starts]


def power_spectrogram(
    wav_N: Wave, *, sample_rate_hz: int, window_s: float = 0.032, hop_s: float = 0.01
) -> Array:
    """Power in Hann windows: (F, K), frame f around f * hop_s, bin k at k / window_s Hz.

    Scaled so that a full-scale sine has power 1 in its bin.
    """
    frames_FW = frames_of(wav_N, sample_rate_hz=sample_rate_hz, window_s=window_s, hop_s=hop_s)
    hann_W = scipy.signal.get_window("hann", frames_FW.shape[1]).astype(np.float32)
    spectrum_FK = scipy.fft.rfft(frames_FW * hann_W, axis=1)
    return np.asarray(np.abs(spectrum_FK * (2 / hann_W.sum())) ** 2, dtype=np.float32)


def mel_filters(
    num_bins: int, *, sample_rate_hz: int, num_mels: int, low_hz: float, high_hz: float
) -> Array:
    """Triangular filters (num_mels, num_bins), evenly spaced on the HTK mel scale."""
    edges_mel = np.linspace(_to_mel(low_hz), _to_mel(high_hz), num_mels + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, num_bins)
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    return np.clip(np.minimum(rising, falling), 0.0, None).astype(np.float32)


def _to_mel(hz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hz / 700.0))


def mel_spectrogram(
    wav_N: Wave,
    *,
    sample_rate_hz: int,
    num_mels: int = 40,
    low_hz: float = 60.0,
    high_hz: float = 8000.0,
    window_s: float = 0.032,
    hop_s: float = 0.01,
) -> Array:
    """Mel power (F, num_mels)."""
    power_FK = power_spectrogram(
        wav_N, sample_rate_hz=sample_rate_hz, window_s=window_s, hop_s=hop_s
    )
    filters_MK = mel_filters(
        power_FK.shape[1],
        sample_rate_hz=sample_rate_hz,
        num_mels=num_mels,
        low_hz=low_hz,
        high_hz=min(high_hz, sample_rate_hz / 2),
    )
    return power_FK @ filters_MK.T


def mfcc(mel_FM: Array, *, num_coefficients: int = 20) -> Array:
    """Mel-frequency cepstral coefficients (F, num_coefficients) of mel power, with c0."""
    log_mel_FM = np.log(mel_FM + _TINY)
    cepstrum = scipy.fft.dct(log_mel_FM, axis=1, norm="ortho")[:, :num_coefficients]
    return np.asarray(cepstrum, dtype=np.float32)


def to_db(power: npt.NDArray[np.floating], *, floor_db: float = -100.0) -> Array:
    """Power in decibels, not below `floor_db`."""
    floor = 10.0 ** (floor_db / 10.0)
    return np.asarray(10.0 * np.log10(np.maximum(power, floor)), dtype=np.float32)


def running_median(values_AB: Array, size: int, *, axis: int) -> Array:
    """Median over `size` (odd) neighbours along one axis of two; edges are repeated.

    All rows go through scipy's one-dimensional filter as one, ten times faster than its
    two-dimensional filter.
    """
    half = size // 2
    rows = np.pad(np.moveaxis(values_AB, axis, 1), ((0, 0), (half, half)), mode="edge")
    filtered = scipy.ndimage.median_filter(rows.ravel(), size=size).reshape(rows.shape)
    inner = filtered[:, half : rows.shape[1] - half]
    return np.asarray(np.moveaxis(inner, 1, axis), dtype=np.float32)


def spectral_flux(wav_N: Wave, *, sample_rate_hz: int) -> Array:
    """Onset strength every 10 ms: (F,), mean rise of the log-mel spectrum in dB, 0 where it falls.

    Levels are cut off 60 dB below the loudest, so noise under the sound gives no onsets.

    Source: Böck and Widmer, Maximum filter vibrato suppression for onset detection (DAFx 2013).
    """
    mel_FM = mel_spectrogram(
        wav_N, sample_rate_hz=sample_rate_hz, window_s=_ONSET_WINDOW_S, hop_s=_ONSET_HOP_S
    )
    peak = float(mel_FM.max())
    if peak <= _TINY:
        return np.zeros(mel_FM.shape[0], dtype=np.float32)
    level_FM = to_db(mel_FM / peak, floor_db=-_ONSET_RANGE_DB)
    # A tone that glides into the next band is no onset: compare with the loudest neighbour before.
    before_FM = scipy.ndimage.maximum_filter1d(level_FM, 3, axis=1)
    rise_FM = np.zeros_like(level_FM)
    rise_FM[2:] = np.maximum(level_FM[2:] - before_FM[:-2], 0.0)
    return np.asarray(rise_FM.mean(axis=1), dtype=np.float32)


def onset_strength(wav_N: Wave, *, sample_rate_hz: int, fps: Fraction) -> Array:
    """Onset strength in each video frame.

    Args:
        wav_N: mono audio, float32, N at `sample_rate_hz`.
        fps: of the video; frame n lasts over [n / fps, (n + 1) / fps).
    Returns:
        float32 (T,), T = round(N / sample_rate_hz * fps) but at least 1; mean rise in dB, >= 0.
    """
    flux_F = spectral_flux(wav_N, sample_rate_hz=sample_rate_hz)
    num_frames = _num_video_frames(wav_N.shape[0], sample_rate_hz=sample_rate_hz, fps=fps)
    return _largest_per_frame(flux_F, hop_s=_ONSET_HOP_S, fps=fps, num_frames=num_frames)


def rms_envelope(wav_N: Wave, *, sample_rate_hz: int, fps: Fraction) -> Array:
    """Root mean square of the samples in each video frame.

    Returns:
        float32 (T,), T as in `onset_strength`, full scale 1.
    """
    num_frames = _num_video_frames(wav_N.shape[0], sample_rate_hz=sample_rate_hz, fps=fps)
    edges = np.round(np.arange(num_frames + 1) * float(sample_rate_hz / fps)).astype(np.int64)
    energy = np.concatenate([[0.0], np.cumsum(wav_N.astype(np.float64) ** 2)])
    edges = np.minimum(edges, wav_N.shape[0])
    length = np.maximum(np.diff(edges), 1)
    mean = np.maximum(np.diff(energy[edges]), 0.0) / length
    return np.sqrt(mean).astype(np.float32)


def _num_video_frames(num_samples: int, *, sample_rate_hz: int, fps: Fraction) -> int:
    return max(1, round(num_samples / sample_rate_hz * fps))


def _largest_per_frame(values_F: Array, *, hop_s: float, fps: Fraction, num_frames: int) -> Array:
    frame_of_hop = np.floor((np.arange(values_F.shape[0]) * hop_s + 1e-9) * float(fps))
    index = np.minimum(frame_of_hop.astype(np.int64), num_frames - 1)
    out = np.zeros(num_frames, dtype=np.float32)
    np.maximum.at(out, index, values_F)
    return out


def onset_times(
    flux_F: Array, *, smallest_rise_db: float = 3.0, shortest_gap_s: float = 0.06
) -> npt.NDArray[np.float64]:
    """Times of onsets in seconds, from a `spectral_flux`.

    Peaks that stand out from the 0.3 s around them by `smallest_rise_db`; the higher of two that
    are closer than `shortest_gap_s`.
    """
    around_F = scipy.ndimage.median_filter(flux_F, size=round(0.3 / _ONSET_HOP_S), mode="nearest")
    peaks, _ = scipy.signal.find_peaks(
        np.pad(flux_F - around_F, 1),
        height=smallest_rise_db,
        distance=max(1, round(shortest_gap_s / _ONSET_HOP_S)),
    )
    return np.asarray((peaks - 1) * _ONSET_HOP_S, dtype=np.float64)
