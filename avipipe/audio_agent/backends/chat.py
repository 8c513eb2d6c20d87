"""Captioner, planner and judge by a language model that takes sounds and pictures."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from avipipe.audio_agent.backends.chat_prompt import (
    CaptionReply,
    JudgeReply,
    caption_question,
    judge_question,
    plan_question,
)
from avipipe.audio_agent.schema import AudioCaption, AudioSpan, Checks, EditPlan, Verdict
from avipipe.audio_agent.tools import Mixed, Task
from avipipe.services import reply as replies
from avipipe.services.reply import Message, ReplyError
from avipipe.text import safe_text

ReplyT = TypeVar("ReplyT", bound=BaseModel)


class ChatModel(Protocol):
    """A chat model: it answers a conversation of texts, `Sound`s and pictures (H, W, 3).

    Attributes:
        sees: takes pictures.

    Raises (reply):
        AnnotatorError: it does not answer.
    """

    name: str
    cost_usd: float | None
    sees: bool

    def setup(self) -> None: ...

    def reply(self, messages: Sequence[Message], *, schema: type[BaseModel]) -> str: ...


class _Chat:
    """A role that a chat model plays; several roles may share one model."""

    def __init__(self, chat_model: ChatModel) -> None:
        self.chat_model = chat_model
        self.name, self.cost_usd = chat_model.name, chat_model.cost_usd

    def setup(self) -> None:
        """Set the model up; that costs nothing where another role has done so."""
        self.chat_model.setup()

    def _ask(self, question: Message, schema: type[ReplyT], duration_s: float, what: str) -> ReplyT:
        def read(text: str) -> ReplyT:
            reply: ReplyT = _fitted(replies.read(text, schema), duration_s)
            return reply

        return replies.request_object(
            lambda messages: self.chat_model.reply(messages, schema=schema),
            question,
            read,
            what=what,
        )


class ChatCaptioner(_Chat):
    """Captions audio by a chat model, which must be able to hear."""

    def caption(self, task: Task) -> AudioCaption:
        """The caption that the model gives; its confidence is None."""
        question = caption_question(task)
        return self._ask(question, CaptionReply, task.original.duration_s, "caption").caption()


class ChatPlanner(_Chat):
    """Plans by a chat model: it reads instruction and caption, and sees the frames if it can."""

    def plan(
        self,
        task: Task,
        caption: AudioCaption | None,
        *,
        previous: EditPlan | None = None,
        verdict: Verdict | None = None,
    ) -> EditPlan:
        """The plan that the model gives, its spans cut to the length of the audio."""
        question = plan_question(
            task, caption, previous, verdict, with_pictures=self.chat_model.sees
        )
        return self._ask(question, EditPlan, task.original.duration_s, "plan")


class ChatJudge(_Chat):
    """Judges by a chat model that hears: it is played the original and the mix."""

    def judge(self, task: Task, plan: EditPlan, mixed: Mixed, checks: Checks) -> Verdict:
        """The model's verdict; the score is the geometric mean of its aspects."""
        question = judge_question(task, plan, mixed, checks)
        return self._ask(question, JudgeReply, task.original.duration_s, "verdict").verdict()


def _fitted(value: Any, duration_s: float) -> Any:
    """The same with every text safe to store, and every span cut at the end of the audio.

    Raises:
        ReplyError: a span starts after it.
    """
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, AudioSpan):
        if value.start_s >= duration_s:
            raise ReplyError(f"a span starts at {value.start_s:g} s of {duration_s:.2f} s")
        return value.model_copy(update={"end_s": min(value.end_s, duration_s)})
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _fitted(part, duration_s) for name, part in value})
    if isinstance(value, tuple):
        return tuple(_fitted(part, duration_s) for part in value)
    return value
