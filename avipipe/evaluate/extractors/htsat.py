"""HTSAT-base of LAION-CLAP: the stages of its audio tower, of which LPAPS is made.

N samples at 48 kHz; the network hears 10 s.

Source: HilaManor/AudioEditingCode@f324c19, evals/pretrained_networks.py.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Wave
from avipipe.annotators.loading import device
from avipipe.annotators.signal import check_wave
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError
from avipipe.evaluate.metrics.lpaps import WINDOW_S, window_spans

Stage = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 48_000
# Edges of the mel bands in LAION-CLAP.
_LOW_HZ, _HIGH_HZ = 50, 14_000


class HtsatBase(Weighted):
    """Stages of HTSAT-base as trained on music and speech."""

    name = "clap_htsat_base"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("clap_htsat_base",)
    packages = ("julius", "torch", "transformers")

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from transformers import ClapFeatureExtractor

        from avipipe.evaluate.extractors.networks.htsat import load_htsat

        (weight,) = self.needs
        self._network = load_htsat(weight)
        self._mel = ClapFeatureExtractor(frequency_min=_LOW_HZ, frequency_max=_HIGH_HZ)

    def windows(
        self, wav_N: Wave, *, sample_rate_hz: int, window_s: float = WINDOW_S
    ) -> list[list[Stage]]:
        """Stages of each window of a sound (`metrics.lpaps.window_spans`), cut before resampling.

        Raises:
            AnnotatorError: as `stages`.
        """
        spans = window_spans(wav_N.size, sample_rate_hz=sample_rate_hz, window_s=window_s)
        return [
            self.stages(wav_N[first:end], sample_rate_hz=sample_rate_hz) for first, end in spans
        ]

    def stages(self, wav_N: Wave, *, sample_rate_hz: int) -> list[Stage]:
        """Outputs (tokens, channels) of the four stages, from fine to coarse.

        Args:
            wav_N: mono, at most 10 s. Shorter sound is repeated as often as it fits whole, and
                zeros follow.
        Raises:
            AnnotatorError: no samples, one that is not finite, or more than 10 s: the reference
                takes a random part of it.
        """
        import torch

        from avipipe.evaluate.extractors.networks.htsat import stages
        from avipipe.evaluate.extractors.networks.running import exact

        log_mel = self.log_mel(self.resampled(wav_N, sample_rate_hz=sample_rate_hz))
        with exact():
            found = stages(self._network, torch.from_numpy(log_mel)[None, None].to(device()))
        return [stage_1TC[0].cpu().numpy() for stage_1TC in found]

    def resampled(self, wav_N: Wave, *, sample_rate_hz: int) -> Wave:
        """The sound at 48 kHz, by the filter of the reference.

        Raises:
            AnnotatorError: as `stages`.
        """
        import torch
        from julius.resample import resample_frac

        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        if wav_N.size > WINDOW_S * sample_rate_hz:
            raise AnnotatorError(
                message=f"expected at most {WINDOW_S:g} s of sound, got "
                f"{wav_N.size / sample_rate_hz:g} s; cut it into windows"
            )
        wave = torch.from_numpy(np.ascontiguousarray(wav_N, np.float32))
        return np.asarray(resample_frac(wave, sample_rate_hz, SAMPLE_RATE_HZ).numpy())

    def log_mel(self, wav_N: Wave) -> Stage:
        """Log-mel spectrum in dB (1001, 64) of at most 10 s at 48 kHz."""
        found = self._mel(wav_N, sampling_rate=SAMPLE_RATE_HZ, truncation="rand_trunc")
        return np.asarray(found["input_features"][0][0], np.float32)
