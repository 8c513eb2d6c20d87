"""ViCLIP, in the names and shapes of its public weights.

B videos of T frames, N tokens, D numbers each. Sizes are those of the checkpoint's tensors.

Source: Wang et al., InternVid (ICLR 2024); OpenGVLab/InternVideo (Apache-2.0), as VBench 0.1.5
reads it (third_party/ViCLIP).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avipipe import weights
from avipipe.annotators.reading import pull_again, reading
from avipipe.evaluate.extractors.networks.running import built, with_numpy

_FILE = "ViClip-InternVid-10M-FLT.pth"
_HEAD = 64
"""Numbers of each attention head in every CLIP."""
_GELU = 1.702
"""Of CLIP's sigmoid in place of GELU."""
_PLACES = ("class_embedding", "positional_embedding", "temporal_positional_embedding", "proj")
"""What the video tower holds beside its layers."""
_UNUSED = "temp"
"""The temperature of the training."""


class ViClip(nn.Module):
    """Embeddings of videos and of texts in one space.

    Args:
        state: tensors of a checkpoint, for their sizes.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.vision_encoder = _VideoTower(_below(state, "vision_encoder."))
        self.text_encoder = _TextTower(_below(state, "text_encoder."))


class _VideoTower(nn.Module):
    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        width, _, _, patch, _ = state["conv1.weight"].shape
        self.conv1 = nn.Conv3d(3, width, (1, patch, patch), (1, patch, patch), bias=False)
        for name in _PLACES:
            self.register_parameter(name, nn.Parameter(torch.empty(state[name].shape)))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = _Transformer(width, state)

    @property
    def num_frames(self) -> int:
        """How many a video has."""
        return self.get_parameter("temporal_positional_embedding").shape[1]

    def forward(self, videos_BCTHW: Tensor) -> Tensor:
        """The embedding (B, D) of a video of as many frames as the checkpoint has places for.

        All patches of all frames attend to each other; the class token is that of no frame.
        """
        cls, places, times, projection = (self.get_parameter(name) for name in _PLACES)
        patches_BTND = self.conv1(videos_BCTHW).flatten(3).permute(0, 2, 3, 1)
        patches_BTND = patches_BTND + places[1:] + times[..., None, :]
        first_B1D = (cls + places[0]).expand(len(patches_BTND), 1, -1)
        # The checkpoint's tokens are in the order of places, then times; attention has no order.
        tokens_BND = torch.cat([first_B1D, patches_BTND.flatten(1, 2)], dim=1)
        tokens_BND = self.transformer(self.ln_pre(tokens_BND))
        found_BD: Tensor = self.ln_post(tokens_BND[:, 0]) @ projection
        return found_BD


class _TextTower(nn.Module):
    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(*state["token_embedding.weight"].shape)
        for name in ("positional_embedding", "text_projection"):
            self.register_parameter(name, nn.Parameter(torch.empty(state[name].shape)))
        width = self.token_embedding.embedding_dim
        self.transformer = _Transformer(width, state)
        self.ln_final = nn.LayerNorm(width)

    @property
    def num_tokens(self) -> int:
        """The most that a text may have."""
        return len(self.get_parameter("positional_embedding"))

    def forward(self, tokens_BN: Tensor) -> Tensor:
        """The embedding (B, D) of texts, read off at the end token, which has the largest number.

        Padding after it moves nothing: no token sees a later one.
        """
        num = tokens_BN.shape[1]
        hidden_BND = (
            self.token_embedding(tokens_BN) + self.get_parameter("positional_embedding")[:num]
        )
        later_NN = torch.ones(num, num, dtype=torch.bool, device=tokens_BN.device).triu(1)
        hidden_BND = self.ln_final(self.transformer(hidden_BND, later_NN))
        ends = torch.arange(len(tokens_BN), device=tokens_BN.device), tokens_BN.argmax(dim=1)
        found_BD: Tensor = hidden_BND[ends] @ self.get_parameter("text_projection")
        return found_BD


class _Transformer(nn.Module):
    def __init__(self, width: int, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        num = sum(name.endswith(".attn.in_proj_weight") for name in state)
        self.resblocks = nn.ModuleList(_Block(width) for _ in range(num))

    def forward(self, tokens_BND: Tensor, hidden_NN: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            tokens_BND = block(tokens_BND, hidden_NN)
        return tokens_BND


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // _HEAD, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )

    def forward(self, tokens_BND: Tensor, hidden_NN: Tensor | None) -> Tensor:
        seen = self.ln_1(tokens_BND)
        tokens_BND = (
            tokens_BND + self.attn(seen, seen, seen, need_weights=False, attn_mask=hidden_NN)[0]
        )
        inner: Tensor = self.mlp["c_fc"](self.ln_2(tokens_BND))
        found_BND: Tensor = tokens_BND + self.mlp["c_proj"](inner * torch.sigmoid(_GELU * inner))
        return found_BND


def load_viclip(weight: str) -> ViClip:
    """The network of a checkpoint, for inference on `device()`.

    Raises:
        WeightsError: it is missing, corrupted, or holds no whole ViCLIP.
    """
    path = weights.locate(weight) / _FILE
    with reading(path, "a ViCLIP", pull_again(weight)), with_numpy():
        checkpoint: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        state = {name: each for name, each in checkpoint["model"].items() if name != _UNUSED}
    return built(ViClip, state, weight=weight)


def _below(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(part): each for name, each in state.items() if name.startswith(part)}
