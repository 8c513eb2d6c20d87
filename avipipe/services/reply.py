"""Structured replies: a model is asked for one JSON object, and gets one chance to mend it."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from avipipe.errors import AnnotatorError

T = TypeVar("T")
SchemaT = TypeVar("SchemaT", bound=BaseModel)

MAX_REPLY_CHARS = 20_000
_SHOWN_CHARS = 500

_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation with a model, in order.

    Attributes:
        content: texts, pictures (H, W, 3), and whatever else the model takes.
    """

    role: Literal["user", "assistant"]
    content: tuple[Any, ...]


class ReplyError(ValueError):
    """A reply that holds nothing usable; the message tells the model what to mend."""


class BrokenReplyError(AnnotatorError):
    """A model answered, and twice not what was asked for."""


def read(text: str, schema: type[SchemaT]) -> SchemaT:
    """Read a reply; code fences, prose and thoughts around its JSON object are passed over.

    Raises:
        ReplyError: there is no such object, or it is not what was asked for.
    """
    if len(text) > MAX_REPLY_CHARS:
        raise ReplyError(f"the reply is {len(text)} characters long, expected one JSON object")
    answer = text.rpartition("</think>")[2]
    problem = "there is no JSON object in it" if answer.strip() else "the reply is empty"
    longest = 0
    for start in (match.start() for match in re.finditer(r"\{", answer)):
        try:
            value, end = _DECODER.raw_decode(answer, start)
            return schema.model_validate(value)
        except ValidationError as error:
            found = "; ".join(map(_explain, error.errors()))
        except (ValueError, RecursionError) as error:
            end = getattr(error, "pos", start + 1)
            found = f"its JSON object is broken: {error}"
        # The model meant the largest object; what is wrong with its parts is no help.
        if end - start > longest:
            longest, problem = end - start, found
    raise ReplyError(problem)


def request_object(
    model: Callable[[Sequence[Message]], str],
    question: Message,
    read_reply: Callable[[str], T],
    *,
    what: str,
) -> T:
    """Ask a model for a JSON object; if its reply cannot be used, tell it why, once.

    Args:
        model: gives the reply to a conversation.
        read_reply: raises `ReplyError` for one that cannot be used.
        what: is asked for, such as "caption".
    Raises:
        BrokenReplyError: neither reply can be used.
    """
    reply = model([question])
    try:
        return read_reply(reply)
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
        return read_reply(again)
    except ReplyError as second:
        raise BrokenReplyError(
            message=f"no usable {what} in two replies; first: {first}; then: {second}",
            # Quoted, as a reply may hold anything, such as what a terminal would obey.
            log_tail=f"{reply[-_SHOWN_CHARS:]!r}\n{again[-_SHOWN_CHARS:]!r}",
        ) from second


def _explain(problem: Any) -> str:
    where = ".".join(map(str, problem["loc"])) or "the object"
    return f"`{where}`: {problem['msg'].removeprefix('Value error, ')}"
