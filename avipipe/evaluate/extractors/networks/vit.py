"""The vision transformers of DINO and DINOv2, which timm has under the names of their checkpoints.

B pictures, N tokens (the class token first), D numbers each.

Source: Caron et al., DINO (ICCV 2021), facebookresearch/dino (Apache-2.0); Oquab et al., DINOv2
(2023), facebookresearch/dinov2 (Apache-2.0).
"""

from collections.abc import Mapping
from math import isqrt

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

_HEAD = 64
"""Numbers of each attention head in every DINO."""
_NUDGE = 0.1
"""Patches that DINO adds to a size before it stretches its positions, against rounding down."""


class DinoVit(nn.Module):
    """A transformer for pictures of any size, whose sizes are those of its checkpoint."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        width, _, patch, _ = state["patch_embed.proj.weight"].shape
        self._grid = isqrt(state["pos_embed"].shape[1] - 1)
        self.patch_px = patch
        self.vit = VisionTransformer(
            img_size=self._grid * patch,
            patch_size=patch,
            embed_dim=width,
            depth=sum(name.endswith(".attn.qkv.weight") for name in state),
            num_heads=width // _HEAD,
            num_classes=0,
            init_values=1.0 if "blocks.0.ls1.gamma" in state else None,
        )

    def cls(self, pictures_BCHW: Tensor) -> Tensor:
        """The class token after the last norm, (B, D)."""
        tokens: Tensor = self.vit.norm(self.vit.blocks(self._embed(pictures_BCHW)))
        return tokens[:, 0]

    def keys(self, pictures_BCHW: Tensor) -> Tensor:
        """Keys of the last block, heads concatenated, (B, N, D)."""
        *earlier, last = self.vit.blocks
        tokens = self._embed(pictures_BCHW)
        for block in earlier:
            tokens = block(tokens)
        tokens = last.get_submodule("norm1")(tokens)
        return keys_of(last.get_submodule("attn.qkv")(tokens))

    def _embed(self, pictures_BCHW: Tensor) -> Tensor:
        patches_BDhw = self.vit.patch_embed.proj(pictures_BCHW)
        patches = patches_BDhw.flatten(2).transpose(1, 2)
        cls = self.vit.get_parameter("cls_token").expand(len(patches), -1, -1)
        height, width = patches_BDhw.shape[2:]
        return torch.cat([cls, patches], dim=1) + self._positions(height, width)

    def _positions(self, height: int, width: int) -> Tensor:
        """Position embedding for a grid of patches, stretched as DINO does (timm does not)."""
        grid = self._grid
        positions: Tensor = self.vit.get_parameter("pos_embed")
        if (height, width) == (grid, grid):
            return positions
        square = positions[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
        factors = ((height + _NUDGE) / grid, (width + _NUDGE) / grid)
        square = functional.interpolate(square, scale_factor=factors, mode="bicubic")
        return torch.cat([positions[:, :1], square.flatten(2).transpose(1, 2)], dim=1)


def keys_of(qkv_BNE: Tensor) -> Tensor:
    """The keys among queries, keys and values, E = 3 D."""
    return qkv_BNE.chunk(3, dim=-1)[1]
