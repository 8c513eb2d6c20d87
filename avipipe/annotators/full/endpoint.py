"""Captions and edits by any OpenAI-compatible endpoint, such as a vLLM server elsewhere.

Which one is said by environment variables, in every worker: AVIPIPE_CAPTION_URL,
AVIPIPE_CAPTION_MODEL and, where the server wants one, AVIPIPE_CAPTION_API_KEY; of edits,
AVIPIPE_INSTRUCT_URL and so on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from avipipe.annotators.base import Frames, SceneCaption
from avipipe.annotators.full.caption_prompt import NUM_FRAMES, question
from avipipe.annotators.full.caption_reply import MAX_TOKENS, Reply, request_caption
from avipipe.annotators.full.instruct_prompt import edit_question
from avipipe.annotators.full.instruct_reply import MAX_EDIT_TOKENS, EditsReply, request_edits
from avipipe.annotators.instruct.base import ProposedEdit
from avipipe.manifests.edits import EditKind
from avipipe.services.chat import ChatServer, turn
from avipipe.services.http import RetryPolicy
from avipipe.services.reply import Message

_PREFIX = "AVIPIPE_CAPTION"
URL_ENV, MODEL_ENV, KEY_ENV = (f"{_PREFIX}_{name}" for name in ("URL", "MODEL", "API_KEY"))


class VisionEndpoint:
    """A chat model on a server, asked over `/v1/chat/completions`.

    A result is known by the model's name alone: servers move between hosts, and the name is what
    the protocol has for telling models apart.
    """

    name = "endpoint"
    num_frames = NUM_FRAMES
    prefix: ClassVar[str]
    """Of the environment variables that say which server."""
    role: ClassVar[str]

    def __init__(self, retries: RetryPolicy | None = None) -> None:
        self._retries = retries or RetryPolicy()

    @property
    def weights(self) -> Mapping[str, str]:
        """The model's name as the server knows it; what is behind the name, only its owner knows.

        Raises:
            ConfigError: the environment does not say it.
        """
        return {self._server().model: "served"}

    def setup(self) -> None:
        """Check the environment; the server itself is first asked for the first clip.

        Raises:
            ConfigError: it does not say which server and model.
        """
        self._server()

    def _model(
        self, schema: type[BaseModel], max_tokens: int
    ) -> Callable[[Sequence[Message]], str]:
        """What gives the reply to a conversation, held to a schema where the server does that."""
        server = self._server()

        def reply(messages: Sequence[Message]) -> str:
            return server.complete(
                [turn(message) for message in messages], schema=schema, max_tokens=max_tokens
            )

        return reply

    def _server(self) -> ChatServer:
        return ChatServer.from_environment(
            self.prefix,
            who=f"the {self.role} backend `endpoint`",
            later="later, run `avipipe retry`",
            retries=self._retries,
        )


class EndpointCaptioner(VisionEndpoint):
    """Captions by asking a server."""

    version = 1
    prefix = _PREFIX
    role = "caption"

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> SceneCaption:
        """Caption a clip by the served model.

        Raises:
            AnnotatorError: of kind `timeout`, `unreachable`, `rate_limited`, or
                `annotator_failed` where the server refuses the clip or its replies are unusable.
            ConfigError: no clip can succeed: wrong key, model or address.
        """
        model = self._model(Reply, MAX_TOKENS)
        return request_caption(model, question(frames_THWC, evidence=evidence))


class EndpointInstructor(VisionEndpoint):
    """Edits by asking a server."""

    version = 1
    prefix = "AVIPIPE_INSTRUCT"
    role = "instruct"

    def instruct(
        self,
        frames_THWC: Frames,
        *,
        evidence: Mapping[str, Any],
        kinds: Sequence[EditKind],
        seed: int,
    ) -> list[ProposedEdit]:
        """See `Instructor`. Models are asked to decode greedily, so nothing is drawn.

        Raises:
            AnnotatorError, ConfigError: as `EndpointCaptioner.caption`.
        """
        asked = edit_question(frames_THWC, evidence=evidence, kinds=kinds)
        model = self._model(EditsReply, MAX_EDIT_TOKENS)
        return request_edits(model, asked, caption=evidence["caption"], kinds=kinds)
