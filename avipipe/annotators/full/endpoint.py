"""Captions by any OpenAI-compatible endpoint, such as a vLLM server on another machine.

Which one is said by environment variables, in every worker: AVIPIPE_CAPTION_URL,
AVIPIPE_CAPTION_MODEL and, where the server wants one, AVIPIPE_CAPTION_API_KEY.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from avipipe.annotators.base import Frames, SceneCaption
from avipipe.annotators.full.caption_prompt import NUM_FRAMES, question
from avipipe.annotators.full.caption_reply import MAX_TOKENS, Reply, request_caption
from avipipe.services.chat import ChatServer, turn
from avipipe.services.http import RetryPolicy
from avipipe.services.reply import Message

_PREFIX = "AVIPIPE_CAPTION"
URL_ENV, MODEL_ENV, KEY_ENV = (f"{_PREFIX}_{name}" for name in ("URL", "MODEL", "API_KEY"))


class EndpointCaptioner:
    """Captions by asking a server over `/v1/chat/completions`.

    A result is known by the model's name alone: servers move between hosts, and the name is what
    the protocol has for telling models apart.
    """

    name = "endpoint"
    version = 1
    num_frames = NUM_FRAMES

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

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> SceneCaption:
        """Caption a clip by the served model.

        Raises:
            AnnotatorError: of kind `timeout`, `unreachable`, `rate_limited`, or
                `annotator_failed` where the server refuses the clip or its replies are unusable.
            ConfigError: no clip can succeed: wrong key, model or address.
        """
        server = self._server()

        def reply(messages: Sequence[Message]) -> str:
            return server.complete(
                [turn(message) for message in messages], schema=Reply, max_tokens=MAX_TOKENS
            )

        return request_caption(reply, question(frames_THWC, evidence=evidence))

    def _server(self) -> ChatServer:
        return ChatServer.from_environment(
            _PREFIX,
            who="the caption backend `endpoint`",
            later="later, run `avipipe retry`",
            retries=self._retries,
        )
