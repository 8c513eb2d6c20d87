"""In which words two prompts differ, and which tokens of a prompt those are."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avipipe.editor.common.text import clean
from avipipe.errors import ConfigError, WeightsError

Span = tuple[int, int]
"""Characters of a prompt, half open."""


def anchor_spans(source: str, prompt: str, words: Sequence[str] = ()) -> list[Span]:
    """Where given words stand in a cleaned prompt, or those that the source has not.

    Raises:
        ConfigError: a given word is not in the prompt.
    """
    return _given_spans(prompt, words) if words else _new_spans(source, prompt)


def marked_tokens(tokenizer: Any, prompt: str, spans: Sequence[Span], max_tokens: int) -> Tensor:
    """Which tokens of a cleaned prompt touch spans, bool (L,); each piece of a word is one.

    Args:
        tokenizer: one that tells where its tokens stand.
        max_tokens: what is beyond is not read.
    """
    tokens = tokenizer(prompt, truncation=True, max_length=max_tokens, return_offsets_mapping=True)
    return torch.tensor(
        [
            any(start < span_end and span_start < end for span_start, span_end in spans)
            for start, end in tokens.offset_mapping
        ]
    )


def check_offsets(tokenizer: Any, folder: Path, remedy: str) -> None:
    """Refuse a tokenizer that does not tell where its tokens stand, as `marked_tokens` asks.

    Args:
        folder: where it was read from.
        remedy: what to do.
    Raises:
        WeightsError: it does not.
    """
    if not tokenizer.is_fast:
        raise WeightsError(
            f"{folder}: expected a tokenizer that tells where its tokens stand, with a "
            f"tokenizer.json, found none. {remedy}"
        )


def _given_spans(prompt: str, words: Sequence[str]) -> list[Span]:
    found = {
        word: [
            each.span()
            for each in re.finditer(rf"(?<!\w){re.escape(clean(word))}(?!\w)", prompt, re.I)
        ]
        for word in words
    }
    if absent := [word for word, spans in found.items() if not clean(word) or not spans]:
        raise ConfigError(
            f"expected anchor words that are in the prompt {prompt!r}, got "
            f"{', '.join(map(repr, absent))}"
        )
    return [span for spans in found.values() for span in spans]


def _new_spans(source: str, prompt: str) -> list[Span]:
    before = [word.casefold() for word in re.findall(r"\w+", source)]
    after = list(re.finditer(r"\w+", prompt))
    matcher = difflib.SequenceMatcher(
        None, before, [word[0].casefold() for word in after], autojunk=False
    )
    return [
        word.span()
        for kind, _, _, start, end in matcher.get_opcodes()
        if kind != "equal"
        for word in after[start:end]
    ]
