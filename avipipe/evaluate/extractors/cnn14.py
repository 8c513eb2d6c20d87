"""Cnn14 of PANNs: an embedding of a whole sound, of which FAD is made.

N samples at 32 kHz, D = 2048 numbers of an embedding.

Source: Kong et al., PANNs: Large-scale pretrained audio neural networks for audio pattern
recognition (TASLP 2020), as frechet-audio-distance 0.3.4 takes it.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Wave
from avipipe.annotators.loading import device
from avipipe.annotators.signal import check_wave
from avipipe.annotators.weighted import Weighted

Array = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 32_000
MIN_S = 0.31
"""Shorter sound has fewer than the 32 frames of 10 ms that five halvings of them leave one of."""


class Cnn14Audio(Weighted):
    """Embeddings of sound by Cnn14."""

    name = "cnn14"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("cnn14",)
    packages = ("torch",)
    sample_rate_hz = SAMPLE_RATE_HZ

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from avipipe.evaluate.extractors.networks.cnn14 import load_cnn14

        (weight,) = self.needs
        self._network = load_cnn14(weight)

    def features(self, wav_N: Wave) -> Array:
        """The embedding (1, D) of a whole sound; of less than `MIN_S` there is none: (0, D).

        Args:
            wav_N: mono in [-1, 1] at 32 kHz.
        Raises:
            AnnotatorError: no samples, or one that is not finite.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import exact

        check_wave(wav_N, sample_rate_hz=SAMPLE_RATE_HZ)
        if wav_N.size < MIN_S * SAMPLE_RATE_HZ:
            return np.zeros((0, self._network.fc1.out_features), np.float32)
        waves_1N = torch.from_numpy(np.ascontiguousarray(wav_N[None], np.float32)).to(device())
        with exact():
            return np.asarray(self._network(waves_1N).cpu().numpy())
