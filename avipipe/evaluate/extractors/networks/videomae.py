"""VideoMAE-v2's vision transformer, from blocks that timm has.

B videos, T frames, N tokens (of two frames and a square of pixels each), D numbers each.

Source: Wang et al., VideoMAE V2 (CVPR 2023); songweige/content-debiased-fvd@a1e037a (MIT),
`third_party/VideoMAEv2`.
"""

from collections.abc import Mapping

import numpy as np
import torch
from timm.layers.norm import LayerNorm  # with the epsilon of VideoMAE, 1e-6
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

SIZE_PX = 224
"""Side of the pictures that the network was trained on."""
_NUM_STEPS = 8
"""Places in time of the position embedding: sixteen frames, two a token."""
_HEAD = 88
"""Numbers of each attention head of ViT-g."""
_NUDGE = 0.1
"""Steps that are added to a length before positions are stretched, against rounding down."""


class VideoMae(nn.Module):
    """The network from video to one feature, its sizes those of its checkpoint."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        width, colours, span, patch, _ = state["patch_embed.proj.weight"].shape
        hidden = len(state["blocks.0.mlp.fc1.bias"])
        depth = sum(name.endswith(".attn.qkv.weight") for name in state)
        self._grid = SIZE_PX // patch
        kernel = (span, patch, patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(colours, width, kernel, kernel)})
        self.blocks = nn.Sequential(
            *(
                Block(
                    width,
                    num_heads=width // _HEAD,
                    mlp_ratio=hidden / width,
                    qkv_bias=True,
                    norm_layer=LayerNorm,
                )
                for _ in range(depth)
            )
        )
        self.fc_norm = LayerNorm(width)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """The mean of all tokens after the last norm (B, D), of video of 224 x 224 in [0, 1]."""
        patches_BDthw = self.patch_embed["proj"](video_BCTHW)
        tokens = patches_BDthw.flatten(2).transpose(1, 2)
        tokens = tokens + self._positions(patches_BDthw.shape[2], tokens)
        feature: Tensor = self.fc_norm(self.blocks(tokens).mean(dim=1))
        return feature

    def _positions(self, num_steps: int, like: Tensor) -> Tensor:
        """Sines and cosines of the token's number, stretched in time where a clip is not of 16."""
        grid, width = self._grid, like.shape[-1]
        numbers = np.arange(_NUM_STEPS * grid * grid)[:, None]
        angles = numbers / 10_000 ** (2 * (np.arange(width) // 2) / width)
        angles[:, 0::2], angles[:, 1::2] = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
        positions = torch.tensor(angles, dtype=like.dtype, device=like.device)[None]
        if num_steps == _NUM_STEPS:
            return positions
        cube = positions.transpose(1, 2).reshape(1, width, _NUM_STEPS, grid, grid)
        factors = ((num_steps + _NUDGE) / _NUM_STEPS, 1, 1)
        cube = functional.interpolate(cube, scale_factor=factors, mode="trilinear")
        return cube.flatten(2).transpose(1, 2)


def converted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under timm's names: keys have no bias of their own, and the classes go."""
    kept = {name: each for name, each in state.items() if not name.startswith("head.")}
    for name in [name for name in kept if name.endswith(".q_bias")]:
        stem = name.removesuffix("q_bias")
        q_bias, v_bias = kept.pop(name), kept.pop(f"{stem}v_bias")
        kept[f"{stem}qkv.bias"] = torch.cat([q_bias, torch.zeros_like(q_bias), v_bias])
    return kept
