"""What language models are shown, played and asked, and the JSON that they must answer with."""

from avipipe.audio_agent.schema import (
    Aspects,
    AudioCaption,
    Checks,
    EditPlan,
    FrozenModel,
    Issue,
    Revision,
    SoundEvent,
    Verdict,
)
from avipipe.audio_agent.tools import Mixed, Task
from avipipe.services.reply import Message

_JSON_ALONE = "Answer with one JSON object and nothing else"

_PARTS = """\
c_sep lists sounds to separate: {"query": short lowercase noun phrase such as "dog barking", \
"kind": "speech", "music" or "sfx", "spans": [{"start_s": 0.0, "end_s": 1.0}], or [] for all the \
time that it is heard}.
c_gen lists sounds to generate: {"kind": as above, "prompt": for music and sfx what is to be heard \
in at most 20 words, for speech the very words to say, "voice": such as "old man", or null, \
"same_voice": true if it should sound like the speech that is removed, "spans": when it sounds, or \
[] for wherever the removed sound was, "gain_db": 0 to be as loud as what it replaces}."""

_CAPTION = """\
Listen to this sound of {duration_s:.2f} s. {scene}
{json_alone}: {{"text": "...", "events": [...], "transcript": "...", "language": "..."}}
text: one to three plain English sentences on what is heard.
events: each thing that is heard: {{"label": "dog barking", "kind": "speech", "music" or "sfx", \
"span": {{"start_s": 0.0, "end_s": 1.0}}}}.
transcript: the words that are spoken; null if there are none.
language: its ISO 639-1 code; null if there are none."""

_PLAN = """\
A sound track of {duration_s:.2f} s is to be edited. The instruction: {instruction}
{scene}{pictures}
What is heard in it: {caption}
{previous}
{json_alone}: {{"c_sep": [...], "c_gen": [...], "mode": "remove", "rationale": "..."}}
{parts}
mode: "remove" takes the sounds of c_sep out and keeps the rest; "keep" keeps them alone. Choose \
what is easier to name.
For a deletion c_gen is empty, for an insertion c_sep is. All times are within the sound track. \
Change nothing that the instruction does not ask for."""

_PREVIOUS = """\
This plan was carried out and fell short: {plan}
What is wrong with the result: {issues}
Make another plan that mends this."""

_JUDGE = """\
The first sound is the original, the second is an edit of it. The instruction was: {instruction}
{scene}
The plan that was carried out: {plan}
Measured on the edit: {checks}

{json_alone}: {{"aspects": {{"fidelity": 0.0, "background": 0.0, "consistency": 0.0, \
"naturalness": 0.0}}, "issues": [...], "revise": null}}
aspects, each from 0 to 1. fidelity: what the instruction asks for is heard, and what it removes \
is gone. background: all else is as it was. consistency: times, loudness and acoustics fit what is \
seen and what is around. naturalness: no clicks, holes, distortion.
issues: what is wrong: {{"target": "sep", "gen" or "mix", "code": one word, "message": "..."}}.
revise: null if nothing should change, else {{"c_sep": [...] or null, "c_gen": [...] or null, \
"rationale": "..."}}, whole lists, where null leaves a part as it is.
{parts}"""

_SHOWN_CHECKS = {
    "leak_db",
    "untouched_db",
    "generated_db",
    "loudness_change_db",
    "clipped_share",
    "similarity",
}


class CaptionReply(FrozenModel):
    """The JSON object that a captioning model answers with."""

    text: str
    events: tuple[SoundEvent, ...]
    transcript: str | None = None
    language: str | None = None

    def caption(self) -> AudioCaption:
        return AudioCaption(**dict(self))


class JudgeReply(FrozenModel):
    """The JSON object that a judging model answers with; the score is made of its aspects."""

    aspects: Aspects
    issues: tuple[Issue, ...]
    revise: Revision | None = None

    def verdict(self) -> Verdict:
        return Verdict(q=self.aspects.score(), **dict(self))


def caption_question(task: Task) -> Message:
    """The question for a caption, for a model that hears."""
    text = _CAPTION.format(
        duration_s=task.original.duration_s, scene=_scene(task), json_alone=_JSON_ALONE
    )
    return Message("user", (task.original, text))


def plan_question(
    task: Task,
    caption: AudioCaption | None,
    previous: EditPlan | None,
    verdict: Verdict | None,
    *,
    with_pictures: bool,
) -> Message:
    """The question for a plan, for a model that reads and may see."""
    frames = tuple(task.frames) if with_pictures else ()
    before = ""
    if previous is not None:
        issues = verdict.issues if verdict is not None else ()
        before = _PREVIOUS.format(
            plan=_plan_json(previous),
            issues="; ".join(issue.message for issue in issues) or "its score is too low",
        )
    text = _PLAN.format(
        duration_s=task.original.duration_s,
        instruction=task.instruction,
        scene=_scene(task),
        pictures=f" The pictures are {len(frames)} frames of it, in order." if frames else "",
        caption=caption.model_dump_json(exclude_none=True) if caption is not None else "unknown",
        previous=before,
        json_alone=_JSON_ALONE,
        parts=_PARTS,
    )
    return Message("user", (*frames, text))


def judge_question(task: Task, plan: EditPlan, mixed: Mixed, checks: Checks) -> Message:
    """The question for a verdict, for a model that hears original and mix."""
    text = _JUDGE.format(
        instruction=task.instruction,
        scene=_scene(task),
        plan=_plan_json(plan),
        checks=checks.model_dump_json(include=_SHOWN_CHECKS, exclude_none=True),
        json_alone=_JSON_ALONE,
        parts=_PARTS,
    )
    return Message("user", (task.original, mixed.mix, text))


def _scene(task: Task) -> str:
    return f"The video shows: {task.scene}" if task.scene else ""


def _plan_json(plan: EditPlan) -> str:
    """A plan without what models have no say in."""
    own = {"c_sep": {"__all__": {"take", "strength"}}, "c_gen": {"__all__": {"take"}}}
    return plan.model_dump_json(exclude=own)
