"""A checklist that a model answers with yes or no, in both orders of what it is shown.

A judge is asked twice, once with the source before the edit and once after it, as models favour
what they see first or last. What is here reads its replies and adds them up; asking is not its
trade.

Items and replies have the form of AVE-Compass: NJU-LINK/AVE-Compass@2b11dd0,
modules/llm/evaluator.py. Its own judge is asked once, and an item without an answer is a no there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, field_validator

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.services.reply import ReplyError, read

Modality = Literal["audio", "video", "general"]

# Dimensions of AVE-Compass, of which its main score is made.
INSTRUCTION, FIDELITY = "Instruction Following", "Fidelity"


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One question about an edit, to which yes is good.

    Attributes:
        dimension: under which it counts, such as `FIDELITY`.
        modality: what the judge is shown for it.
    """

    question_id: str
    question: str
    dimension: str
    modality: Modality = "general"


@dataclass(frozen=True, slots=True)
class ChecklistScore:
    """What a judge says of one edit.

    Attributes:
        score: share of yes in [0, 1], of the mean over both orders for each item.
        by_dimension: the same for each dimension that has an answered item.
        agreement: share of the items answered in both orders whose answers are equal; None
            without any.
        num_answered, num_items: items that were answered in one order at least, of how many.
    """

    score: float
    by_dimension: Mapping[str, float]
    agreement: float | None
    num_answered: int
    num_items: int


class Evaluation(BaseModel):
    """The answer to one question; yes is true."""

    question_id: str
    answer: bool

    @field_validator("answer", mode="before")
    @classmethod
    def _yes_or_no(cls, value: object) -> object:
        words = {"yes": True, "no": False}
        if isinstance(value, str):
            return words.get(value.strip().rstrip(".").lower(), value)
        return value


class ChecklistReply(BaseModel):
    """What a judge answers with."""

    evaluations: list[Evaluation]


GENERATED = (
    ChecklistItem("Q01", "Does it show what was asked for?", INSTRUCTION, "video"),
    ChecklistItem(
        "Q02",
        "Is everything that was not to change as it is in the source?",
        FIDELITY,
        "video",
    ),
)
"""The least list that an edit can be held to, where it has none of its own."""


def read_answers(reply: str, items: Sequence[ChecklistItem]) -> dict[str, bool]:
    """Answers by id of question, from a reply with one JSON object.

    The object is `{"evaluations": [{"question_id": "Q01", "answer": "Yes", …}, …]}`.

    Raises:
        ReplyError: it holds no such object, answers what was not asked, or answers twice; the
            message tells the model what to mend.
    """
    known = {item.question_id for item in items}
    answers: dict[str, bool] = {}
    for each in read(reply, ChecklistReply).evaluations:
        if each.question_id not in known:
            raise ReplyError(f"there is no question `{each.question_id}`")
        if each.question_id in answers:
            raise ReplyError(f"`{each.question_id}` is answered twice")
        answers[each.question_id] = each.answer
    return answers


def checklist_score(
    items: Sequence[ChecklistItem],
    *,
    source_first: Mapping[str, bool],
    edit_first: Mapping[str, bool],
) -> ChecklistScore:
    """Add up the answers that a judge gave of one edit in both orders.

    An item that is answered in one order alone counts by that answer; one without answers does not
    count, and shows in `num_answered`.

    Raises:
        Undefined: no item was answered.
    """
    votes = {
        item.question_id: [
            order[item.question_id]
            for order in (source_first, edit_first)
            if item.question_id in order
        ]
        for item in items
    }
    marks = {name: fmean(found) for name, found in votes.items() if found}
    if not marks:
        raise Undefined("the judge answered no item")
    dimensions = dict.fromkeys(item.dimension for item in items if item.question_id in marks)
    twice = [found[0] == found[1] for found in votes.values() if len(found) == 2]
    return ChecklistScore(
        score=fmean(marks.values()),
        by_dimension={
            dimension: fmean(
                marks[item.question_id]
                for item in items
                if item.dimension == dimension and item.question_id in marks
            )
            for dimension in dimensions
        },
        agreement=fmean(twice) if twice else None,
        num_answered=len(marks),
        num_items=len(items),
    )


def editing_intent(score: ChecklistScore) -> float:
    """Product of the shares of yes for instruction and for fidelity, in [0, 1].

    So an edit that changes nothing, and one that changes all, both get 0.

    Raises:
        Undefined: no item of one of the two was answered.
    Source: AVE-Compass, `_summarize` (there in percent).
    """
    for dimension in (INSTRUCTION, FIDELITY):
        if dimension not in score.by_dimension:
            raise Undefined(f"the judge answered no item of `{dimension}`")
    return score.by_dimension[INSTRUCTION] * score.by_dimension[FIDELITY]
