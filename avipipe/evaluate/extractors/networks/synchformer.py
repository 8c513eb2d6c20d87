"""Synchformer: how far the sound of 4.8 s is off, in the names of its public weights.

B segments of 0.64 s, T = 8 and 6 steps in a segment of the picture and of the sound, P patches of a
picture, N tokens of D numbers. Sizes are those of the checkpoint.

Source: Iashin et al., Synchformer (ICASSP 2024); v-iashin/Synchformer (MIT licence), as
hkchengrex/av-benchmark@050a5cd has it, with the divided attention of Motionformer (Patrick et al.,
NeurIPS 2021) and AST (Gong et al., Interspeech 2021).
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_STEPS_SEEN = 8
"""Of two frames each in a segment."""
# Of the network, as no tensor tells them: heads of the encoders and of what compares them, epsilon
# of the norms of the encoders and of AST, stride of patches of sound, of which there are so many
# over frequency and over time.
_ENCODER_HEADS, _COMPARING_HEADS = 12, 8
_EPSILON, _AST_EPSILON = 1e-6, 1e-12
_AST_STRIDE = 10
_BANDS_HEARD, _STEPS_HEARD = 12, 6
_PARTS = ("query", "key", "value")


class Synchformer(nn.Module):
    """Encoders of picture and sound, and the transformer that compares them.

    Args:
        state: the checkpoint, whose sizes it takes.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        dim = len(state["vproj.bias"])
        self.vfeat_extractor = _VideoEncoder(dim, _num(state, r"vfeat_extractor\.blocks\.(\d+)\."))
        self.afeat_extractor = _AudioEncoder(
            dim, _num(state, r"afeat_extractor\.ast\.encoder\.layer\.(\d+)\.")
        )
        self.vproj = nn.Linear(dim, dim)
        self.aproj = nn.Linear(dim, dim)
        self.transformer = _Comparing(
            dim,
            _num(state, r"transformer\.blocks\.(\d+)\."),
            num_tokens=state["transformer.pos_emb_cfg.pos_emb"].shape[1],
            num_classes=len(state["transformer.off_head.bias"]),
        )

    def see(self, segments_BTCHW: Tensor) -> Tensor:
        """Features (B, 8, D) of segments (B, 16, 3, 224, 224)."""
        seen_BTD: Tensor = self.vfeat_extractor(segments_BTCHW.transpose(1, 2))
        return seen_BTD

    def hear(self, segments_B1MF: Tensor) -> Tensor:
        """Features (B, 6, D) of segments (B, 1, 128, 66)."""
        heard_BTD: Tensor = self.afeat_extractor(segments_B1MF)
        return heard_BTD

    def compare(self, seen_STD: Tensor, heard_STD: Tensor) -> Tensor:
        """Logits (K,) of the offsets of 14 segments each of the picture and of the sound."""
        seen_ND, heard_ND = self.vproj(seen_STD).flatten(0, 1), self.aproj(heard_STD).flatten(0, 1)
        logits_1K: Tensor = self.transformer(seen_ND[None], heard_ND[None])
        return logits_1K[0]


def used(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that the network has: a second way to cut patches stands unused in files."""
    unused = "vfeat_extractor.patch_embed."
    return {name: tensor for name, tensor in state.items() if not name.startswith(unused)}


def _num(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({found[1] for name in state if (found := re.match(pattern, name))})


class _Pooled(nn.TransformerEncoderLayer):
    """One layer over tokens (B, N, D) and a class token, of which the latter is kept (B, D)."""

    def __init__(self, dim: int) -> None:
        super().__init__(
            dim,
            _ENCODER_HEADS,
            4 * dim,
            activation=nn.GELU(),
            layer_norm_eps=_EPSILON,
            batch_first=True,
            norm_first=True,
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))

    def pooled(self, tokens_BND: Tensor) -> Tensor:
        cls_B1D = self.cls_token.expand(len(tokens_BND), -1, -1)
        found_BND: Tensor = super().forward(torch.cat([cls_B1D, tokens_BND], dim=1))
        return found_BND[:, 0]


class _VideoEncoder(nn.Module):
    def __init__(self, dim: int, num_blocks: int) -> None:
        super().__init__()
        size = (2, 16, 16)
        self.patch_embed_3d = nn.ModuleDict({"proj": nn.Conv3d(3, dim, size, stride=size)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + 14 * 14, dim))
        self.temp_embed = nn.Parameter(torch.zeros(1, NUM_STEPS_SEEN, dim))
        self.blocks = nn.ModuleList(_DividedBlock(dim) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(dim, eps=_EPSILON)
        self.spatial_attn_agg = _Pooled(dim)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        patches_BTPD = self.patch_embed_3d["proj"](video_BCTHW).flatten(3).permute(0, 2, 3, 1)
        patches_BTPD = patches_BTPD + self.pos_embed[:, None, 1:] + self.temp_embed[:, :, None]
        batch, num_steps, num_patches, _ = patches_BTPD.shape
        cls_B1D = (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)
        tokens_BND = torch.cat([cls_B1D, patches_BTPD.flatten(1, 2)], dim=1)
        for block in self.blocks:
            tokens_BND = block(tokens_BND, num_steps)
        tokens_BND = self.norm(tokens_BND[:, 1:])
        pooled_BD = self.spatial_attn_agg.pooled(
            tokens_BND.reshape(batch * num_steps, num_patches, -1)
        )
        return pooled_BD.reshape(batch, num_steps, -1)


class _DividedBlock(nn.Module):
    """Attention over time for each place, then over places for each time."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim, eps=_EPSILON) for _ in range(3))
        self.attn = _DividedAttention(dim)
        self.timeattn = _DividedAttention(dim)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, x_BND: Tensor, num_steps: int) -> Tensor:
        x_BND = x_BND + self.timeattn(self.norm3(x_BND), num_steps, over_time=True)
        x_BND = x_BND + self.attn(self.norm1(x_BND), num_steps, over_time=False)
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(x_BND)))
        moved_BND: Tensor = x_BND + self.mlp["fc2"](hidden)
        return moved_BND


class _DividedAttention(nn.Module):
    """Patches attend to those of their place or time and to the class token, which sees all."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, num_steps: int, *, over_time: bool) -> Tensor:
        qkv = self.qkv(x_BND).unflatten(-1, (3, _ENCODER_HEADS, -1)).permute(2, 0, 3, 1, 4)
        cls, patches = qkv[..., :1, :], qkv[..., 1:, :].unflatten(-2, (num_steps, -1))
        cls_out = functional.scaled_dot_product_attention(cls[0], qkv[1], qkv[2])
        if over_time:
            patches = patches.transpose(-3, -2)
        shared = cls[1:, ..., None, :, :].expand(*patches[1:].shape[:-2], 1, -1)
        keys, values = torch.cat([shared, patches[1:]], dim=-2)
        out = functional.scaled_dot_product_attention(patches[0], keys, values)
        if over_time:
            out = out.transpose(-3, -2)
        joined = torch.cat([cls_out, out.flatten(-3, -2)], dim=-2)
        mixed_BND: Tensor = self.proj(joined.transpose(1, 2).flatten(2))
        return mixed_BND


class _AudioEncoder(nn.Module):
    def __init__(self, dim: int, num_layers: int) -> None:
        super().__init__()
        self.ast = _Ast(dim, num_layers)
        self.freq_attn_agg = _Pooled(dim)

    def forward(self, mel_B1MF: Tensor) -> Tensor:
        patches_BND = self.ast(mel_B1MF)
        bands = patches_BND.reshape(len(patches_BND), _BANDS_HEARD, _STEPS_HEARD, -1)
        bands_BTFD = bands.transpose(1, 2)
        pooled_BD: Tensor = self.freq_attn_agg.pooled(bands_BTFD.flatten(0, 1))
        return pooled_BD.reshape(-1, _STEPS_HEARD, pooled_BD.shape[-1])


class _Ast(nn.Module):
    """Patches of a spectrum (B, 1, M, F) to as many features (B, N, D)."""

    def __init__(self, dim: int, num_layers: int) -> None:
        super().__init__()
        self.embeddings = _AstEmbeddings(dim)
        layers = nn.Sequential(*(_AstLayer(dim) for _ in range(num_layers)))
        self.encoder = nn.ModuleDict({"layer": layers})
        self.layernorm = nn.LayerNorm(dim, eps=_AST_EPSILON)

    def forward(self, mel_B1MF: Tensor) -> Tensor:
        features_BND: Tensor = self.layernorm(self.encoder["layer"](self.embeddings(mel_B1MF)))
        return features_BND[:, 2:]  # without class and distillation


class _AstEmbeddings(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, dim))
        num_tokens = 2 + _BANDS_HEARD * _STEPS_HEARD
        self.position_embeddings = nn.Parameter(torch.zeros(1, num_tokens, dim))
        self.patch_embeddings = nn.ModuleDict(
            {"projection": nn.Conv2d(1, dim, 16, stride=_AST_STRIDE)}
        )

    def forward(self, mel_B1MF: Tensor) -> Tensor:
        patches_BND = self.patch_embeddings["projection"](mel_B1MF).flatten(2).transpose(1, 2)
        first_B2D = torch.cat([self.cls_token, self.distillation_token], dim=1)
        first_B2D = first_B2D.expand(len(patches_BND), -1, -1)
        return torch.cat([first_B2D, patches_BND], dim=1) + self.position_embeddings


class _AstLayer(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layernorm_before = nn.LayerNorm(dim, eps=_AST_EPSILON)
        self.layernorm_after = nn.LayerNorm(dim, eps=_AST_EPSILON)
        self.attention = _AstAttention(dim)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(dim, 4 * dim)})
        self.output = nn.ModuleDict({"dense": nn.Linear(4 * dim, dim)})

    def forward(self, x_BND: Tensor) -> Tensor:
        x_BND = x_BND + self.attention(self.layernorm_before(x_BND))
        hidden = functional.gelu(self.intermediate["dense"](self.layernorm_after(x_BND)))
        moved_BND: Tensor = x_BND + self.output["dense"](hidden)
        return moved_BND


class _AstAttention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({part: nn.Linear(dim, dim) for part in _PARTS})
        self.output = nn.ModuleDict({"dense": nn.Linear(dim, dim)})

    def forward(self, x_BND: Tensor) -> Tensor:
        mixed_BND: Tensor = self.output["dense"](_attended(x_BND, self.attention, _ENCODER_HEADS))
        return mixed_BND


def _attended(x_BND: Tensor, parts: nn.ModuleDict, num_heads: int) -> Tensor:
    """Attention of tokens to each other, with projections by the names of `_PARTS`."""
    query, key, value = (
        parts[part](x_BND).unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in _PARTS
    )
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)


class _Comparing(nn.Module):
    def __init__(self, dim: int, num_blocks: int, *, num_tokens: int, num_classes: int) -> None:
        super().__init__()
        self.vis_in_lnorm, self.aud_in_lnorm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.OFF_tok = nn.Parameter(torch.zeros(1, 1, dim))
        self.MOD_tok = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_emb_cfg = nn.ParameterDict({"pos_emb": torch.zeros(1, num_tokens, dim)})
        self.blocks = nn.Sequential(*(_Block(dim) for _ in range(num_blocks)))
        self.ln_f = nn.LayerNorm(dim)
        self.off_head = nn.Linear(dim, num_classes)

    def forward(self, seen_BND: Tensor, heard_BND: Tensor) -> Tensor:
        seen_BND, heard_BND = self.vis_in_lnorm(seen_BND), self.aud_in_lnorm(heard_BND)
        tokens_BND = torch.cat([self.OFF_tok, seen_BND, self.MOD_tok, heard_BND], dim=1)
        tokens_BND = self.blocks(tokens_BND + self.pos_emb_cfg["pos_emb"])
        logits_BK: Tensor = self.off_head(self.ln_f(tokens_BND)[:, 0])
        return logits_BK


class _Block(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.ModuleDict({part: nn.Linear(dim, dim) for part in (*_PARTS, "proj")})
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x_BND: Tensor) -> Tensor:
        mixed_BND = _attended(self.ln1(x_BND), self.attn, _COMPARING_HEADS)
        x_BND = x_BND + self.attn["proj"](mixed_BND)
        moved_BND: Tensor = x_BND + self.mlp(self.ln2(x_BND))
        return moved_BND
