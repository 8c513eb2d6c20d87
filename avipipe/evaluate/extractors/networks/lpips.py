"""LPIPS: differences of the features of two pictures, weighed by learned heads.

Source: Zhang et al., The unreasonable effectiveness of deep features (CVPR 2018);
richzhang/PerceptualSimilarity@082bb24 (BSD-2-Clause), version 0.1.
"""

from collections.abc import Iterator, Mapping

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2.functional import normalize

TAPS: Mapping[str, tuple[int, ...]] = {
    "alexnet": (1, 4, 7, 9, 11),
    "squeezenet1_1": (1, 4, 7, 9, 10, 11, 12),
}
"""Backbone of torchvision -> the layers of its `features` whose outputs are compared: the last
before each pooling, and what follows the last pooling."""

# Of a picture in [-1, 1]: ImageNet's mean and deviation of colours, as LPIPS rounds them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_TINY = 1e-10
"""Added to the length of a feature, as by lpips 0.1.4."""


class LpipsNetwork(nn.Module):
    """A backbone with a head of one weight a channel for each tapped layer."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self._taps = TAPS[backbone]
        self.features = torchvision.models.get_model(backbone, weights=None).features
        self.heads = nn.ParameterList()

    def add_heads(self, state: Mapping[str, Tensor]) -> None:
        """Take the heads of a file of lpips: `lin0.model.1.weight` and on, each (1, C, 1, 1)."""
        names = [f"lin{number}.model.1.weight" for number in range(len(self._taps))]
        self.heads = nn.ParameterList([nn.Parameter(state[name].float()) for name in names])

    def maps(self, a_NCHW: Tensor, b_NCHW: Tensor) -> Iterator[Tensor]:
        """The weighed squared difference at each place (N, 1, h, w), layer by layer.

        Args:
            a_NCHW, b_NCHW: pictures in [-1, 1].
        """
        taps = zip(self._tapped(a_NCHW), self._tapped(b_NCHW), self.heads, strict=True)
        for a_NChw, b_NChw, head_1C11 in taps:
            difference = _unit(a_NChw) - _unit(b_NChw)
            yield (difference.square() * head_1C11).sum(dim=1, keepdim=True)

    def _tapped(self, pictures_NCHW: Tensor) -> Iterator[Tensor]:
        x = normalize(pictures_NCHW, _SHIFT, _SCALE)
        for number, layer in enumerate(self.features[: self._taps[-1] + 1]):
            x = layer(x)
            if number in self._taps:
                yield x


def total_map(maps: Iterator[Tensor], size: tuple[int, int]) -> Tensor:
    """The distance at each pixel (N, H, W): each map brought to the picture's size, added up."""
    grown = [
        functional.interpolate(layer, size=size, mode="bilinear", align_corners=False)
        for layer in maps
    ]
    return torch.stack(grown).sum(dim=0).squeeze(1)


def _unit(x_NChw: Tensor) -> Tensor:
    return x_NChw / (x_NChw.square().sum(dim=1, keepdim=True).sqrt() + _TINY)
