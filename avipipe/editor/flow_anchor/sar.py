"""Spatial-aware attention refinement: the words of the edit look to where it is to be.

Logits of cross-attention are changed before the softmax, in two steps. Inside of the mask, anchor
words are pulled towards the highest logit of their place and all other words towards the lowest;
then each anchor word is pulled towards its highest logit of the whole video inside of the mask, and
towards its lowest outside, which ties frames together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Anchors:
    """Which words are to be seen where.

    Attributes:
        words_L: which tokens of the prompt are anchors, bool; padding is not among them.
        inside_N: which tokens of the video the mask touches, bool, by time, row and column.
        text_strength, space_strength: beta 1 and beta 2, from 0 (nothing changes) to 1.
    """

    words_L: Tensor
    inside_N: Tensor
    text_strength: float
    space_strength: float

    def to(self, device: torch.device | str) -> Self:
        """These anchors with their tensors on a device."""
        words_L, inside_N = self.words_L.to(device), self.inside_N.to(device)
        return type(self)(words_L, inside_N, self.text_strength, self.space_strength)

    def refine(self, logits_NL: Tensor) -> Tensor:
        """Logits (…, N, L) of heads, each refined by itself.

        Source: FlowAnchor (arXiv 2604.22586), section 3.2 and supplement.
        """
        inside = self.inside_N[:, None]
        highest, lowest = logits_NL.amax(-1, keepdim=True), logits_NL.amin(-1, keepdim=True)
        towards = torch.where(self.words_L, highest, lowest)
        refined = torch.where(inside, torch.lerp(logits_NL, towards, self.text_strength), logits_NL)
        highest, lowest = refined.amax(-2, keepdim=True), refined.amin(-2, keepdim=True)
        towards = torch.where(inside, highest, lowest)
        return torch.where(self.words_L, torch.lerp(refined, towards, self.space_strength), refined)


class AnchoredAttention:
    """Cross-attention of diffusers' Wan, with logits refined; one head at a time is held."""

    def __init__(self, anchors: Anchors) -> None:
        self.anchors = anchors

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """As diffusers' `WanAttnProcessor` for text, whose padding is looked at as it is."""
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        key = attn.norm_k(attn.to_k(encoder_hidden_states)).unflatten(2, (attn.heads, -1))
        value = attn.to_v(encoder_hidden_states).unflatten(2, (attn.heads, -1))
        heads = [
            self._head(query[:, :, head], key[:, :, head], value[:, :, head])
            for head in range(attn.heads)
        ]
        found: Tensor = attn.to_out[1](attn.to_out[0](torch.cat(heads, dim=-1)))
        return found

    def _head(self, query_BND: Tensor, key_BMD: Tensor, value_BMD: Tensor) -> Tensor:
        num_words = len(self.anchors.words_L)
        logits_BNM = query_BND.float() @ key_BMD.float().transpose(1, 2)
        logits_BNM *= query_BND.shape[-1] ** -0.5
        logits_BNM[..., :num_words] = self.anchors.refine(logits_BNM[..., :num_words])
        return logits_BNM.softmax(-1).to(value_BMD.dtype) @ value_BMD


@contextmanager
def anchored(network: Any, anchors: Anchors | None) -> Iterator[None]:
    """Refine the cross-attention of all blocks of a `WanTransformer3DModel` meanwhile.

    Args:
        anchors: on the device of the network; None leaves all as it is.
    """
    if anchors is None:
        yield
        return
    attentions = [block.attn2 for block in network.blocks]
    before = [attention.processor for attention in attentions]
    for attention in attentions:
        attention.set_processor(AnchoredAttention(anchors))
    try:
        yield
    finally:
        for attention, processor in zip(attentions, before, strict=True):
            attention.set_processor(processor)
