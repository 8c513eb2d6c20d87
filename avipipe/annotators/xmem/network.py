"""XMem's network: key encoder, value encoder, decoder.

The names of the parts are those of the official checkpoints, so that these load strictly. One
frame is processed at a time; its objects are the batch.

Shape suffixes: O objects, C channels, H height, W width of the frame; h, w of the features, a 16th
of it. Images are float32, normalised as for ImageNet, with sides divisible by 16.

Source: Cheng and Schwing, XMem: Long-Term Video Object Segmentation with an Atkinson-Shiffrin
Memory Model, ECCV 2022; hkchengrex/XMem@f3b841d (MIT).
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from avipipe.annotators.xmem.blocks import (
    Fusion,
    HiddenReinforcer,
    HiddenUpdater,
    Upsample,
    resnet18_stages,
    resnet50_stages,
)


class Widths(NamedTuple):
    """Numbers of channels of the network; the defaults are those of the official checkpoint.

    Attributes:
        base: of the encoders' first layer, from which those of all others follow.
        key: C^k of the paper. value: C^v. hidden: C^h.
    """

    base: int = 64
    key: int = 64
    value: int = 512
    hidden: int = 64


OFFICIAL_WIDTHS = Widths()


class FeaturePyramid(NamedTuple):
    """Features of a frame, each (1, C, ., .), at a 16th, 8th and 4th of its size."""

    f16: Tensor
    f8: Tensor
    f4: Tensor


class Key(NamedTuple):
    """Memory key of a frame, at each place.

    Attributes:
        key_1Chw: compared with those of other frames.
        shrinkage_11hw: how sharply it is compared once it is a memory, >= 1.
        selection_1Chw: how much each channel counts when it is the query, in [0, 1].
    """

    key_1Chw: Tensor
    shrinkage_11hw: Tensor
    selection_1Chw: Tensor


class XMem(nn.Module):
    """XMem's network; everything that lasts from frame to frame is kept outside it."""

    def __init__(self, widths: Widths = OFFICIAL_WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        self.key_encoder = _KeyEncoder(widths.base)
        self.value_encoder = _ValueEncoder(widths)
        self.key_proj = _KeyProjection(16 * widths.base, widths.key)
        self.decoder = _Decoder(widths)

    def encode_key(self, image_1CHW: Tensor) -> tuple[Key, FeaturePyramid]:
        """Encode a frame as its memory key and features."""
        features = self.key_encoder(image_1CHW)
        return self.key_proj(features.f16), features

    def encode_value(
        self, image_1CHW: Tensor, features: FeaturePyramid, hidden_OChw: Tensor, masks_OHW: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Encode the objects as memory values, value_OChw, and their new hidden state.

        Args:
            masks_OHW: in [0, 1], of every object.
        """
        value_OChw: Tensor = self.value_encoder(image_1CHW, features.f16, masks_OHW)
        return value_OChw, self.value_encoder.hidden_reinforce(value_OChw, hidden_OChw)

    def segment(
        self, features: FeaturePyramid, readout_OChw: Tensor, hidden_OChw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode logits (O, H, W) of each object on its own, and the new hidden state.

        Args:
            readout_OChw: values read from the memory for this frame.
        """
        logits_OHW, hidden = self.decoder(features, readout_OChw, hidden_OChw)
        return logits_OHW, hidden


def aggregate(prob_OHW: Tensor) -> tuple[Tensor, Tensor]:
    """Let objects and background compete for every pixel (soft aggregation, STM).

    Args:
        prob_OHW: of each object on its own, in [0, 1].
    Returns:
        Logits and probabilities, (1 + O, H, W), background first; probabilities add up to 1.
    """
    background_1HW = torch.prod(1 - prob_OHW, dim=0, keepdim=True)
    prob = torch.cat([background_1HW, prob_OHW]).float().clamp(1e-7, 1 - 1e-7)
    logits = torch.log(prob / (1 - prob))
    return logits, logits.softmax(dim=0)


def load(state: object) -> XMem:
    """Build a network from weights, its widths read off them, ready for inference.

    Raises:
        ValueError: they are no state dict.
        RuntimeError: tensors are missing, left over or of other shapes.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"expected a state dict, got {type(state).__name__}")

    def width(name: str, official: int) -> int:
        return len(state[name]) if name in state else official

    network = XMem(
        Widths(
            base=width("key_encoder.conv1.weight", OFFICIAL_WIDTHS.base),
            key=width("key_proj.key_proj.weight", OFFICIAL_WIDTHS.key),
            value=width("value_encoder.fuser.block2.conv2.weight", OFFICIAL_WIDTHS.value),
            hidden=width("decoder.hidden_update.transform.weight", 3 * OFFICIAL_WIDTHS.hidden) // 3,
        )
    )
    network.load_state_dict(state, strict=True)
    return network.eval()


class _KeyEncoder(nn.Module):
    """ResNet-50 without its last stage."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.res2, self.layer2, self.layer3 = resnet50_stages(base)

    def forward(self, image: Tensor) -> FeaturePyramid:
        f4 = self.res2(self.maxpool(torch.relu(self.bn1(self.conv1(image)))))
        f8 = self.layer2(f4)
        return FeaturePyramid(self.layer3(f8), f8, f4)


class _ValueEncoder(nn.Module):
    """ResNet-18 without its last stage, on image, mask and the sum of the other masks."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        base = widths.base
        self.conv1 = nn.Conv2d(5, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1, self.layer2, self.layer3 = resnet18_stages(base)
        self.fuser = Fusion(16 * base + 4 * base, widths.value, widths.value)
        self.hidden_reinforce = HiddenReinforcer(widths.value, widths.hidden)

    def forward(self, image_1CHW: Tensor, f16: Tensor, masks_OHW: Tensor) -> Tensor:
        others_OHW = masks_OHW.sum(dim=0) - masks_OHW
        image = image_1CHW.expand(len(masks_OHW), -1, -1, -1)
        g = torch.cat([image, torch.stack([masks_OHW, others_OHW], dim=1)], dim=1)
        # Unlike the key encoder: pooled before the ReLU, as the checkpoints were trained.
        g = torch.relu(self.maxpool(self.bn1(self.conv1(g))))
        g = self.layer3(self.layer2(self.layer1(g)))
        value: Tensor = self.fuser(f16, g)
        return value


class _KeyProjection(nn.Module):
    def __init__(self, in_channels: int, key: int) -> None:
        super().__init__()
        self.key_proj = nn.Conv2d(in_channels, key, 3, padding=1)
        self.d_proj = nn.Conv2d(in_channels, 1, 3, padding=1)
        self.e_proj = nn.Conv2d(in_channels, key, 3, padding=1)

    def forward(self, f16: Tensor) -> Key:
        # Similarities are differences of large sums: keys are kept in full precision.
        key, shrinkage = self.key_proj(f16).float(), self.d_proj(f16).float() ** 2 + 1
        return Key(key, shrinkage, torch.sigmoid(self.e_proj(f16).float()))


class _Decoder(nn.Module):
    def __init__(self, widths: Widths) -> None:
        super().__init__()
        base, middle = widths.base, 8 * widths.base
        self.fuser = Fusion(16 * base + widths.value + widths.hidden, middle, middle)
        self.hidden_update = HiddenUpdater((middle, 4 * base, 4 * base + 1), widths.hidden)
        self.up_16_8 = Upsample(8 * base, middle, 4 * base)
        self.up_8_4 = Upsample(4 * base, 4 * base, 4 * base)
        self.pred = nn.Conv2d(4 * base, 1, 3, padding=1)

    def forward(
        self, features: FeaturePyramid, readout: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        g16 = self.fuser(features.f16, torch.cat([readout, hidden], dim=1))
        g8 = self.up_16_8(features.f8, g16)
        g4 = self.up_8_4(features.f4, g8)
        logits = self.pred(torch.relu(g4))
        new_hidden = self.hidden_update(g16, g8, torch.cat([g4, logits], dim=1), hidden)
        logits = functional.interpolate(
            logits, scale_factor=4.0, mode="bilinear", align_corners=False
        )
        return logits[:, 0].float(), new_hidden
