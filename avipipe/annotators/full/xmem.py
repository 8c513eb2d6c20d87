"""Carries a mask through a clip with XMem: memory of the seed, of recent and of older frames.

Source: Cheng and Schwing, XMem, ECCV 2022; the network and memory are in `annotators/xmem`.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from avipipe import weights
from avipipe.annotators.base import Frames, Mask, PropagatedMasks
from avipipe.annotators.batching import run_largest_that_fits
from avipipe.annotators.both_ways import both_ways
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError

if TYPE_CHECKING:
    from torch import Tensor

    from avipipe.annotators.xmem.memory import MemoryLimits
    from avipipe.annotators.xmem.network import XMem

_SHORT_PX = 480
"""Short side of the frames that the network sees, as in the official evaluation."""

# Mean and deviation of ImageNet's colours in [0, 1], by which the network was trained.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class XmemPropagator(Weighted):
    """Propagates by XMem, both ways from the seed frame, which each way keeps in memory.

    Frames go to the device one at a time. Where the GPU's memory does not hold a clip, the clip is
    tried once more with four tenths of the working memory and an eighth of the long-term memory.
    """

    name = "xmem"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("xmem",)
    packages = ("torch", "torchvision")

    def setup(self) -> None:
        """Load the XMem network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        import torch

        from avipipe.annotators.xmem.memory import OFFICIAL_LIMITS, MemoryLimits
        from avipipe.annotators.xmem.network import load

        path = weights.locate("xmem")
        with reading(path, "a network of XMem", pull_again("xmem")):
            network = load(torch.load(path, map_location="cpu", weights_only=True))
        self._network = network.to(device())
        small = MemoryLimits(max_work_frames=4, min_work_frames=2, max_long_elements=1250)
        self._limits = (OFFICIAL_LIMITS, small)

    def propagate(
        self, frames_THWC: Frames, *, seed_frame: int, seed_mask_HW: Mask
    ) -> PropagatedMasks:
        """Carry the seed mask to every frame; see `both_ways`.

        The quality of a frame is the mean lead of the instance over the background in the pixels
        of its mask, as a difference of probabilities; 0 in frames without a mask.

        Raises:
            AnnotatorError: the seed does not fit the frames; the clip does not fit into memory;
                the network gives no numbers.
        """

        def run(limits: "MemoryLimits") -> PropagatedMasks:
            return both_ways(
                frames_THWC,
                seed_frame=seed_frame,
                seed_mask_HW=seed_mask_HW,
                start=partial(_Follower, self._network, limits),
            )

        return run_largest_that_fits(run, self._limits)


class _Follower:
    """Follows the instance one way through the clip."""

    def __init__(
        self, network: "XMem", limits: "MemoryLimits", frame_HWC: Frames, mask_HW: Mask
    ) -> None:
        import torch

        from avipipe.annotators.xmem.inference import Tracker

        height, width = mask_HW.shape
        scale = min(1.0, _SHORT_PX / min(height, width))
        self._work = (round(width * scale), round(height * scale))
        self._device = next(network.parameters()).device
        self._tracker = Tracker(network, limits)
        soft_HW = torch.from_numpy(self._shrink(mask_HW.astype(np.float32)))
        self._tracker.step(self._image(frame_HWC), soft_HW[None].to(self._device))

    def step(self, frame_HWC: Frames) -> tuple[Mask, float]:
        """Go on to the next frame; the mask has the size of the frame."""
        from torch.nn import functional

        prob_HW = self._tracker.step(self._image(frame_HWC))[1]
        if not bool(prob_HW.isfinite().all()):
            raise AnnotatorError(
                message=f"xmem gave no numbers for this frame. {pull_again('xmem')}"
            )
        full = functional.interpolate(
            prob_HW[None, None], frame_HWC.shape[:2], mode="bilinear", align_corners=False
        )
        full_HW = full[0, 0].cpu().numpy()
        mask_HW = np.asarray(full_HW > 0.5)
        if not mask_HW.any():
            return mask_HW, 0.0
        return mask_HW, float((2.0 * full_HW[mask_HW] - 1.0).mean())

    def _image(self, frame_HWC: Frames) -> "Tensor":
        """A frame (3, H, W) as the network takes it, on its device."""
        import torch

        image = torch.from_numpy(self._shrink(frame_HWC)).to(self._device).permute(2, 0, 1) / 255
        mean, std = image.new_tensor(_MEAN), image.new_tensor(_STD)
        return (image - mean[:, None, None]) / std[:, None, None]

    def _shrink(self, picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        resized = cv2.resize(picture, self._work, interpolation=cv2.INTER_AREA)
        return np.asarray(resized, picture.dtype)
