"""A judge of edits: a chat model that sees, behind any OpenAI-compatible server.

Which one is said by AVIPIPE_JUDGE_URL, AVIPIPE_JUDGE_MODEL and, where the server wants one,
AVIPIPE_JUDGE_API_KEY. What it is asked is kept with what it answered, word by word.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel

from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError, FailKind
from avipipe.manifests.records import digest
from avipipe.services.chat import ChatServer, turn
from avipipe.services.http import RetryPolicy
from avipipe.services.reply import Message, ReplyError, request_object

T = TypeVar("T")

_PREFIX = "AVIPIPE_JUDGE"
URL_ENV, MODEL_ENV, KEY_ENV = (f"{_PREFIX}_{name}" for name in ("URL", "MODEL", "API_KEY"))

MAX_TOKENS = 2048
"""Most tokens of a reply: room for thoughts before it, and for a list of a few dozen answers."""


class EditJudge(Weighted):
    """A model on a server; known by the name that it has there, wherever the server moves."""

    name = "judge"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ()
    retries: ClassVar[RetryPolicy] = RetryPolicy()

    @property
    def weights(self) -> Mapping[str, str]:
        """The model's name on its server; what is behind it, only the server's owner knows.

        Raises:
            ConfigError: the environment does not say it.
        """
        return {self.name: self.server.model}

    @property
    def server(self) -> ChatServer:
        """Where it is asked.

        Raises:
            ConfigError: the environment does not say which server and model.
        """
        return ChatServer.from_environment(
            _PREFIX,
            who="the judge of edits",
            later="run the same command again when it is there",
            retries=self.retries,
        )


@dataclass(frozen=True, slots=True)
class JudgeAnswer:
    """What a judge was asked and what it said.

    Attributes:
        judge: the model's name on its server.
        question: in words; `[picture]` and `[sound]` stand for what it was shown and played.
        answer: word by word.
    """

    judge: str
    question: str
    answer: str


class AnswerStore(Protocol):
    """Keeps answers by the hash of what was asked."""

    def answer(self, key: str) -> JudgeAnswer | None: ...

    def keep_answer(self, key: str, answer: JudgeAnswer) -> None: ...


@dataclass(slots=True)
class Interview:
    """What a judge is asked about one case; what the store knows is not asked again.

    Attributes:
        keys: of all answers that were given, in order.
    """

    store: AnswerStore
    keys: list[str] = field(default_factory=list)

    def ask(self, question: Message) -> str:
        """The judge's answer in plain words, as they come.

        Raises:
            AnnotatorError: the server does not answer, or with nothing.
            ConfigError: no question can succeed: wrong key, model or address.
        """
        server = EditJudge().server

        def answer() -> str:
            said = server.complete([turn(question)], schema=None, max_tokens=MAX_TOKENS)
            if not said.strip():
                raise AnnotatorError(FailKind.BAD_REPLY, f"{server.model} gave an empty answer")
            return said

        return self._kept(server, question, answer, lambda text: text)

    def ask_object(
        self,
        question: Message,
        read_reply: Callable[[str], T],
        *,
        schema: type[BaseModel],
        what: str,
    ) -> T:
        """The judge's answer as a JSON object; one that cannot be read it may mend once.

        Args:
            read_reply: raises `ReplyError` for one that cannot be used.
            what: is asked for, such as "checklist".
        Raises:
            AnnotatorError, ConfigError: as `ask`, or neither reply can be used.
        """
        server = EditJudge().server

        def reply(messages: Sequence[Message]) -> str:
            turns = [turn(message) for message in messages]
            return server.complete(turns, schema=schema, max_tokens=MAX_TOKENS, strict=False)

        def readable(text: str) -> str:
            read_reply(text)
            return text

        def answer() -> str:
            return request_object(reply, question, readable, what=what)

        return self._kept(server, question, answer, read_reply)

    def _kept(
        self,
        server: ChatServer,
        question: Message,
        answer: Callable[[], str],
        read_reply: Callable[[str], T],
    ) -> T:
        key = digest([EditJudge.version, server.model, turn(question)])
        self.keys.append(key)
        found = self.store.answer(key)
        if found is not None:
            try:
                return read_reply(found.answer)
            except ReplyError:  # kept by a reader that took more
                pass
        said = answer()
        read = read_reply(said)
        told = JudgeAnswer(server.model, _in_words(question), said)
        self.store.keep_answer(key, told)
        return read


def _in_words(question: Message) -> str:
    return "\n".join(map(_part_in_words, question.content))


def _part_in_words(part: Any) -> str:
    if isinstance(part, str):
        return part
    return "[picture]" if isinstance(part, np.ndarray) else "[sound]"
