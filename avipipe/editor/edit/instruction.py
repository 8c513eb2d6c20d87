"""What an instruction in plain English asks for: by rule, so that anybody can tell why."""

import re
from dataclasses import dataclass

from avipipe.editor.data.batch import Task
from avipipe.errors import ConfigError

_REMOVE = r"remove|delete|erase|get rid of|take (?:out|away)|cut out"
_ADD = r"add|insert|put|place"
_CHANGE = r"replace|swap|substitute|exchange|turn|change|transform|convert|make|let|have|give|edit"
_INTO = r"with|by|for|into|to|say\w*|sing\w*|speak\w*|bark\w*|look\w*|sound\w*|wear\w*|be|a|an"
_SPLIT = re.compile(rf"\b(?:{_CHANGE})\s+(.+?)(?:\s+(?:{_INTO})\b|$)", re.I)
_REMOVED = re.compile(rf"\b(?:{_REMOVE})\s+(.+?)(?:\s+(?:from|in|on|at)\b|$)", re.I)
_ADDED = re.compile(
    rf"\b(?:{_ADD})\s+(.+?)(?:\s+(?:to|in|on|at|into|beside|behind|near)\b|$)", re.I
)
_ARTICLE = re.compile(r"^(?:the|a|an|some|all|any|his|her|its|their)\s+", re.I)
_NAMELESS = frozenset({"it", "this", "that", "them", "these", "those", "something", "everything"})


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; `target` names what there is to edit or to remove, if anything does."""

    task: Task
    target: str


def read_instruction(text: str) -> Request:
    """Read "replace the dog with a cat", "remove the drum", "add a bird".

    What fits none of these is an edit of something unnamed, for which a mask has to be given.

    Raises:
        ConfigError: it is empty.
    """
    text = " ".join(text.split()).strip(" .!")
    if not text:
        raise ConfigError(
            'the instruction is empty; say what to do, such as "replace the dog with a cat"'
        )
    if match := _REMOVED.search(text):
        return Request("deletion", noun(match[1]))
    if match := _ADDED.search(text):
        return Request("insertion", noun(match[1]))
    match = _SPLIT.search(text)
    return Request("edit", noun(match[1]) if match else "")


def noun(text: str) -> str:
    """Words without articles: "the big dog" -> "big dog"; empty where nothing is named."""
    text = text.strip(" ,.!?\"'")
    while (shorter := _ARTICLE.sub("", text)) != text:
        text = shorter
    is_name = text.lower() not in _NAMELESS and re.search(r"[^\W\d_]{2,}", text)
    return text if is_name else ""
