"""Cnn14 of PANNs: what of AudioSet's classes a sound is, for KL as av-benchmark has it."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Wave
from avipipe.annotators.loading import device
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import Undefined

SAMPLE_RATE_HZ = 16_000
LEAST_S = 0.32
"""Of a sound: five halvings leave one of 32 frames."""


class Cnn14Classes(Weighted):
    """Logits of Cnn14 for 16 kHz."""

    name = "cnn14_classes"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("cnn14_16k",)
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

    def logits(self, wav_N: Wave) -> npt.NDArray[np.float32]:
        """Of each class (C,), of a whole sound, mono in [-1, 1] at 16 kHz.

        Raises:
            Undefined: it is shorter than `LEAST_S`.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import exact

        length_s = wav_N.size / SAMPLE_RATE_HZ
        if length_s < LEAST_S:
            raise Undefined(f"the sound lasts {length_s:.2f} s, under {LEAST_S} s")
        waves_1N = torch.from_numpy(np.ascontiguousarray(wav_N[None], np.float32)).to(device())
        with exact():
            return np.asarray(self._network.logits(waves_1N)[0].cpu().numpy())
