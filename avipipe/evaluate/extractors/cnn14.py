"""Cnn14 of PANNs: an embedding of a whole sound, of which FAD is made, and its classes, for KL.

N samples, D = 2048 numbers of an embedding, C = 527 classes of AudioSet.

Source: Kong et al., PANNs: Large-scale pretrained audio neural networks for audio pattern
recognition (TASLP 2020), as frechet-audio-distance 0.3.4 and hkchengrex/av-benchmark@050a5cd take
it.
"""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Wave
from avipipe.annotators.loading import device
from avipipe.annotators.signal import check_wave
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import Undefined

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float32]

MIN_S = 0.31
"""Shorter sound has fewer than the 32 frames of 10 ms that five halvings of them leave one of."""


class Cnn14Audio(Weighted):
    """Embeddings of sound by Cnn14 for 32 kHz."""

    name = "cnn14"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("cnn14",)
    packages = ("torch",)
    sample_rate_hz: ClassVar[int] = 32_000

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
        from avipipe.evaluate.extractors.networks.running import exact

        check_wave(wav_N, sample_rate_hz=self.sample_rate_hz)
        if wav_N.size < MIN_S * self.sample_rate_hz:
            return np.zeros((0, self._network.fc1.out_features), np.float32)
        with exact():
            return np.asarray(self._network(_batch_of(wav_N)).cpu().numpy())


class Cnn14Classes(Cnn14Audio):
    """What of AudioSet's classes a sound is, by Cnn14 for 16 kHz."""

    name = "cnn14_16k"
    needs: ClassVar[tuple[str, ...]] = ("cnn14_16k",)
    sample_rate_hz: ClassVar[int] = 16_000

    def logits(self, wav_N: Wave) -> Array:
        """Of each class (C,), of a whole sound, mono in [-1, 1] at 16 kHz.

        Raises:
            AnnotatorError: no samples, or one that is not finite.
            Undefined: it is shorter than `MIN_S`.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        check_wave(wav_N, sample_rate_hz=self.sample_rate_hz)
        if wav_N.size < MIN_S * self.sample_rate_hz:
            duration_s = wav_N.size / self.sample_rate_hz
            raise Undefined(f"the sound lasts {duration_s:.2f} s, under {MIN_S} s")
        with exact():
            logits_BC = self._network.logits(_batch_of(wav_N))
        return np.asarray(logits_BC[0].cpu().numpy())


def _batch_of(wav_N: Wave) -> "Tensor":
    import torch

    return torch.from_numpy(np.ascontiguousarray(wav_N[None], np.float32)).to(device())
