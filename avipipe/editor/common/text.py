"""UMT5, by which Wan reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from avipipe.annotators.loading import read_model
from avipipe.editor.common.dtypes import DTYPES, Precision
from avipipe.editor.common.pretrained import identity_of, read_part, ready

MAX_TOKENS = 512
"""Wan's, where the tokenizer has no smaller `model_max_length`; shorter texts are padded with zeros
to as many, which it looks at as well."""


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """UMT5, which turns captions into hidden states."""

    tokenizer: Any
    model: Any
    max_tokens: int
    identity: str

    @torch.no_grad()
    def encode(self, text: str) -> Tensor:
        """The last hidden states, (L, D), of `max_tokens` at most, without padding."""
        tokens = self.tokenizer(
            clean(text), truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        states: Tensor = self.model(tokens.input_ids.to(self.model.device)).last_hidden_state[0]
        return states.cpu()


def clean(text: str) -> str:
    """A text as the encoder is given it: single spaces."""
    return " ".join(text.split())


def load_text_encoder(
    wan: Path, precision: Precision, device: torch.device | str, *, remedy: str
) -> TextEncoder:
    """The text encoder of a Wan in diffusers' layout, in evaluation mode.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it is missing or not whole.
    """
    folder, words = wan / "text_encoder", wan / "tokenizer"
    model = read_model(UMT5EncoderModel, folder, remedy=remedy, dtype=DTYPES[precision])
    tokenizer = read_part(AutoTokenizer, words, remedy)
    return TextEncoder(
        tokenizer,
        ready(model, device),
        min(MAX_TOKENS, tokenizer.model_max_length),
        identity_of(f"{precision} {MAX_TOKENS}", folder, words),
    )
