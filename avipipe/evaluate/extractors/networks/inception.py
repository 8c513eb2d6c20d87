"""Inception-v3 of the FID: TensorFlow's graph of 2015, which torchvision's differs from in pooling.

Source: Heusel et al., GANs trained by a two time-scale update rule (NeurIPS 2017); names of the
parts as in mseitzer/pytorch-fid and toshas/torch-fidelity (Apache-2.0).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.inception import (
    BasicConv2d,
    Inception3,
    InceptionA,
    InceptionAux,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
)

NUM_CLASSES = 1008
"""Of the graph: ImageNet's thousand and eight that are never the answer."""
SIZE_PX = 299
"""Side of the pictures that the network was trained on."""

_PARTS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    *("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d"),
    *("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)


class FidInception(nn.Module):
    """The network from pictures in [-1, 1] to features and logits."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [BasicConv2d, _A, InceptionB, _C, InceptionD, _E, InceptionAux]
        net = Inception3(NUM_CLASSES, aux_logits=False, inception_blocks=blocks, init_weights=False)
        net.Mixed_7c.pool = partial(functional.max_pool2d, kernel_size=3, stride=1, padding=1)
        for name, part in net.named_children():
            if name not in ("avgpool", "dropout"):
                self.add_module(name, part)

    def forward(self, pictures_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 2048) and logits (N, 1008) of pictures of 299 x 299.

        The logits are without the bias of the last layer, as the Inception scores of
        torch-fidelity and of torchmetrics take them.
        """
        x = pictures_NCHW
        for name in _PARTS:
            x = self.get_submodule(name)(x)
        features_ND = x.mean(dim=(2, 3))
        head = self.get_submodule("fc")
        assert isinstance(head, nn.Linear), "the last layer is linear"
        return features_ND, functional.linear(features_ND, head.weight)


def resize(pictures_NCHW: Tensor) -> Tensor:
    """Bilinear resize to 299 x 299 as TensorFlow 1 does: the corner of pixel 0 stays in place.

    A resize by pixel centres, as torch has it, moves the features.
    """
    for axis in (2, 3):
        size = pictures_NCHW.shape[axis]
        at = torch.arange(SIZE_PX, device=pictures_NCHW.device) * (size / SIZE_PX)
        low = at.floor().long()
        high = (low + 1).clamp(max=size - 1)
        share = (at - low).to(pictures_NCHW.dtype)
        share = share[:, None] if axis == 2 else share
        below, above = pictures_NCHW.index_select(axis, low), pictures_NCHW.index_select(axis, high)
        pictures_NCHW = below + (above - below) * share
    return pictures_NCHW


_Pooling = Callable[[Tensor], Tensor]
# Means over what lies inside the picture alone, where torchvision counts the padding too.
_mean_3x3: _Pooling = partial(
    functional.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False
)


class _A(InceptionA):  # type: ignore[misc]  # torchvision is not typed
    def forward(self, x: Tensor) -> Tensor:
        triple = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        wide = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), wide, triple, self.branch_pool(_mean_3x3(x))], dim=1)


class _C(InceptionC):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = x
        for number in range(1, 6):
            double = self.get_submodule(f"branch7x7dbl_{number}")(double)
        pooled = self.branch_pool(_mean_3x3(x))
        return torch.cat([self.branch1x1(x), single, double, pooled], dim=1)


class _E(InceptionE):  # type: ignore[misc]
    pool: _Pooling = staticmethod(_mean_3x3)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, dim=1)
