"""I3D: Inception-v1 inflated to video, as trained on Kinetics-400.

Padding is TensorFlow's SAME, which depends on the size modulo the stride. B batch, C channels,
T frames, H and W of a picture, K classes.

Source: Carreira and Zisserman, Quo Vadis, Action Recognition? (CVPR 2017); names of the parts as in
piergiaj/pytorch-i3d@05783d1 (Apache-2.0), which all PyTorch checkpoints share.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_CLASSES = 400
"""Of Kinetics-400."""

# Channels of each Inception block: in, then of its four branches (1x1; 1x1, 3x3; 1x1, 3x3; pool).
_MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


class I3d(nn.Module):
    """The network up to its logits.

    Args:
        epsilon: of the norms; it belongs to the checkpoint, and none holds it.
    """

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        stages: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": _Unit(3, 64, 7, epsilon, stride=2),
            "MaxPool3d_2a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": _Unit(64, 64, 1, epsilon),
            "Conv3d_2c_3x3": _Unit(64, 192, 3, epsilon),
            "MaxPool3d_3a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
            **_mixed("Mixed_3", epsilon),
            "MaxPool3d_4a_3x3": _Pool((3, 3, 3), (2, 2, 2)),
            **_mixed("Mixed_4", epsilon),
            "MaxPool3d_5a_2x2": _Pool((2, 2, 2), (2, 2, 2)),
            **_mixed("Mixed_5", epsilon),
        }
        for name, stage in stages.items():
            self.add_module(name, stage)
        self._stages = tuple(stages)
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(1024, NUM_CLASSES, 1)})

    def endpoints(self, video_BCTHW: Tensor) -> Iterator[Tensor]:
        """What comes out of each stage, one after the other."""
        x = video_BCTHW
        for name in self._stages:
            x = self.get_submodule(name)(x)
            yield x

    def pooled(self, video_BCTHW: Tensor) -> Tensor:
        """Features (B, 1024, T') of pictures of 224 x 224; T' + 1 is an eighth of T, rounded up."""
        (last,) = deque(self.endpoints(video_BCTHW), maxlen=1)
        return functional.avg_pool3d(last, (2, 7, 7), stride=1).squeeze(4).squeeze(3)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """Logits (B, K, T') over time, of video in [-1, 1]."""
        pooled_BCT11 = self.pooled(video_BCTHW)[..., None, None]
        logits: Tensor = self.logits["conv3d"](pooled_BCT11)
        return logits.squeeze(4).squeeze(3)


class _Unit(nn.Module):
    """Convolution, norm and rectifier."""

    def __init__(
        self, before: int, after: int, width: int, epsilon: float, *, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(before, after, width, stride=stride, bias=False)
        self.bn = nn.BatchNorm3d(after, eps=epsilon)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        x_BCTHW = _pad_same(x_BCTHW, self.conv3d.kernel_size, self.conv3d.stride)
        return functional.relu(self.bn(self.conv3d(x_BCTHW)))


class _Pool(nn.Module):
    """Maximum over a window; what it pads is 0, below no rectified number."""

    def __init__(self, width: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self._width, self._stride = width, stride

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        x_BCTHW = _pad_same(x_BCTHW, self._width, self._stride)
        return functional.max_pool3d(x_BCTHW, self._width, self._stride)


class _Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, channels: Sequence[int], epsilon: float) -> None:
        super().__init__()
        before, wide, reduce_1, branch_1, reduce_2, branch_2, projected = channels
        self.b0 = _Unit(before, wide, 1, epsilon)
        self.b1a = _Unit(before, reduce_1, 1, epsilon)
        self.b1b = _Unit(reduce_1, branch_1, 3, epsilon)
        self.b2a = _Unit(before, reduce_2, 1, epsilon)
        self.b2b = _Unit(reduce_2, branch_2, 3, epsilon)
        self.b3a = _Pool((3, 3, 3), (1, 1, 1))
        self.b3b = _Unit(before, projected, 1, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, dim=1)


def _mixed(prefix: str, epsilon: float) -> dict[str, nn.Module]:
    """The Inception blocks between two pools."""
    return {
        name: _Mixed(channels, epsilon)
        for name, channels in _MIXED.items()
        if name.startswith(prefix)
    }


def _pad_same(x_BCTHW: Tensor, width: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pad with zeros as TensorFlow's SAME does: what is odd goes to the end."""
    pads: list[int] = []
    for size, window, step in zip(x_BCTHW.shape[2:], width, stride, strict=True):
        total = max(window - (size % step or step), 0)
        pads = [total // 2, total - total // 2, *pads]
    return functional.pad(x_BCTHW, pads)
