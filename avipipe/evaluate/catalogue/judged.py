"""Metrics by a judge that sees, and hears where it is asked to: FiVE-Acc, Obj., checklists."""

import io
import wave
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from avipipe.annotators.faces.mfcc import to_int16
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.judge import EditJudge
from avipipe.evaluate.metric import Metric, Need, Sense
from avipipe.evaluate.metrics import checklist_judge as checklists
from avipipe.evaluate.metrics import five_acc as five
from avipipe.evaluate.metrics.checklist_judge import ChecklistItem, ChecklistReply, ChecklistScore
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.views import Frames, Pictures, Waves, resized, size_within
from avipipe.services.chat import sound_part
from avipipe.services.reply import Message

_NUM_PICTURES = 8
"""Of a video that a judge is shown, as captioners are: what servers of small models take."""
_PICTURE_PX = 360
"""Short side of them, as of captioners' pictures; about 300 tokens each for Qwen's models."""
_RATE_HZ = 16_000
"""Of what a judge is played: what models that hear take."""

_YES_NO = "Answer this question about the video with yes or no alone. {question}"
_CHOICE = (
    "Choose one of the two options about the video, and answer with its letter alone. {choice}"
)
_CHECKLIST = """\
You were given a source video and an edit of it. What was asked for: {request}
Answer each of these questions about the edited video with Yes or No:
{questions}
Answer with one JSON object and nothing else: {{"evaluations": [{{"question_id": "{first}", \
"answer": "Yes"}}, ...]}}, an entry for each question."""


# --- FiVE-Acc


def _question(view: CaseView, text: str) -> str:
    """The judge's answer to a question about the edit."""
    shown = _shown(view.edit_pictures)
    intro = f"These are {len(shown)} pictures of a video, in order."
    return view.interview.ask(Message("user", (intro, *shown, text)))


def _yes_no(view: CaseView, question: str) -> str:
    return _question(view, _YES_NO.format(question=question))


def _choice(view: CaseView, choice: str) -> str:
    return _question(view, _CHOICE.format(choice=choice))


def _shown(pictures: Pictures) -> list[Frames]:
    """Some pictures of a video, evenly spread, each from the middle of its share."""
    frames_THWC = pictures.detail_THWC
    num = min(_NUM_PICTURES, len(frames_THWC))
    height, width = frames_THWC.shape[1:3]
    size = size_within((width, height), _PICTURE_PX)
    middles = [(2 * n + 1) * len(frames_THWC) // (2 * num) for n in range(num)]
    return [resized(frames_THWC[middle], size) for middle in middles]


def _as_published(part: Callable[[five.FiveAcc], float]) -> Callable[[CaseView], float]:
    """By the first letters of the answers, each question once."""

    def measure(view: CaseView) -> float:
        asked = _questions(view)
        answers = five.FiveAnswers(
            source=_yes_no(view, asked.source) if asked.source else None,
            target=_yes_no(view, asked.target),
            choice=_choice(view, asked.choice),
        )
        return part(five.five_acc([(answers.is_yes_no_right, answers.is_choice_right())]))

    return measure


def _questions(view: CaseView) -> five.FiveQuestions:
    assert view.case.questions is not None
    return view.case.questions


def _generated(view: CaseView) -> five.FiveQuestions:
    return five.generated_questions(view.case.source_prompt, view.case.target_prompt)


def _both_ways(questions: Callable[[CaseView], five.FiveQuestions]) -> Callable[[CaseView], float]:
    """FiVE-Acc with the choice asked in both orders of its options."""

    def measure(view: CaseView) -> float:
        asked = questions(view)
        swapped_choice = five.swapped_options(asked.choice)
        is_gone = not asked.source or not five.says_yes(_yes_no(view, asked.source))
        is_there = five.says_yes(_yes_no(view, asked.target))
        chosen = five.chosen_option(_choice(view, asked.choice))
        swapped = five.chosen_option(_choice(view, swapped_choice))
        is_right = is_gone and is_there
        return five.five_acc([(is_right, chosen == "b"), (is_right, swapped == "a")]).mean

    return measure


def _object(view: CaseView) -> float:
    label = view.case.target_label
    return float(five.says_yes(_yes_no(view, f"Is this to be seen in the video: {label}?")))


# --- Checklists


def _judged(view: CaseView, items: Sequence[ChecklistItem]) -> ChecklistScore:
    """A checklist, answered with the source first and with the edit first."""
    orders: list[dict[str, bool]] = []
    for is_source_first in (True, False):
        answers: dict[str, bool] = {}
        for modality in dict.fromkeys(item.modality for item in items):
            own = [item for item in items if item.modality == modality]
            answers |= _answered(view, own, is_source_first=is_source_first)
        orders.append(answers)
    return checklists.checklist_score(items, source_first=orders[0], edit_first=orders[1])


def _answered(
    view: CaseView, items: Sequence[ChecklistItem], *, is_source_first: bool
) -> dict[str, bool]:
    """Answers to items of one modality."""
    text = _CHECKLIST.format(
        request=view.case.instruction or view.case.target_prompt or "this is not told.",
        questions="\n".join(f"{item.question_id}: {item.question}" for item in items),
        first=items[0].question_id,
    )
    sides = [_source(view, items[0].modality), _edit(view, items[0].modality)]
    parts = chain.from_iterable(sides if is_source_first else sides[::-1])
    return view.interview.ask_object(
        Message("user", (*parts, text)),
        lambda reply: checklists.read_answers(reply, items),
        schema=ChecklistReply,
        what="checklist",
    )


def _source(view: CaseView, modality: checklists.Modality) -> Iterator[Any]:
    yield "This is the source video."
    if modality != "audio":
        yield from _seen(view.source.pictures)
    if modality != "video":
        yield from _played(view.source.wave(_RATE_HZ) if view.source.has_sound else None)


def _edit(view: CaseView, modality: checklists.Modality) -> Iterator[Any]:
    yield "This is the edited video."
    if modality != "audio":
        yield from _seen(view.edit_pictures)
    if modality != "video":
        yield from _played(view.edit_wave(_RATE_HZ) if view.sound.has_sound else None)


def _seen(pictures: Pictures) -> Iterator[Any]:
    shown = _shown(pictures)
    yield f"{len(shown)} pictures of it, in order:"
    yield from shown


def _played(wave_CN: Waves | None) -> Iterator[Any]:
    if wave_CN is None:
        yield "It has no sound."
        return
    yield "Its sound:"
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(_RATE_HZ)
        wav.writeframes(to_int16(wave_CN.mean(axis=0)).astype("<i2").tobytes())
    yield sound_part(file.getvalue())


def _own_list(part: Callable[[ChecklistScore], float]) -> Callable[[CaseView], float]:
    return lambda view: part(_judged(view, view.case.checklist))


def _agreement(score: ChecklistScore) -> float:
    if score.agreement is None:
        raise Undefined("the judge answered no item in both orders")
    return score.agreement


def _intent(view: CaseView) -> float:
    return checklists.editing_intent(_judged(view, checklists.GENERATED))


# --- The metrics


def _metric(
    measure: Callable[[CaseView], float],
    words: str,
    protocol: str,
    *needs: Need,
    sense: Sense = "higher",
) -> Metric:
    return Metric(
        measure=measure,
        needs=("pictures", *needs),
        sense=sense,
        family="text",
        words=words,
        protocol=f"{protocol} {_SHOWN}",
        extractors=(EditJudge,),
    )


_SHOWN = (
    "The judge is the model that AVIPIPE_JUDGE_MODEL names, at temperature 0, in sentences of "
    "avipipe's own; it is shown 8 pictures of a video, evenly spread, short side at most 360 px."
)
_PUBLISHED = (
    "FiVE-Bench's questions and its reading of first letters, the options in the given order, "
    "where b) is always right; FiVE-Bench shows Qwen2.5-VL-7B about every fourth picture."
)
_BOTH_ORDERS = (
    "Mean of FiVE-Acc over both orders of the options, so that a choice that flips with them "
    "counts half; an answer that is neither is undefined."
)
_LIST = (
    "Share of yes, of the mean over the source first and the edit first, so that an answer that "
    "flips counts half. Items of sound are played mono at 16 kHz."
)
JUDGED: dict[str, Metric] = {
    "fiveacc.mean": _metric(
        _as_published(lambda found: found.mean),
        "Whether a judge sees the target and no longer the source, by yes or no and by choice.",
        f"Mean of the four below. {_PUBLISHED}",
        "questions",
    ),
    "fiveacc.yesno": _metric(
        _as_published(lambda found: found.yes_no),
        "Whether a judge says no to the source and yes to the target.",
        _PUBLISHED,
        "questions",
    ),
    "fiveacc.choice": _metric(
        _as_published(lambda found: found.choice),
        "Whether a judge chooses the target over the source; a liking for b) wins.",
        _PUBLISHED,
        "questions",
    ),
    "fiveacc.either": _metric(
        _as_published(lambda found: found.union),
        "Whether yes or no, or the choice, is right.",
        _PUBLISHED,
        "questions",
    ),
    "fiveacc.both": _metric(
        _as_published(lambda found: found.intersection),
        "Whether yes or no, and the choice, are right.",
        _PUBLISHED,
        "questions",
    ),
    "fiveacc.swapped": _metric(
        _both_ways(_questions),
        "As fiveacc.mean, without what a judge likes about a) or b).",
        f"{_BOTH_ORDERS} FiVE-Bench's questions.",
        "questions",
    ),
    "fiveacc.generated": _metric(
        _both_ways(_generated),
        "The same, asked about the prompts where no benchmark has questions.",
        f"{_BOTH_ORDERS} The questions are whether the video shows the source prompt, whether the "
        "target prompt, and which.",
        "source_prompt",
        "target_prompt",
    ),
    "obj.judge": _metric(
        _object,
        "Whether a judge sees the target's class.",
        "One question, yes or no. AvED leaves Obj. open: this is a choice.",
        "target_label",
    ),
    "checklist.given": _metric(
        _own_list(lambda found: found.score),
        "The share of the case's checklist that a judge says yes to.",
        _LIST,
        "checklist",
    ),
    "checklist.intent": _metric(
        _own_list(checklists.editing_intent),
        "What was asked for times what was to stay; doing nothing, and changing all, have 0.",
        f"Product for the dimensions Instruction Following and Fidelity, as AVE-Compass. {_LIST}",
        "checklist",
    ),
    "checklist.agreement": _metric(
        _own_list(_agreement),
        "How often the judge says the same in both orders: how far it can be believed.",
        "Share of the items of the case's checklist whose two answers are equal. Items of sound "
        "are played mono at 16 kHz.",
        "checklist",
        sense="none",
    ),
    "checklist.generated": _metric(
        _intent,
        "Whether what was asked for is there, times whether the rest is as it was.",
        "Product of two questions that are the same for every case, each the mean over the source "
        "first and the edit first; pictures alone.",
        "request",
    ),
}
