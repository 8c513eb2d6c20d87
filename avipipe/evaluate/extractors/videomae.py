"""VideoMAE-v2: what the content-debiased FVD compares of videos."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import Undefined

if TYPE_CHECKING:
    from torch import Tensor

_FILE = "mae-g/vit_g_hybrid_pt_1200e_ssv2_ft.pth"
MIN_FRAMES = 2
"""Frames of one token."""


class VideoMaeV2(Weighted):
    """VideoMAE-v2 ViT-g, fine-tuned on Something-Something v2, which looks at motion.

    Source: `networks.videomae`.
    """

    name = "videomae_v2"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("videomae_v2",)
    packages = ("timm", "torch")

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import built
        from avipipe.evaluate.extractors.networks.videomae import VideoMae, converted

        (weight,) = self.needs
        path = weights.locate(weight) / _FILE
        with reading(path, "VideoMAE-v2", pull_again(weight)):
            found = torch.load(path, map_location="cpu", weights_only=True)
            state = converted(found.get("model") or found.get("module") or found)
        self._network = built(VideoMae, state, weight=weight)

    def features(self, video_BCTHW: "Tensor") -> npt.NDArray[np.float32]:
        """Features (B, 1408) of the view `fvd_views.cdfvd_videomae`; 16 frames are its protocol.

        Raises:
            Undefined: fewer than two frames.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        num_frames = video_BCTHW.shape[2]
        if num_frames < MIN_FRAMES:
            raise Undefined(f"{num_frames} frames, and VideoMAE needs {MIN_FRAMES}")
        with exact():
            found = [self._network(each[None].to(device())) for each in video_BCTHW]
        return np.concatenate([each.cpu().numpy() for each in found])
