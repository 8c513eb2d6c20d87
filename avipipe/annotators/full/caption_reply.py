"""What a captioning model must answer, how its answer is read, and the one chance to mend it."""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from avipipe.annotators.base import Caption
from avipipe.annotators.full.caption_prompt import Message
from avipipe.errors import AnnotatorError

MAX_TOKENS = 320
"""A reply of the greatest length allowed takes about 200."""

MAX_REPLY_CHARS = 20_000
MAX_CAPTION_CHARS = 600
MAX_LABEL_CHARS = 60
MIN_CAPTION_WORDS = 3
_SHOWN_CHARS = 500

_DECODER = json.JSONDecoder()
_ARTICLE = re.compile(r"^(a|an|the)(\s+|$)", re.IGNORECASE)
_LEAK = re.compile(
    r"\b(bounding box|outlined|magenta (rectangle|box|outline|frame))\b", re.IGNORECASE
)


class ReplyError(ValueError):
    """A reply that holds no usable caption; the message tells the model what to mend."""


def _clean(text: str) -> str:
    words = " ".join(text.split())
    if not words:
        raise ValueError("must not be empty")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in words):
        raise ValueError("must not hold control characters or halves of surrogate pairs")
    return words


def _check_caption(text: str) -> str:
    text = _clean(text)
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


def _check_label(text: str) -> str:
    text = _ARTICLE.sub("", _clean(text).rstrip(" .,;:!"))
    if not any(map(str.isalnum, text)):
        raise ValueError("must name the instance")
    if len(text) > MAX_LABEL_CHARS:
        raise ValueError(
            f"must be a noun phrase of at most {MAX_LABEL_CHARS} characters, found {len(text)}"
        )
    return text


class Reply(BaseModel):
    """The JSON object that a model answers with.

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

    caption: Annotated[str, AfterValidator(_check_caption)]
    label: Annotated[str, AfterValidator(_check_label)]
    sounding: float | None = Field(None, ge=0, le=1)


def parse(text: str) -> Caption:
    """Read a reply; code fences, prose and thoughts around its JSON object are passed over.

    Raises:
        ReplyError: there is no such object, or it is not what was asked for.
    """
    if len(text) > MAX_REPLY_CHARS:
        raise ReplyError(f"the reply is {len(text)} characters long, expected one JSON object")
    answer = text.rpartition("</think>")[2]
    problems = ["there is no JSON object in it" if answer.strip() else "the reply is empty"]
    for start in (match.start() for match in re.finditer(r"\{", answer)):
        try:
            reply = Reply.model_validate(_DECODER.raw_decode(answer, start)[0])
        except ValidationError as error:
            problems.append("; ".join(map(_explain, error.errors())))
        except (ValueError, RecursionError) as error:
            problems[:1] = [f"its JSON object is broken: {error}"]
        else:
            return Caption(text=reply.caption, label=reply.label, confidence=reply.sounding)
    raise ReplyError(problems[-1])


def ask(model: Callable[[Sequence[Message]], str], question: Message) -> Caption:
    """Have a model answer; if its reply cannot be used, tell it why, once.

    Args:
        model: gives the reply to a conversation.
    Raises:
        AnnotatorError: neither reply can be used.
    """
    reply = model([question])
    try:
        return parse(reply)
    except ReplyError as error:
        first = error
    complaint = f"This cannot be used: {first}. Answer with the JSON object alone."
    again = model(
        [
            question,
            Message("assistant", (reply[:_SHOWN_CHARS],)),
            Message("user", (complaint,)),
        ]
    )
    try:
        return parse(again)
    except ReplyError as second:
        raise AnnotatorError(
            message=f"no usable caption in two replies; first: {first}; then: {second}",
            # Quoted, as a reply may hold anything, such as what a terminal would obey.
            log_tail=f"{reply[-_SHOWN_CHARS:]!r}\n{again[-_SHOWN_CHARS:]!r}",
        ) from second


def _explain(problem: Any) -> str:
    where = ".".join(map(str, problem["loc"])) or "the object"
    return f"`{where}`: {problem['msg'].removeprefix('Value error, ')}"
