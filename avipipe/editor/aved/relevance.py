"""What a network shows while it is asked: its tokens, and how much they look to some words."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class Shown:
    """What was seen of one pass through a network.

    Attributes:
        tokens: of each self-attention in the blocks upwards, (1, N, D), in the order of the pass.
        looks: of each cross-attention of one block, the share of its looks that goes to the
            words, (N,), from 0 to 1.
    """

    tokens: list[Tensor] = field(default_factory=list)
    looks: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MarkedWords:
    """Which tokens of a text are looked for: `marks_L`, bool; the text's states are (1, M, E)."""

    marks_L: Tensor
    states: Tensor


@contextmanager
def watched(network: Any, block: int, words: MarkedWords | None = None) -> Iterator[Shown]:
    """Watch a UNet of diffusers meanwhile.

    Args:
        block: which one upwards is asked for looks.
        words: None where looks are not wanted.
    """
    shown = Shown()
    with ExitStack() as stack:
        for index, level in enumerate(network.up_blocks):
            for transformer in transformers_of(level):
                hook = transformer.attn1.register_forward_hook(_keep(shown.tokens))
                stack.callback(hook.remove)
                if words is not None and index == block:
                    hook = transformer.attn2.register_forward_pre_hook(
                        _look(shown.looks, words), with_kwargs=True
                    )
                    stack.callback(hook.remove)
        yield shown


def transformers_of(block: Any) -> Iterator[Any]:
    """The transformer blocks of a block of a UNet; some have none."""
    for attention in getattr(block, "attentions", ()):
        yield from attention.transformer_blocks


def share_of_looks(
    attention: Any, hidden: Tensor, words: MarkedWords, bias: Tensor | None = None
) -> Tensor:
    """How much of each place's attention goes to words, the mean over heads, (N,).

    Args:
        attention: diffusers' cross-attention.
        hidden: (1, N, D).
        bias: of the text's padding, (1, 1, M).
    Source: AvED (arXiv 2503.20782), Eq. 3.
    """
    query_HND, key_HMD = (
        project(states)[0].unflatten(1, (attention.heads, -1)).transpose(0, 1).float()
        for project, states in ((attention.to_q, hidden), (attention.to_k, words.states))
    )
    logits_HNM = query_HND @ key_HMD.transpose(1, 2) * attention.scale
    if bias is not None:
        logits_HNM = logits_HNM + bias.float()
    marked = words.marks_L.nonzero()[:, 0]
    shares_N: Tensor = logits_HNM.softmax(-1)[..., marked].sum(-1).mean(0)
    return shares_N


def min_max(relevance: Tensor) -> Tensor:
    """Values from 0 to 1 over all there is; where all are alike, nothing stands out."""
    lowest, highest = relevance.min(), relevance.max()
    if highest == lowest:
        return torch.zeros_like(relevance)
    return (relevance - lowest) / (highest - lowest)


def _keep(tokens: list[Tensor]) -> Callable[[Any, Any, Tensor], None]:
    def hook(module: Any, given: Any, found: Tensor) -> None:
        tokens.append(found)

    return hook


def _look(looks: list[Tensor], words: MarkedWords) -> Callable[[Any, Any, Mapping[str, Any]], None]:
    def hook(module: Any, given: Any, named: Mapping[str, Any]) -> None:
        states = named.get("encoder_hidden_states")
        if states is not None and states.shape == words.states.shape:
            bias = named.get("attention_mask")
            looks.append(share_of_looks(module, given[0], words, bias))

    return hook
