"""What DINO is shown: of frames, uint8 RGB (T, H, W, 3), or of crops, pictures (T, 3, h, w).

All have ImageNet's colours taken off. They differ in size and in how they are resized, and numbers
of different views are of different protocols.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from avipipe.annotators.base import Frames

if TYPE_CHECKING:
    from torch import Tensor

_SHORT_PX, _MAX_PX = 224, 480
"""Short side of what the network sees, and the most that its long side may have, as in Splice."""

# Mean and deviation of ImageNet's colours in [0, 1], by which the networks were trained.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def whole(frames_THWC: Frames) -> "Tensor":
    """Short side 224, long side at most 480, with antialias.

    Source: Splice and its users, but for the range of colours that `whole_pie` has.
    """
    return _coloured(_splice(frames_THWC) / 255)


def whole_pie(frames_THWC: Frames) -> "Tensor":
    """As `whole`, of colours in [0, 255], where the mean that is taken off is of [0, 1].

    It is a slip of PIE-Bench and FiVE; their structure distances can be had only with it.

    Source: MinghanLi/FiVE-Bench@737b30e, `calculate_structure_distance`.
    """
    return _coloured(_splice(frames_THWC))


def vbench(frames_THWC: Frames) -> "Tensor":
    """Short side 224 without antialias, in whole grey levels, for VBench's subject consistency.

    Source: Vchitect/VBench@45e79ec, `dino_transform`.
    """
    from torchvision.transforms.v2 import functional

    pictures = functional.resize(_channels_first(frames_THWC), [_SHORT_PX], antialias=False)
    return _coloured(pictures.float() / 255)


def crops(crops_HWC: Sequence[Frames]) -> "Tensor":
    """Each crop (`local_views`) squashed to 224 x 224 with antialias.

    They differ in shape, and a thin one would leave the network next to nothing of its own. No
    paper says how its crops are brought to one size; this is a choice.
    """
    import torch
    from torchvision.transforms.v2 import functional

    size = [_SHORT_PX, _SHORT_PX]
    squashed = [
        functional.resize(_channels_first(crop_HWC[None]).float(), size, antialias=True)
        for crop_HWC in crops_HWC
    ]
    return _coloured(torch.cat(squashed) / 255)


def _splice(frames_THWC: Frames) -> "Tensor":
    from torchvision.transforms.v2 import functional

    pictures = _channels_first(frames_THWC).float()
    resized: Tensor = functional.resize(pictures, [_SHORT_PX], max_size=_MAX_PX, antialias=True)
    return resized


def _channels_first(frames_THWC: Frames) -> "Tensor":
    import torch

    return torch.tensor(frames_THWC).permute(0, 3, 1, 2)


def _coloured(pictures_TCHW: "Tensor") -> "Tensor":
    from torchvision.transforms.v2 import functional

    coloured: Tensor = functional.normalize(pictures_TCHW, _MEAN, _STD)
    return coloured
