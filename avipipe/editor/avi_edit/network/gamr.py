"""The granularity-aware mask refiner: blocks at the side of the video's that sharpen a mask.

Mask tokens attend to themselves, then to the video tokens of their own latent frame, then to its
audio. Its blocks only read the video; leaving them out does not change the velocity.

Source: AVI-Edit (arXiv 2512.10571), GAMR; layout of the released network.
"""

import math
from typing import cast

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from torch import Tensor, nn

from avipipe.editor.avi_edit.network.attention import (
    Rotary,
    by_frame,
    cross_attention,
    mute,
    self_attention,
)
from avipipe.editor.avi_edit.network.audio import AudioTokens
from avipipe.editor.avi_edit.network.modulation import PrecisionEmbedding, gate, modulate
from avipipe.editor.avi_edit.sizes import PATCH

PRIOR = 0.1
"""Share of cells that an untrained refiner takes to be in the mask: where a focal loss begins."""


class GamrBlock(nn.Module):
    """One block of the refiner; names are those of a Wan block where it has the same part."""

    def __init__(self, dim: int, ffn_dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.norm1 = FP32LayerNorm(dim, eps, elementwise_affine=True)
        self.attn1 = self_attention(dim, num_heads, eps)
        self.norm2 = FP32LayerNorm(dim, eps, elementwise_affine=True)
        self.attn2 = cross_attention(dim, num_heads, eps)
        self.norm3 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.norm4 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.attn3 = cross_attention(dim, num_heads, eps)
        self.scale_shift_table = nn.Parameter(torch.empty(1, 6, dim))
        self.video_table = nn.Parameter(torch.empty(1, 3, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Tables as in Wan; deaf at first."""
        std = self.scale_shift_table.shape[-1] ** -0.5
        nn.init.normal_(self.scale_shift_table, std=std)
        nn.init.normal_(self.video_table, std=std)
        mute(self.attn3)

    def forward(
        self,
        mask_BSD: Tensor,
        video_BSD: Tensor,
        modulation_BG6D: Tensor,
        rotary: Rotary,
        num_frames: int,
        audio: AudioTokens | None,
    ) -> Tensor:
        """Refine mask tokens by what the video and its sound show.

        Args:
            mask_BSD, video_BSD: tokens of mask and video at the same places.
            modulation_BG6D: of time and precision.
            rotary: positions of the tokens.
            num_frames: latent frames of the clip.
            audio: what is heard; None leaves it out.
        """
        shift, scale, gate1, ffn_shift, ffn_scale, ffn_gate = (
            self.scale_shift_table + modulation_BG6D.float()
        ).unbind(dim=2)
        x = modulate(self.norm1(mask_BSD.float()), shift, scale).type_as(mask_BSD)
        mask_BSD = _add(mask_BSD, self.attn1(x, None, None, rotary), gate1)

        shift, scale, gate2 = (self.video_table + modulation_BG6D[:, :, :3].float()).unbind(dim=2)
        x = modulate(self.norm2(mask_BSD.float()), shift, scale).type_as(mask_BSD)
        mask_BSD = _add(mask_BSD, self._look(x, video_BSD, num_frames), gate2)

        x = modulate(self.norm3(mask_BSD.float()), ffn_shift, ffn_scale).type_as(mask_BSD)
        mask_BSD = _add(mask_BSD, self.ffn(x), ffn_gate)
        if audio is None:
            return mask_BSD
        x = self.norm4(mask_BSD.float()).type_as(mask_BSD)
        return mask_BSD + audio.attend(self.attn3, x)

    def _look(self, query_BSD: Tensor, video_BSD: Tensor, num_frames: int) -> Tensor:
        query, video = by_frame(query_BSD, num_frames), by_frame(video_BSD, num_frames)
        seen: Tensor = self.attn2(query, video)
        return seen.reshape(query_BSD.shape)


def _add(x_BSD: Tensor, branch_BSD: Tensor, gate_BGD: Tensor) -> Tensor:
    return (x_BSD.float() + gate(branch_BSD.float(), gate_BGD)).type_as(x_BSD)


class MaskHead(nn.Module):
    """Turns mask tokens into logits; modulated by the precision only."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.norm = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.proj = nn.Linear(dim, PATCH**2)
        self.scale_shift_table = nn.Parameter(torch.empty(1, 2, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Starts at the prior; small but not zero, so that gradient gets behind it at once."""
        nn.init.normal_(self.scale_shift_table, std=self.scale_shift_table.shape[-1] ** -0.5)
        nn.init.normal_(self.proj.weight, std=0.02)
        nn.init.constant_(self.proj.bias, math.log(PRIOR / (1 - PRIOR)))

    def forward(self, mask_BSD: Tensor, embedding_BD: Tensor) -> Tensor:
        """Logits of the cells of each token, (B, S, 4)."""
        table = self.scale_shift_table + embedding_BD[:, None].float()
        x = modulate(self.norm(mask_BSD.float()), *table.chunk(2, dim=1)).type_as(mask_BSD)
        return cast(Tensor, self.proj(x))


class MaskRefiner(nn.Module):
    """The blocks by the number of the video block that each follows, and what is around them."""

    def __init__(
        self, dim: int, ffn_dim: int, num_heads: int, layers: tuple[int, ...], eps: float
    ) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv3d(1, dim, (1, PATCH, PATCH), stride=(1, PATCH, PATCH))
        self.precision = PrecisionEmbedding(dim)
        self.blocks = nn.ModuleDict(
            {str(layer): GamrBlock(dim, ffn_dim, num_heads, eps) for layer in layers}
        )
        self.head = MaskHead(dim, eps)
