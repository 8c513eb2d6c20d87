"""Source separation by HTDemucs: speech and singing, drums, bass, and everything else."""

from typing import Any

import numpy as np

from avipipe import weights
from avipipe.annotators.base import Stems, Wave
from avipipe.annotators.batching import run_largest_that_fits
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.signal import Array, check_wave, resample
from avipipe.annotators.weighted import Weighted

_CHECKPOINT = "955717e8.safetensors"
_OVERLAP = 0.25
"""Share of a chunk that the next one has, too: Demucs's default."""


class DemucsSeparator(Weighted):
    """Separates by Hybrid Transformer Demucs: `vocals`, `drums`, `bass` and `other`.

    It was trained on music. `vocals` is speech and singing against everything else; it cannot take
    a dog and a street apart, so its stems are evidence of energy, not of instances.

    Source: Rouard, Massa and Défossez, Hybrid transformers for music source separation (2023).
    """

    name = "htdemucs"
    version = 1
    gpu = True
    needs = ("htdemucs",)
    packages = ("torch", "demucs")

    def setup(self) -> None:
        """Load the HTDemucs network, once.

        Raises:
            WeightsError: the weight is missing, corrupted or not whole.
        """
        path = weights.locate("htdemucs") / _CHECKPOINT
        import torch
        from demucs.hf import load_safetensors_model

        self._device = torch.device(device())
        with reading(path, "a network of Demucs", pull_again("htdemucs")):
            model = load_safetensors_model(path)
        self._model = model.to(self._device).eval()

    def separate(self, wav_CN: Wave, *, sample_rate_hz: int) -> Stems:
        """Take (C, N) audio apart.

        Returns:
            Four waves (C, N) that add up to the mixture: what the network leaves over, as well as
            what lies above the 22 kHz that it knows, goes to `other`. Confidence None: it gives
            none.
        Raises:
            AnnotatorError: the audio is empty or not finite, or memory does not suffice.
        """
        check_wave(wav_CN, sample_rate_hz=sample_rate_hz)
        num_channels, num_samples = wav_CN.shape
        model_hz = int(self._model.samplerate)
        mixture_CN = resample(wav_CN, from_hz=sample_rate_hz, to_hz=model_hz)
        # The network is stereo: any other number of channels goes through it one by one, doubled.
        mixture_B2N = mixture_CN[None] if num_channels == 2 else mixture_CN[:, None].repeat(2, 1)
        stems_BS2N = self._separate(mixture_B2N)
        stems_SCN = stems_BS2N[0] if num_channels == 2 else stems_BS2N.mean(axis=2).swapaxes(0, 1)
        back_SCN = resample(stems_SCN, from_hz=model_hz, to_hz=sample_rate_hz)[..., :num_samples]
        waves = dict(zip(self._model.sources, back_SCN, strict=True))
        waves["other"] = waves["other"] + (wav_CN - back_SCN.sum(axis=0))
        return Stems(waves=waves, confidence=None)

    def _separate(self, mixture_B2N: Array) -> Array:
        """Stems (B, S, 2, N) of stereo mixtures at the network's own rate."""
        whole_s = self._model.segment
        try:
            return run_largest_that_fits(
                lambda segment_s: self._run(mixture_B2N, segment_s),
                (whole_s, whole_s / 2, whole_s / 4),
            )
        finally:
            self._model.segment = whole_s

    def _run(self, mixture_B2N: Array, segment_s: Any) -> Array:
        import torch
        from demucs.apply import apply_model

        # Given as an argument, a shorter segment would be padded up to the model's own again.
        self._model.segment = segment_s
        middle_BN = mixture_B2N.mean(axis=1)
        mean, scale = middle_BN.mean(), middle_BN.std() + 1e-8
        with torch.inference_mode():
            stems = apply_model(
                self._model,
                torch.from_numpy((mixture_B2N - mean) / scale),
                shifts=0,
                split=True,
                overlap=_OVERLAP,
                device=self._device,
            )
        return np.asarray(stems.cpu().numpy() * scale + mean, dtype=np.float32)
