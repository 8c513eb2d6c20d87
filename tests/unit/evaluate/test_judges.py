"""Answers of models that judge edits: how they are read, and what they add up to."""

import json

import pytest

from avipipe.annotators.base import Detection
from avipipe.evaluate.metrics.checklist_judge import (
    FIDELITY,
    INSTRUCTION,
    ChecklistItem,
    checklist_score,
    editing_intent,
    read_answers,
)
from avipipe.evaluate.metrics.five_acc import (
    FiveAnswers,
    chosen_option,
    five_acc,
    generated_questions,
    says_yes,
    shown_frames,
    swapped_options,
)
from avipipe.evaluate.metrics.object_found import share_found
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.services.reply import ReplyError

ITEMS = [
    ChecklistItem("Q01", "Is the dog a cat now?", INSTRUCTION, "video"),
    ChecklistItem("Q02", "Does it meow?", INSTRUCTION, "audio"),
    ChecklistItem("Q03", "Is the street as it was?", FIDELITY, "video"),
]


def reply(*answers: tuple[str, object]) -> str:
    evaluations = [
        {"question_id": name, "answer": answer, "justification": "seen"} for name, answer in answers
    ]
    return f"I looked.\n```json\n{json.dumps({'evaluations': evaluations})}\n```"


def test_answers_are_read_from_prose_and_fences() -> None:
    found = read_answers(reply(("Q01", "Yes"), ("Q02", "no."), ("Q03", True)), ITEMS)
    assert found == {"Q01": True, "Q02": False, "Q03": True}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("yes, all of it", "no JSON object"),
        (reply(("Q09", "yes")), "no question `Q09`"),
        (reply(("Q01", "yes"), ("Q01", "no")), "answered twice"),
        (reply(("Q01", "partly")), "answer"),
    ],
)
def test_what_cannot_be_used_says_what_to_mend(text: str, complaint: str) -> None:
    with pytest.raises(ReplyError, match=complaint):
        read_answers(text, ITEMS)


def test_both_orders_count_alike() -> None:
    found = checklist_score(
        ITEMS,
        source_first={"Q01": True, "Q02": True, "Q03": False},
        edit_first={"Q01": True, "Q02": False},
    )
    assert found.score == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.by_dimension == {INSTRUCTION: 0.75, FIDELITY: 0.0}
    assert found.agreement == pytest.approx(0.5)
    assert (found.num_answered, found.num_items) == (3, 3)


def test_silence_is_neither_yes_nor_no() -> None:
    found = checklist_score(ITEMS, source_first={"Q01": True}, edit_first={})
    assert (found.score, found.agreement, found.num_answered) == (1.0, None, 1)
    assert found.by_dimension == {INSTRUCTION: 1.0}
    with pytest.raises(Undefined, match="no item"):
        checklist_score(ITEMS, source_first={}, edit_first={})


def test_an_edit_must_follow_and_keep() -> None:
    answers = {"Q01": True, "Q02": False, "Q03": True}
    found = checklist_score(ITEMS, source_first=answers, edit_first=answers)
    assert editing_intent(found) == pytest.approx(0.5)
    only_kept = checklist_score(ITEMS, source_first={"Q03": True}, edit_first={})
    with pytest.raises(Undefined, match=INSTRUCTION):
        editing_intent(only_kept)


def test_options_are_swapped_and_swapped_back() -> None:
    question = "What is in the video? a) A swan b) A flamingo"
    swapped = swapped_options(question)
    assert swapped == "What is in the video? a) A flamingo b) A swan"
    assert swapped_options(swapped) == question
    with pytest.raises(Undefined, match="two options"):
        swapped_options("Is there a swan?")


def test_a_liking_for_b_is_found_by_swapping() -> None:
    always_b = FiveAnswers("no", "yes", "b")
    assert always_b.is_choice_right()
    assert not always_b.is_choice_right(is_swapped=True)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("b", "b"),
        ("(B) A flamingo", "b"),
        ("Answer: a) A swan", "a"),
        ("The answer is b.", "b"),
        ("<think>a) or b)?</think>\nb", "b"),
    ],
)
def test_options_are_read_in_whatever_form(answer: str, letter: str) -> None:
    assert chosen_option(answer) == letter


@pytest.mark.parametrize("answer", ["A swan", "both", "I see b", ""])
def test_what_names_no_option_is_undefined(answer: str) -> None:
    with pytest.raises(Undefined, match="neither a\\) nor b\\)"):
        chosen_option(answer)


def test_yes_and_no_are_words() -> None:
    assert says_yes("**Yes**, there is one.")
    assert not says_yes("NO")
    for answer in ("not sure", "nothing", "yesterday"):
        with pytest.raises(Undefined, match="neither yes nor no"):
            says_yes(answer)


def test_prompts_become_questions_that_can_be_swapped() -> None:
    questions = generated_questions("A swan on a lake.", "A flamingo on a lake.")
    assert swapped_options(questions.choice).endswith(
        "a) A flamingo on a lake. b) A swan on a lake."
    )
    with pytest.raises(Undefined, match="nothing to choose"):
        generated_questions("A swan.", "a swan. ")
    with pytest.raises(Undefined, match="cannot be made options"):
        generated_questions("Gate a) open", "Gate b) shut")


def test_an_object_is_found_in_the_pictures_that_were_looked_at() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    twice = [Detection(0, box, "dog", 0.9), Detection(0, box, "dog", 0.8)]
    assert share_found(twice, [0, 4, 9]) == pytest.approx(1 / 3)
    assert share_found([], [0]) == 0.0
    with pytest.raises(Undefined):
        share_found(twice, [])


def test_nothing_to_judge_is_undefined() -> None:
    with pytest.raises(Undefined):
        five_acc([])
    with pytest.raises(Undefined, match="3 frames"):
        shown_frames(3)
