"""What a captioning model must answer, and how its answer is read."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from avipipe.annotators.base import SceneCaption
from avipipe.services import reply as replies
from avipipe.services.reply import Message

MAX_TOKENS = 320
"""Most tokens of a reply; the longest that is allowed takes about 200."""

# What is taken for one to three sentences, and for a noun phrase. Choices.
MAX_CAPTION_CHARS = 600
MAX_LABEL_CHARS = 60
MIN_CAPTION_WORDS = 3

_ARTICLE = re.compile(r"^(a|an|the)(\s+|$)", re.IGNORECASE)
_LEAK = re.compile(
    r"\b(bounding box|outlined|magenta (rectangle|box|outline|frame))\b", re.IGNORECASE
)


def clean(text: str) -> str:
    """The text in one line.

    Raises:
        ValueError: it is empty, or holds what cannot be stored.
    """
    words = " ".join(text.split())
    if not words:
        raise ValueError("must not be empty")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in words):
        raise ValueError("must not hold control characters or halves of surrogate pairs")
    return words


def check_caption(text: str) -> str:
    """A caption as it may be stored.

    Raises:
        ValueError: it is none; the message tells a model what to mend. So do the checks beside it.
    """
    text = clean(text)
    if len(text) > MAX_CAPTION_CHARS:
        raise ValueError(
            f"must be one to three sentences of at most {MAX_CAPTION_CHARS} characters, "
            f"found {len(text)}"
        )
    if len(text.split()) < MIN_CAPTION_WORDS:
        raise ValueError(f"must be an English sentence, found {text!r}")
    if leak := _LEAK.search(text):
        raise ValueError(f"must describe the scene, not the marking: found {leak[0]!r}")
    return text


def check_label(text: str) -> str:
    """A noun phrase without its article. Raises ValueError: it is none."""
    text = _ARTICLE.sub("", clean(text).rstrip(" .,;:!"))
    if not any(map(str.isalnum, text)):
        raise ValueError("must name the instance")
    if len(text) > MAX_LABEL_CHARS:
        raise ValueError(
            f"must be a noun phrase of at most {MAX_LABEL_CHARS} characters, found {len(text)}"
        )
    return text


class Reply(BaseModel):
    """The JSON object that a captioning model answers with.

    Attributes:
        caption: one to three sentences on the scene.
        label: a noun phrase that names the instance.
        sounding: how sure the pictures make the model that the instance makes the sound.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        # The form in which endpoints that enforce a schema want it; the parser is more lenient.
        json_schema_extra={
            "additionalProperties": False,
            "required": ["caption", "label", "sounding"],
        },
    )

    caption: Annotated[str, AfterValidator(check_caption)]
    label: Annotated[str, AfterValidator(check_label)]
    sounding: float | None = Field(None, ge=0, le=1)


def parse(text: str) -> SceneCaption:
    """Read a reply; code fences, prose and thoughts around its JSON object are passed over.

    Raises:
        ReplyError: there is no such object, or it is not what was asked for.
    """
    reply = replies.read(text, Reply)
    return SceneCaption(text=reply.caption, label=reply.label, confidence=reply.sounding)


def request_caption(model: Callable[[Sequence[Message]], str], question: Message) -> SceneCaption:
    """Ask a model for a caption; if its reply cannot be used, tell it why, once.

    Args:
        model: gives the reply to a conversation.
    Raises:
        AnnotatorError: neither reply can be used.
    """
    return replies.request_object(model, question, parse, what="caption")
