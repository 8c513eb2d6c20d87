"""LPIPS between two clips, frame by frame: one number each, or a map."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.base import Frames
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import require_frames, require_same_shape

if TYPE_CHECKING:
    from torch import Tensor


class LpipsAlex(Weighted):
    """LPIPS 0.1 on AlexNet, which most papers report.

    Source: `networks.lpips`.
    """

    name = "lpips_alex"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("alexnet", "lpips_alex")
    packages = ("torch", "torchvision")

    def setup(self) -> None:
        """Load backbone and heads, once.

        Raises:
            WeightsError: they are missing, corrupted or not whole.
        """
        from avipipe.evaluate.extractors.networks.lpips import LpipsNetwork
        from avipipe.evaluate.extractors.networks.running import built, read_state

        backbone, heads = self.needs
        state = {k: v for k, v in read_state(backbone).items() if k.startswith("features.")}
        network = built(lambda _: LpipsNetwork(backbone), state, weight=backbone)
        with reading(weights.locate(heads), "heads of LPIPS", pull_again(heads)):
            network.add_heads(read_state(heads))
        self._network = network.to(device())

    def distances(self, a_THWC: Frames, b_THWC: Frames) -> npt.NDArray[np.float32]:
        """The LPIPS of each pair of frames (T,), uint8 RGB of the same size.

        Raises:
            Undefined: no frames, or clips of another length or size.
        """
        return np.asarray(self.layers(a_THWC, b_THWC).sum(axis=1))

    def layers(self, a_THWC: Frames, b_THWC: Frames) -> npt.NDArray[np.float32]:
        """What each tapped layer adds to the LPIPS of each pair of frames, (T, layers).

        Raises:
            Undefined: as `distances`.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        found = []
        with exact():
            for pair in _pairs(a_THWC, b_THWC):
                means = [layer.mean(dim=(1, 2, 3)) for layer in self._network.maps(*pair)]
                found += [np.stack([each.cpu().numpy() for each in means], axis=1)]
        return np.concatenate(found)

    def maps(self, a_THWC: Frames, b_THWC: Frames) -> npt.NDArray[np.float32]:
        """The LPIPS at each pixel of each pair of frames (T, H, W), uint8 RGB of the same size.

        Its mean is not the LPIPS of the frame, but near it.

        Raises:
            Undefined: no frames, or clips of another length or size.
        """
        from avipipe.evaluate.extractors.networks.lpips import total_map
        from avipipe.evaluate.extractors.networks.running import exact

        size = (a_THWC.shape[1], a_THWC.shape[2])
        with exact():
            found = [total_map(self._network.maps(*pair), size) for pair in _pairs(a_THWC, b_THWC)]
            return np.concatenate([each.cpu().numpy() for each in found])


class LpipsSqueeze(LpipsAlex):
    """LPIPS 0.1 on SqueezeNet 1.1, which FiVE and PIE-Bench report."""

    name = "lpips_squeeze"
    needs: ClassVar[tuple[str, ...]] = ("squeezenet1_1", "lpips_squeeze")


def _pairs(a_THWC: Frames, b_THWC: Frames) -> Iterator[tuple["Tensor", "Tensor"]]:
    """Batches of both clips (N, 3, H, W) in [-1, 1]."""
    import torch

    from avipipe.evaluate.extractors.networks.running import BATCH_FRAMES

    require_same_shape(a_THWC, b_THWC)
    require_frames(a_THWC, 1)
    for start in range(0, len(a_THWC), BATCH_FRAMES):
        batches = (clip[start : start + BATCH_FRAMES] for clip in (a_THWC, b_THWC))
        a, b = (torch.tensor(each).to(device()).permute(0, 3, 1, 2) for each in batches)
        yield a / 127.5 - 1, b / 127.5 - 1
