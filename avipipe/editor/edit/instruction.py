"""What an instruction in plain English asks for: by rule, so that anybody can tell why."""

import re
from dataclasses import dataclass

from avipipe.editor.common.tasks import Task
from avipipe.errors import ConfigError

_VERBS: dict[str, Task] = {
    r"remove|delete|erase|get rid of|take (?:out|away)|cut out": "deletion",
    r"add|insert|put|place": "insertion",
    r"replace|swap|substitute|exchange|turn|change|transform|convert|make|let|have|give|edit|show":
        "edit",
}  # fmt: skip
_ENDS = (
    r"with|by|for|into|to|from|in|on|at|as|and|then|a|an|beside|behind|near|be|look\w*|sound\w*"
    r"|say\w*|sing\w*|speak\w*|bark\w*|play\w*|wear\w*"
)
_PATTERNS = {
    task: re.compile(rf"\b(?:{verbs})\s+(?P<what>(?:an?\s+)?.+?)(?:[,;.]|\s+(?:{_ENDS})\b|$)", re.I)
    for verbs, task in _VERBS.items()
}
_ARTICLE = re.compile(r"^(?:the|a|an|some|all|any|his|her|its|their)\s+", re.I)
_NAMELESS = re.compile(
    r"(?:it|this|that|them|these|those|him|her|(?:some|every|any)(?:thing|one|body))(?:\s.*)?", re.I
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; `target` names what there is to edit or to remove, if anything does."""

    task: Task
    target: str


def read_instruction(text: str) -> Request:
    """Read "replace the dog with a cat", "remove the drum", "add a bird": its first request.

    What fits none of these is an edit of something unnamed, for which a mask has to be given.

    Raises:
        ConfigError: it is empty.
    """
    text = " ".join(text.split())
    if not text:
        raise ConfigError(
            'the instruction is empty; say what to do, such as "replace the dog with a cat"'
        )
    found = {task: match for task, pattern in _PATTERNS.items() if (match := pattern.search(text))}
    if not found:
        return Request("edit", "")
    task = min(found, key=lambda task: found[task].start())
    return Request(task, noun(found[task]["what"]))


def noun(text: str) -> str:
    """Words without articles: "the big dog" -> "big dog"; empty where nothing is named."""
    text = text.strip(" ,.!?\"'")
    while (shorter := _ARTICLE.sub("", text)) != text:
        text = shorter
    is_name = not _NAMELESS.fullmatch(text) and re.search(r"[^\W\d_]{2,}", text)
    return text if is_name else ""
