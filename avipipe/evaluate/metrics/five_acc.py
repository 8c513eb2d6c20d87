"""FiVE-Acc: whether a vision-language model sees in an edit what was asked for.

The model is asked whether the source's object is there (expected: no), whether the target's is
(expected: yes), and which of both, where the target is always the option b). Nothing tells how much
of a score is a liking for b): `swapped_options` asks it the other way round.

Source: Li et al., FiVE (ICCV 2025); MinghanLi/FiVE-Bench@737b30e, evaluation/metrics_calculator.py,
`FiVEAcc_Qwen_VL.get_score`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from avipipe.evaluate.metrics.undefined import Undefined

_FRAMES_WANTED = 4
"""What the reference means to show; see `shown_frames`."""
_TWO_OPTIONS = re.compile(r"(?P<question>.*?)\ba\)\s*(?P<a>.+?)\s*\bb\)\s*(?P<b>.+?)\s*", re.DOTALL)


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


def shown_frames(num_frames: int) -> list[int]:
    """The frames that the reference shows of a folder: about a quarter of them, not four.

    Raises:
        Undefined: there are fewer than four.
    """
    if num_frames < _FRAMES_WANTED:
        raise Undefined(f"the edit has {num_frames} frames, and four are needed")
    stride = num_frames // (num_frames // _FRAMES_WANTED)
    return list(range(stride // 2, num_frames, stride))
