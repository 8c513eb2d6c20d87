"""PANNs: what of AudioSet's classes a sound is, for KL as av-benchmark has it."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.base import Wave
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import Undefined

SAMPLE_RATE_HZ = 16_000
LEAST_SAMPLES = 5120
"""0.32 s: five halvings leave a frame of the 32."""


class PannsCnn14(Weighted):
    """Logits of Cnn14 for 16 kHz."""

    name = "panns_cnn14"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("panns_cnn14_16k",)
    packages = ("torch",)
    sample_rate_hz = SAMPLE_RATE_HZ

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        import torch

        from avipipe.evaluate.extractors.networks.panns import Cnn14
        from avipipe.evaluate.extractors.networks.running import built

        (weight,) = self.needs
        path = weights.locate(weight)
        with reading(path, f"`{weight}`", pull_again(weight)):
            state = dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
        self._network = built(Cnn14, state, weight=weight)

    def logits(self, wav_N: Wave) -> npt.NDArray[np.float32]:
        """Of each class (C,), of a whole sound, mono in [-1, 1] at 16 kHz.

        Raises:
            Undefined: it is shorter than 0.32 s.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import exact

        if wav_N.size < LEAST_SAMPLES:
            raise Undefined(f"the sound lasts {wav_N.size / SAMPLE_RATE_HZ:.2f} s, under 0.32 s")
        with exact():
            logits_BC = self._network(torch.from_numpy(wav_N.astype(np.float32))[None].to(device()))
        found: npt.NDArray[np.float32] = logits_BC[0].cpu().numpy()
        return found
