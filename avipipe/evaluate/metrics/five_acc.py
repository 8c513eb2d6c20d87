"""FiVE-Acc: whether a vision-language model sees in an edit what was asked for.

The model is asked whether the source's object is there (expected: no), whether the target's is
(expected: yes), and which of both, where the target is always the option b). Nothing tells how much
of a score is a liking for b): `swapped_options` asks it the other way round.

The reference reads first letters; `says_yes` and `chosen_option` read words, and say where there is
no answer.

Source: Li et al., FiVE (ICCV 2025); MinghanLi/FiVE-Bench@737b30e, evaluation/metrics_calculator.py,
`FiVEAcc_Qwen_VL.get_score`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.text import safe_text

_FRAMES_WANTED = 4
"""What the reference means to show; see `shown_frames`."""
_TWO_OPTIONS = re.compile(r"(?P<question>.*?)\ba\)\s*(?P<a>.+?)\s*\bb\)\s*(?P<b>.+?)\s*", re.DOTALL)
_YES_OR_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_OPTION = re.compile(r"\W*(?:(?:the )?(?:answer|option)\b(?: is)?\W*)?([ab])\s*(?:[).:,*]|$)", re.I)
_SHOWN_CHARS = 80
"""Of an answer that cannot be read, in its message: a line."""


class FiveQuestions(BaseModel):
    """The questions of one edit.

    Attributes:
        source: whether the source's object is there, "" where none was to go; the right answer is
            no.
        target: whether the target's is; the right answer is yes.
        choice: which of both, as options a) and b); b) is right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = ""
    target: str = Field(min_length=1)
    choice: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class FiveAnswers:
    """Raw answers to the three questions about one edit; `source` is None where it is not asked."""

    source: str | None
    target: str
    choice: str

    @property
    def is_yes_no_right(self) -> bool:
        """Whether the source's object is not seen and the target's is.

        By the first letters alone, as in the reference: "not sure" counts as no.
        """
        is_gone = not self.source or self.source.strip()[:2].lower() == "no"
        return is_gone and self.target.strip()[:3].lower() == "yes"

    def is_choice_right(self, *, is_swapped: bool = False) -> bool:
        """Whether the first letter is that of the target: b, or a where options were swapped.

        "(b)" and "Answer: b" count as wrong, as in the reference.
        """
        return self.choice.strip()[:1].lower() == ("a" if is_swapped else "b")


@dataclass(frozen=True, slots=True)
class FiveAcc:
    """Shares of edits, in [0, 1].

    Attributes:
        yes_no, choice: whose answers are right.
        union, intersection: of which either is right, and both are.
        mean: of the four, FiVE-Acc.
    """

    yes_no: float
    choice: float
    union: float
    intersection: float

    @property
    def mean(self) -> float:
        return (self.yes_no + self.choice + self.union + self.intersection) / 4


def five_acc(rights: Sequence[tuple[bool, bool]]) -> FiveAcc:
    """FiVE-Acc of a set.

    Args:
        rights: of each edit, whether the answers to yes or no, and the choice, are right.
    Raises:
        Undefined: there is no edit.
    """
    if not rights:
        raise Undefined("no edit was judged")
    num = len(rights)
    return FiveAcc(
        yes_no=sum(yes_no for yes_no, _ in rights) / num,
        choice=sum(choice for _, choice in rights) / num,
        union=sum(yes_no or choice for yes_no, choice in rights) / num,
        intersection=sum(yes_no and choice for yes_no, choice in rights) / num,
    )


def swapped_options(question: str) -> str:
    """The same choice with its two options exchanged: "What is it? a) A swan b) A flamingo".

    Raises:
        Undefined: the question has not two options.
    """
    found = _TWO_OPTIONS.fullmatch(question.strip())
    if found is None:
        raise Undefined("the question has not the two options a) and b)")
    return f"{found['question']}a) {found['b']} b) {found['a']}"


def generated_questions(source_prompt: str, target_prompt: str) -> FiveQuestions:
    """Questions where a benchmark has none: does it show the one prompt, the other, and which.

    Raises:
        Undefined: the prompts are the same, or hold what looks like an option.
    """
    if source_prompt.strip().lower() == target_prompt.strip().lower():
        raise Undefined("source and target prompt are the same: there is nothing to choose between")
    questions = FiveQuestions(
        source=f'Does the video show this: "{source_prompt}"?',
        target=f'Does the video show this: "{target_prompt}"?',
        choice=f"Which of the two does the video show? a) {source_prompt} b) {target_prompt}",
    )
    if swapped_options(swapped_options(questions.choice)) != questions.choice:
        raise Undefined("the prompts cannot be made options: one holds `b)`")
    return questions


def says_yes(answer: str) -> bool:
    """Whether an answer begins with yes, and not with no.

    Raises:
        Undefined: it begins with neither.
    """
    found = _YES_OR_NO.match(_said(answer))
    if found is None:
        raise Undefined(f"the judge answered neither yes nor no: {_excerpt(answer)}")
    return found[1].lower() == "yes"


def chosen_option(answer: str) -> str:
    """The letter that an answer names first: "b", "(b)", "Answer: B) A flamingo".

    Raises:
        Undefined: it names none.
    """
    found = _OPTION.match(_said(answer))
    if found is None:
        raise Undefined(f"the judge chose neither a) nor b): {_excerpt(answer)}")
    return found[1].lower()


def _said(answer: str) -> str:
    """Without the thoughts that some models write before it."""
    return answer.rpartition("</think>")[2].strip()


def _excerpt(answer: str) -> str:
    return repr(safe_text(_said(answer), max_chars=_SHOWN_CHARS))


def shown_frames(num_frames: int) -> list[int]:
    """The frames that the reference shows of a folder: about a quarter of them, not four.

    Raises:
        Undefined: there are fewer than four.
    """
    if num_frames < _FRAMES_WANTED:
        raise Undefined(f"the edit has {num_frames} frames, and four are needed")
    stride = num_frames // (num_frames // _FRAMES_WANTED)
    return list(range(stride // 2, num_frames, stride))
