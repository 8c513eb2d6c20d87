"""DINO and DINOv2: class features of frames, and the keys whose self-similarity is the layout."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.loading import device
from avipipe.annotators.weighted import Weighted

if TYPE_CHECKING:
    from torch import Tensor

_SHORT_PX, _MAX_PX = 224, 480
"""Short side of what the network sees, and the most that its long side may have, as in Splice."""

# Mean and deviation of ImageNet's colours in [0, 1], by which the networks were trained.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

ColourRange = Literal[1, 255]
"""What white is before ImageNet's colours are taken off: 1 is right; PIE-Bench and FiVE have 255,
and their structure distances can be had only so."""


class DinoVitS16(Weighted):
    """DINO ViT-S/16.

    Source: `networks.vit`.
    """

    name = "dino_vits16"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("dino_vits16",)
    packages = ("timm", "torch", "torchvision")

    def setup(self) -> None:
        """Load the network, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        import torch

        from avipipe.evaluate.extractors.networks.running import filled, read_state
        from avipipe.evaluate.extractors.networks.vit import DinoVit

        (weight,) = self.needs
        state = read_state(weight)
        state.pop("mask_token", None)  # of DINOv2's training alone
        with torch.device("meta"):
            network = DinoVit(state)
        self._network = network
        filled(network.vit, state, weight=weight)

    def cls(self, frames: Frames | Sequence[Frames]) -> npt.NDArray[np.float32]:
        """Class features (T, D) of frames (T, H, W, 3), whole, or of crops (`local_views`).

        A clip's frames keep their shape, crops are squashed to a square: they differ in shape,
        and a thin one would leave the network next to nothing.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        with exact():
            found = [self._network.cls(batch).cpu().numpy() for batch in _batches(frames)]
        return np.concatenate(found)

    def keys(
        self, frames_THWC: Frames, *, colour_range: ColourRange
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Keys (N tokens, D) of the last block of each frame, class token first."""
        from avipipe.evaluate.extractors.networks.running import exact

        for batch in _batches(frames_THWC, colour_range):
            with exact():
                keys_TND = self._network.keys(batch).cpu().numpy()
            yield from keys_TND


class DinoVitB16(DinoVitS16):
    """DINO ViT-B/16, which VBench's subject consistency uses."""

    name = "dino_vitb16"
    needs: ClassVar[tuple[str, ...]] = ("dino_vitb16",)


class DinoVitB8(DinoVitS16):
    """DINO ViT-B/8, by which structure distances are measured."""

    name = "dino_vitb8"
    needs: ClassVar[tuple[str, ...]] = ("dino_vitb8",)


class Dinov2VitB14(DinoVitS16):
    """DINOv2 ViT-B/14, of FlowAnchor's L.DINO."""

    name = "dinov2_vitb14"
    needs: ClassVar[tuple[str, ...]] = ("dinov2_vitb14",)


def shown(frames_THWC: Frames, colour_range: ColourRange = 1) -> "Tensor":
    """What the network sees of frames: (T, 3, h, w), short side 224, long side at most 480.

    Source: MinghanLi/FiVE-Bench@737b30e, `LossG`: torchvision's resize with antialias.
    """
    from torchvision.transforms.v2 import functional

    pictures = _channels_first(frames_THWC)
    pictures = functional.resize(pictures, [_SHORT_PX], max_size=_MAX_PX, antialias=True)
    return _coloured(pictures * (colour_range / 255))


def shown_square(crop_HWC: Frames) -> "Tensor":
    """What the network sees of a crop: (1, 3, 224, 224), squashed by torchvision with antialias."""
    from torchvision.transforms.v2 import functional

    pictures = _channels_first(crop_HWC[None])
    return _coloured(functional.resize(pictures, [_SHORT_PX, _SHORT_PX], antialias=True) / 255)


def _batches(
    frames: Frames | Sequence[Frames], colour_range: ColourRange = 1
) -> Iterator["Tensor"]:
    import torch

    from avipipe.evaluate.extractors.networks.running import BATCH_FRAMES

    for start in range(0, len(frames), BATCH_FRAMES):
        batch = frames[start : start + BATCH_FRAMES]
        if isinstance(batch, np.ndarray):
            yield shown(batch, colour_range).to(device())
        else:
            yield torch.cat([shown_square(crop_HWC) for crop_HWC in batch]).to(device())


def _channels_first(frames_THWC: Frames) -> "Tensor":
    import torch

    return torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float()


def _coloured(pictures_TCHW: "Tensor") -> "Tensor":
    mean, std = (pictures_TCHW.new_tensor(colour)[:, None, None] for colour in (_MEAN, _STD))
    return (pictures_TCHW - mean) / std
