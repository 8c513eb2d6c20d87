"""The blocks that XMem's network is made of, named as in its official checkpoints.

Source: hkchengrex/XMem@f3b841d (MIT); CBAM, Woo et al., ECCV 2018.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck

_CBAM_REDUCTION = 16
"""Channels over those of the bottleneck of attention, as in CBAM and the official checkpoints."""


def resnet50_stages(base: int) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential]:
    """The first three stages of ResNet-50, of 4, 8 and 16 times `base` channels."""
    return (
        _stage(Bottleneck, base, base, num_blocks=3, stride=1),
        _stage(Bottleneck, 4 * base, 2 * base, num_blocks=4, stride=2),
        _stage(Bottleneck, 8 * base, 4 * base, num_blocks=6, stride=2),
    )


def resnet18_stages(base: int) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential]:
    """The first three stages of ResNet-18, of 1, 2 and 4 times `base` channels."""
    return (
        _stage(BasicBlock, base, base, num_blocks=2, stride=1),
        _stage(BasicBlock, base, 2 * base, num_blocks=2, stride=2),
        _stage(BasicBlock, 2 * base, 4 * base, num_blocks=2, stride=2),
    )


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    planes: int,
    *,
    num_blocks: int,
    stride: int,
) -> nn.Sequential:
    out_channels = planes * block.expansion
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
            nn.BatchNorm2d(out_channels),
        )
    first = block(in_channels, planes, stride, shortcut)
    return nn.Sequential(first, *(block(out_channels, planes) for _ in range(num_blocks - 1)))


class Residual(nn.Module):
    """Residual block: two convolutions, each after a ReLU, and a shortcut; no normalisation."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.downsample = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, g: Tensor) -> Tensor:
        out: Tensor = self.downsample(g) + self.conv2(torch.relu(self.conv1(torch.relu(g))))
        return out


class _ChannelGate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // _CBAM_REDUCTION
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels)
        )

    def forward(self, g: Tensor) -> Tensor:
        pooled = self.mlp(g.mean(dim=(2, 3))) + self.mlp(g.amax(dim=(2, 3)))
        return g * torch.sigmoid(pooled)[..., None, None]


class _SpatialGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.ModuleDict({"conv": nn.Conv2d(2, 1, 7, padding=3)})

    def forward(self, g: Tensor) -> Tensor:
        pooled = torch.cat([g.amax(dim=1, keepdim=True), g.mean(dim=1, keepdim=True)], dim=1)
        return g * torch.sigmoid(self.spatial["conv"](pooled))


class Attention(nn.Module):
    """CBAM attention: which channels count, then which places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ChannelGate = _ChannelGate(channels)
        self.SpatialGate = _SpatialGate()

    def forward(self, g: Tensor) -> Tensor:
        out: Tensor = self.SpatialGate(self.ChannelGate(g))
        return out


class Fusion(nn.Module):
    """Joins features of the frame, (1, C, h, w), with those of each object, (O, C', h, w)."""

    def __init__(self, in_channels: int, middle: int, out_channels: int) -> None:
        super().__init__()
        self.block1 = Residual(in_channels, middle)
        self.attention = Attention(middle)
        self.block2 = Residual(middle, out_channels)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        g = self.block1(torch.cat([x.expand(len(g), -1, -1, -1), g], dim=1))
        out: Tensor = self.block2(g + self.attention(g))
        return out


class Upsample(nn.Module):
    """Doubles the size of the objects' features and adds those of the frame at that size."""

    def __init__(self, skip_channels: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.skip_conv = nn.Conv2d(skip_channels, in_channels, 3, padding=1)
        self.out_conv = Residual(in_channels, out_channels)

    def forward(self, skip: Tensor, g: Tensor) -> Tensor:
        g = functional.interpolate(g, scale_factor=2.0, mode="bilinear", align_corners=False)
        out: Tensor = self.out_conv(self.skip_conv(skip) + g)
        return out


class HiddenUpdater(nn.Module):
    """Updates the hidden state after a frame was segmented, from the decoder's three scales."""

    def __init__(self, in_channels: tuple[int, int, int], hidden: int) -> None:
        super().__init__()
        middle = in_channels[1]
        self.g16_conv = nn.Conv2d(in_channels[0], middle, 1)
        self.g8_conv = nn.Conv2d(in_channels[1], middle, 1)
        self.g4_conv = nn.Conv2d(in_channels[2], middle, 1)
        self.transform = nn.Conv2d(middle + hidden, 3 * hidden, 3, padding=1)

    def forward(self, g16: Tensor, g8: Tensor, g4: Tensor, hidden: Tensor) -> Tensor:
        g = self.g16_conv(g16)
        g = (
            g
            + self.g8_conv(functional.avg_pool2d(g8, 2))
            + self.g4_conv(functional.avg_pool2d(g4, 4))
        )
        return _gated(self.transform(torch.cat([g, hidden], dim=1)), hidden)


class HiddenReinforcer(nn.Module):
    """Updates the hidden state after a frame was memorised ("deep update")."""

    def __init__(self, value: int, hidden: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(value + hidden, 3 * hidden, 3, padding=1)

    def forward(self, g: Tensor, hidden: Tensor) -> Tensor:
        return _gated(self.transform(torch.cat([g, hidden], dim=1)), hidden)


def _gated(gates: Tensor, hidden: Tensor) -> Tensor:
    """Forget and update; in full precision, as the state is carried through the whole clip."""
    forget, update, new = gates.float().chunk(3, dim=1)
    update = torch.sigmoid(update)
    return torch.sigmoid(forget) * hidden * (1 - update) + update * torch.tanh(new)
