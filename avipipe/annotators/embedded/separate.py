"""Separation without a model: what is steady, what is sustained, and what strikes."""

from collections.abc import Mapping

import numpy as np
import scipy

from avipipe.annotators.base import Stems, Wave
from avipipe.annotators.signal import Array, check_wave, running_median

_WINDOW_S = 0.064
"""Bins 16 Hz apart; a choice between what tells partials and what tells strokes."""
_OVERLAP = 4
"""Hops in a window: squared Hann windows a quarter apart add up to a constant."""
# Lengths of the medians along time and frequency, 19 frames and 33 bins: strokes are shorter,
# partials narrower. Choices.
_TIME_MEDIAN_S = 0.3
_FREQUENCY_MEDIAN_HZ = 500.0


class HpssSeparator:
    """Separates steady background (REPET), then the harmonic and percussive parts (HPSS).

    The background is the median spectrum of the clip, as REPET takes the median over periods: hum,
    engines and rooms, but not the beat of a drum, which is what sounds.

    The stems are parts of a spectrogram, not sources: they say how the energy is made up. They
    add up to the mixture.

    Source: Fitzgerald, Harmonic/percussive separation using median filtering (DAFx 2010); Rafii
    and Pardo, REPET (2013).
    """

    name = "hpss"
    version = 1

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def separate(self, wav_CN: Wave, *, sample_rate_hz: int) -> Stems:
        """Take (C, N) audio apart.

        Returns:
            Waves "background", "harmonic" and "percussive" (C, N). Confidence None: how well
            these parts match anything in the scene is unknown.
        Raises:
            AnnotatorError: the audio is empty or not finite.
        """
        check_wave(wav_CN, sample_rate_hz=sample_rate_hz)
        window = 2 * round(_WINDOW_S * sample_rate_hz / 2)
        transform = scipy.signal.ShortTimeFFT(
            scipy.signal.windows.hann(window, sym=False),
            hop=max(1, window // _OVERLAP),
            fs=sample_rate_hz,
        )
        num_samples = wav_CN.shape[1]
        padded_CN = np.pad(wav_CN, ((0, 0), (0, max(0, window - num_samples))))
        mixture_CKF = transform.stft(padded_CN).astype(np.complex64)
        magnitude_KF = np.abs(mixture_CKF).mean(axis=0)
        masks = _masks(
            magnitude_KF,
            frames_per_s=sample_rate_hz / transform.hop,
            bins_per_hz=window / sample_rate_hz,
        )
        waves = {
            name: np.asarray(
                transform.istft(mixture_CKF * mask_KF, k1=padded_CN.shape[1]), dtype=np.float32
            )[:, :num_samples]
            for name, mask_KF in masks.items()
        }
        return Stems(waves=waves, confidence=None)


def _masks(magnitude_KF: Array, *, frames_per_s: float, bins_per_hz: float) -> dict[str, Array]:
    """Soft masks in [0, 1] that add up to one."""
    if not magnitude_KF.any():
        whole = np.ones_like(magnitude_KF)
        return {"background": whole, "harmonic": 0 * whole, "percussive": 0 * whole}
    usual_K1 = np.median(magnitude_KF, axis=1, keepdims=True)
    steady_KF = np.asarray(np.minimum(magnitude_KF, usual_K1), dtype=np.float32)
    background_KF = steady_KF / (magnitude_KF + np.float32(1e-12))
    rest_KF = magnitude_KF - steady_KF
    across = 1 + 2 * round(_TIME_MEDIAN_S * frames_per_s / 2)
    along = 1 + 2 * round(_FREQUENCY_MEDIAN_HZ * bins_per_hz / 2)
    harmonic_KF = running_median(rest_KF, across, axis=1) ** 2
    percussive_KF = running_median(rest_KF, along, axis=0) ** 2
    share_KF: Array = (harmonic_KF + 1e-20) / (harmonic_KF + percussive_KF + 2e-20)
    foreground_KF: Array = 1 - background_KF
    return {
        "background": background_KF,
        "harmonic": foreground_KF * share_KF,
        "percussive": foreground_KF * (1 - share_KF),
    }
