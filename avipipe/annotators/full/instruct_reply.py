"""What a model must answer that proposes edits, and how its answer is read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from avipipe.annotators.full.caption_reply import check_caption, check_label, clean
from avipipe.annotators.instruct import ontology
from avipipe.annotators.instruct.base import ProposedEdit
from avipipe.annotators.instruct.mentions import names_any
from avipipe.annotators.instruct.ontology import NamedInstance
from avipipe.manifests.edits import EditKind
from avipipe.services import reply as replies
from avipipe.services.reply import Message, ReplyError

MAX_EDIT_TOKENS = 1200
"""Most tokens of a reply; six edits, the most that are asked for, take about 900."""
_MAX_INSTRUCTION_CHARS = 300
"""What is taken for one sentence that tells what to do; a choice."""


def _check_instruction(text: str) -> str:
    text = clean(text)
    if len(text) > _MAX_INSTRUCTION_CHARS:
        raise ValueError(
            f"must be a sentence of at most {_MAX_INSTRUCTION_CHARS} characters, found {len(text)}"
        )
    return text


Instruction = Annotated[str, AfterValidator(_check_instruction)]

_STRICT: Mapping[str, Any] = {"additionalProperties": False}


class EditReply(BaseModel):
    """One edit of a reply; see `ProposedEdit`."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        json_schema_extra={
            **_STRICT,
            "required": [
                *("kind", "target_caption", "target_label", "instruction", "sound_instruction")
            ],
        },
    )

    kind: EditKind
    target_caption: Annotated[str, AfterValidator(check_caption)]
    target_label: Annotated[str, AfterValidator(check_label)] | None = None
    instruction: Instruction
    sound_instruction: Instruction | None = None


class EditsReply(BaseModel):
    """The JSON object that a model answers with that proposes edits."""

    model_config = ConfigDict(
        frozen=True, strict=True, json_schema_extra={**_STRICT, "required": ["edits"]}
    )

    edits: list[EditReply]


def parse_edits(
    text: str, *, caption: Mapping[str, Any], kinds: Sequence[EditKind]
) -> list[ProposedEdit]:
    """Read a reply: one edit of each kind, in their order.

    Args:
        caption: the evidence of `caption`.
    Raises:
        ReplyError: there is no such object, or an edit names what is neither in the clip nor known
            to sound, or does not go with its kind.
    """
    reply = replies.read(text, EditsReply)
    found = {edit.kind: edit for edit in reply.edits}
    if sorted(edit.kind for edit in reply.edits) != sorted(kinds):
        raise ReplyError(f"expected one edit each of {', '.join(kinds)}, found {_listed(reply)}")
    instance = ontology.resolve(caption["label"])
    problems = [
        f"`{kind}`: {problem}"
        for kind in kinds
        for problem in _problems(found[kind], instance, caption["text"])
    ]
    if problems:
        raise ReplyError("; ".join(problems))
    return [ProposedEdit(**found[kind].model_dump()) for kind in kinds]


def request_edits(
    model: Callable[[Sequence[Message]], str],
    question: Message,
    *,
    caption: Mapping[str, Any],
    kinds: Sequence[EditKind],
) -> list[ProposedEdit]:
    """Ask a model for edits; if its reply cannot be used, tell it why, once.

    Args:
        model: gives the reply to a conversation.
    Raises:
        AnnotatorError: neither reply can be used.
    """
    return replies.request_object(
        model, question, lambda text: parse_edits(text, caption=caption, kinds=kinds), what="edits"
    )


def _listed(reply: EditsReply) -> str:
    return ", ".join(edit.kind for edit in reply.edits) or "none"


def _problems(edit: EditReply, instance: NamedInstance, caption: str) -> list[str]:
    """What is wrong with an edit, in words for the model."""
    problems = []
    if not names_any(edit.instruction, instance.names):
        problems.append(f"the instruction must name the {instance.noun}")
    if edit.target_caption == caption and edit.kind != "sound":
        problems.append("the target caption must differ from the caption")
    if edit.kind == "attribute" and edit.sound_instruction is not None:
        problems.append("the sound stays, so sound_instruction must be null")
    if edit.kind in ("other_class", "delete", "insert", "sound") and edit.sound_instruction is None:
        problems.append("the sound changes, so sound_instruction must say how")
    return problems + _label_problems(edit, instance)


def _label_problems(edit: EditReply, instance: NamedInstance) -> list[str]:
    if edit.kind == "delete":
        problems = []
        if edit.target_label is not None:
            problems.append("target_label must be null")
        if names_any(edit.target_caption, instance.names):
            problems.append(f"the target caption must not name the {instance.noun}")
        return problems
    if edit.target_label is None:
        return ["target_label must name what is there after the edit"]
    target = ontology.resolve(edit.target_label)
    if edit.kind != "other_class":
        same = target.kind.name.lower() == instance.kind.name.lower()
        return [] if same else [f"target_label must name a {instance.noun}"]
    problems = []
    if ontology.find(target.noun) is None:
        problems.append(f"target_label must be a common thing that sounds, not {target.noun!r}")
    if target.kind.name == instance.kind.name:
        problems.append(f"target_label must be of another class than the {instance.noun}")
    if not names_any(edit.target_caption, target.names):
        problems.append(f"the target caption must name the {target.noun}")
    if not names_any(edit.instruction, target.names):
        problems.append(f"the instruction must name the {target.noun}")
    return problems
