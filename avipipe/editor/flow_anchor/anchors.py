"""Which words of a prompt are drawn into the mask, and which of its tokens they are."""

from collections.abc import Sequence

from torch import Tensor

from avipipe.editor.common.text import TextEncoder, clean
from avipipe.editor.common.words import anchor_spans, marked_tokens


def anchor_tokens(text: TextEncoder, source: str, prompt: str, words: Sequence[str] = ()) -> Tensor:
    """Which tokens of a prompt are anchors, bool (L,); each piece of a word is.

    Raises:
        ConfigError: a given word is not in the prompt.
    """
    prompt = clean(prompt)
    spans = anchor_spans(clean(source), prompt, words)
    return marked_tokens(text.tokenizer, prompt, spans, text.max_tokens)
