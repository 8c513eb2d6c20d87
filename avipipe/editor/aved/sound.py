"""Sound as AudioLDM 2 knows it: logarithmic mel spectra in, waves of an exact length out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from avipipe.annotators.base import Wave

WINDOW = 1024
"""Samples of a spectrum, as AudioLDM was trained."""

_FLOOR = 1e-5
"""Least magnitude that is told from silence, as AudioLDM was trained."""

_PEAK = 0.5
"""What a wave is brought to, as AudioLDM was trained."""


@dataclass(frozen=True, slots=True)
class MelForm:
    """How spectra lie in time: `hop` samples between two, `num_mels` values each, a wave of
    `rate_hz`; their number is a multiple of `multiple`."""

    hop: int
    num_mels: int
    rate_hz: int
    multiple: int

    def num_spectra(self, num_samples: int) -> int:
        """How many hold so many samples."""
        step = self.hop * self.multiple
        return -(-num_samples // step) * self.multiple

    def duration_s(self, num_samples: int) -> float:
        """How long they last."""
        return self.num_spectra(num_samples) * self.hop / self.rate_hz

    def spectra(self, wave_N: Wave) -> tuple[Tensor, float]:
        """Logarithmic mel spectra (T, num_mels) of a wave, and its gain before that.

        Spectrum n is of the samples about hop (n + 1/2); what is beyond the end is silent.

        Source: haoheliu/AudioLDM-training-finetuning, utilities/data/dataset.py,
        mel_spectrogram_train and normalize_wav.
        """
        peak = float(np.abs(wave_N).max(initial=0.0))
        gain = _PEAK / peak if peak else 1.0
        num_samples = self.num_spectra(len(wave_N)) * self.hop
        wave = functional.pad(torch.from_numpy(wave_N) * gain, (0, num_samples - len(wave_N)))
        margin = (WINDOW - self.hop) // 2
        padded = functional.pad(wave[None], (margin, margin), mode="reflect")[0]
        window = torch.hann_window(WINDOW)
        magnitude_FT = torch.stft(
            padded, WINDOW, self.hop, window=window, center=False, return_complex=True
        ).abs()
        filters_FM = mel_filter_bank(
            num_frequency_bins=WINDOW // 2 + 1,
            num_mel_filters=self.num_mels,
            min_frequency=0.0,
            max_frequency=self.rate_hz / 2,
            sampling_rate=self.rate_hz,
            norm="slaney",
            mel_scale="slaney",
        )
        mel_TM = magnitude_FT.T @ torch.from_numpy(filters_FM).float()
        return mel_TM.clamp(min=_FLOOR).log(), gain


def fitted(wave_N: Wave, num_samples: int, gain: float) -> Wave:
    """A wave of exactly so many samples, silent after its end, without a gain that it was given."""
    whole_N = np.pad(wave_N[:num_samples], (0, max(0, num_samples - len(wave_N))))
    return np.asarray(np.clip(whole_N / gain, -1, 1), dtype=np.float32)
