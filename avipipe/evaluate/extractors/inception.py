"""Inception-v3 of the FID: features of pictures for Fréchet distances, logits for IS."""

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.loading import device
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import require_frames

if TYPE_CHECKING:
    from torch import Tensor

_GREY = 128
"""Grey level that becomes 0, and span of grey levels to 1, of TensorFlow's graph: not 127.5."""


class InceptionFeatures(NamedTuple):
    """Of N pictures: the features of the FID, and logits of 1008 classes without their bias."""

    features_ND: npt.NDArray[np.float32]
    logits_NK: npt.NDArray[np.float32]


class InceptionFid(Weighted):
    """Inception-v3 with the weights, the resize and the pooling of TensorFlow's FID.

    Source: toshas/torch-fidelity 0.4.0, `FeatureExtractorInceptionV3`.
    """

    name = "inception_fid"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("inception_fid",)
    packages = ("torch", "torchvision")

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from avipipe.evaluate.extractors.networks.inception import FidInception
        from avipipe.evaluate.extractors.networks.running import built, read_state

        (weight,) = self.needs
        self._network = built(lambda _: FidInception(), read_state(weight), weight=weight)

    def features(self, frames_THWC: Frames) -> InceptionFeatures:
        """Features (T, 2048) and logits (T, 1008) of frames, uint8 RGB.

        Raises:
            Undefined: no frames.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import BATCH_FRAMES, exact

        require_frames(frames_THWC, 1)
        found = []
        with exact():
            for start in range(0, len(frames_THWC), BATCH_FRAMES):
                batch = torch.tensor(frames_THWC[start : start + BATCH_FRAMES]).to(device())
                found.append([each.cpu().numpy() for each in self._network(shown(batch))])
        features, logits = zip(*found, strict=True)
        return InceptionFeatures(np.concatenate(features), np.concatenate(logits))


def shown(frames_THWC: "Tensor") -> "Tensor":
    """What the network sees of frames, uint8: (T, 3, 299, 299), from -1 to just below 1."""
    from avipipe.evaluate.extractors.networks.inception import resize

    return (resize(frames_THWC.permute(0, 3, 1, 2).float()) - _GREY) / _GREY
