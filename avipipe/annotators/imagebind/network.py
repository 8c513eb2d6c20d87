"""ImageBind: its towers for pictures and for sound, in the names of its public weights.

B views, D numbers of a token. Sizes are those of the checkpoint.

Source: Girdhar et al., ImageBind (CVPR 2023); facebookresearch/ImageBind@53680b0,
imagebind/models (CC-BY-NC-SA-4.0; written anew here).
"""

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Tower = Literal["vision", "audio"]

# Of the network, as no tensor tells them: heads of the attention, stride of the patches of sound,
# and the epsilon of its norms but for that of the patches.
_NUM_HEADS: Mapping[Tower, int] = {"vision": 16, "audio": 12}
_AUDIO_STRIDE = 10
_EPSILON = 1e-6


class ImageBindTower(nn.Module):
    """One tower, from views to embeddings of length 1 (B, D).

    The original multiplies those of sound by 20, which no cosine sees.

    Args:
        tower: its name in the checkpoint.
        state: its part of the checkpoint (`own_part`), whose sizes it takes.
    """

    def __init__(self, tower: Tower, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._tower = tower
        stem = f"modality_preprocessors.{tower}."
        trunk = f"modality_trunks.{tower}."
        head = f"modality_heads.{tower}."
        tokens, dim = state[stem + "pos_embedding_helper.pos_embed"].shape[1:]
        blocks = {
            found[1] for name in state if (found := re.match(rf"{trunk}blocks\.(\d+)\.", name))
        }
        is_audio = tower == "audio"
        self.modality_preprocessors = _only(tower, _Stem(dim, tokens, is_audio=is_audio))
        self.modality_trunks = _only(
            tower, _Trunk(dim, len(blocks), _NUM_HEADS[tower], is_audio=is_audio)
        )
        norm, select = nn.LayerNorm(dim, eps=_EPSILON), nn.Identity()
        out = nn.Linear(dim, len(state[head + "2.weight"]), bias=False)
        self.modality_heads = _only(tower, nn.Sequential(norm, select, out))

    def forward(self, views: Tensor) -> Tensor:
        """Embeddings (B, D) of views (B, 3, 2, 224, 224) or (B, 1, 128, 204)."""
        tokens_BND = self.modality_preprocessors[self._tower](views)
        tokens_BND = self.modality_trunks[self._tower](tokens_BND)
        embeddings_BD: Tensor = self.modality_heads[self._tower](tokens_BND[:, 0])
        return functional.normalize(embeddings_BD, dim=-1)


def own_part(tower: Tower, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one tower; the scale of the original's embeddings is left out."""
    kinds = ("modality_preprocessors", "modality_trunks", "modality_heads")
    own = tuple(f"{kind}.{tower}." for kind in kinds)
    return {name: tensor for name, tensor in state.items() if name.startswith(own)}


def _only(tower: Tower, part: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({tower: part})


class _Stem(nn.Module):
    """Patches with their places, after a class token."""

    def __init__(self, dim: int, num_tokens: int, *, is_audio: bool) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding_helper = nn.ParameterDict({"pos_embed": torch.zeros(1, num_tokens, dim)})
        if is_audio:
            patches: nn.Module = nn.Conv2d(1, dim, 16, stride=_AUDIO_STRIDE, bias=False)
            self.rgbt_stem = nn.ModuleDict({"proj": patches, "norm_layer": nn.LayerNorm(dim)})
        else:
            size = (2, 14, 14)
            patches = nn.Conv3d(3, dim, size, stride=size, bias=False)
            self.rgbt_stem = nn.ModuleDict({"proj": nn.Sequential(nn.Identity(), patches)})

    def forward(self, views: Tensor) -> Tensor:
        patches_BND = self.rgbt_stem["proj"](views).flatten(2).transpose(1, 2)
        if "norm_layer" in self.rgbt_stem:
            patches_BND = self.rgbt_stem["norm_layer"](patches_BND)
        cls = self.cls_token.expand(len(patches_BND), -1, -1)
        tokens_BND: Tensor = torch.cat([cls, patches_BND], dim=1)
        placed_BND: Tensor = tokens_BND + self.pos_embedding_helper["pos_embed"]
        return placed_BND


class _Trunk(nn.Module):
    def __init__(self, dim: int, num_blocks: int, num_heads: int, *, is_audio: bool) -> None:
        super().__init__()
        first = nn.Identity() if is_audio else nn.LayerNorm(dim, eps=_EPSILON)
        self.pre_transformer_layer = nn.Sequential(first)
        self.blocks = nn.Sequential(
            *(_Block(dim, num_heads, has_extra_key=is_audio) for _ in range(num_blocks))
        )

    def forward(self, tokens_BND: Tensor) -> Tensor:
        found_BND: Tensor = self.blocks(self.pre_transformer_layer(tokens_BND))
        return found_BND


class _Block(nn.Module):
    def __init__(self, dim: int, num_heads: int, *, has_extra_key: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(
            dim, num_heads, add_bias_kv=has_extra_key, batch_first=True
        )
        self.norm_1 = nn.LayerNorm(dim, eps=_EPSILON)
        self.norm_2 = nn.LayerNorm(dim, eps=_EPSILON)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, x_BND: Tensor) -> Tensor:
        normal_BND = self.norm_1(x_BND)
        x_BND = x_BND + self.attn(normal_BND, normal_BND, normal_BND, need_weights=False)[0]
        hidden = functional.gelu(self.mlp["fc1"](self.norm_2(x_BND)))
        moved_BND: Tensor = x_BND + self.mlp["fc2"](hidden)
        return moved_BND
