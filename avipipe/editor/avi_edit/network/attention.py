"""Attention as Wan has it, over all tokens or within latent frames."""

from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import Tensor, nn

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines of the tokens' positions."""


def self_attention(dim: int, num_heads: int, eps: float) -> WanAttention:
    """Tokens attend to each other."""
    return _attention(dim, num_heads, eps, None)


def cross_attention(dim: int, num_heads: int, eps: float) -> WanAttention:
    """Tokens attend to others of the same width."""
    return _attention(dim, num_heads, eps, dim // num_heads)


def mute(attention: WanAttention) -> None:
    """Let attention give zeros, until it learns."""
    out = attention.to_out[0]
    assert isinstance(out, nn.Linear)
    nn.init.zeros_(out.weight)
    nn.init.zeros_(out.bias)


def by_frame(x_BSD: Tensor, num_frames: int) -> Tensor:
    """Make a batch of the frames: (B T, S / T, D)."""
    batch_size, num_tokens, dim = x_BSD.shape
    return x_BSD.reshape(batch_size * num_frames, num_tokens // num_frames, dim)


def _attention(dim: int, num_heads: int, eps: float, cross_head_dim: int | None) -> WanAttention:
    return WanAttention(
        dim,
        num_heads,
        dim // num_heads,
        eps,
        cross_attention_dim_head=cross_head_dim,
        processor=WanAttnProcessor(),  # type: ignore[no-untyped-call]
    )
