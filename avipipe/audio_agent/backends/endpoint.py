"""A language model behind any OpenAI-compatible server: AVIPIPE_AGENT_URL, _MODEL, _API_KEY."""

from collections.abc import Sequence

from pydantic import BaseModel

from avipipe.audio_agent.files import wav_bytes
from avipipe.audio_agent.tools import Sound
from avipipe.services.chat import ChatServer, sound_part, turn
from avipipe.services.http import RetryPolicy
from avipipe.services.reply import Message

PREFIX = "AVIPIPE_AGENT"
MAX_TOKENS = 2048
"""Most tokens of a reply; a choice."""

RETRIES = RetryPolicy(timeout_s=110.0, max_attempts=3, backoff_s=2.0, max_wait_s=20.0)
"""Shorter than the loop's limit for a call, so that the service's own error is reported."""


class Endpoint:
    """A chat model behind an endpoint; sends sounds as WAV (`input_audio`), pictures as JPEG.

    As captioner or judge it wants a model that hears, such as Qwen3-Omni; as planner one that
    sees.
    """

    name = "endpoint"
    cost_usd: float | None = None
    sees = True

    def __init__(self, retries: RetryPolicy = RETRIES) -> None:
        self._retries = retries

    def setup(self) -> None:
        """Check that the environment names a server and a model.

        Raises:
            ConfigError: it does not say which server and model.
        """
        self._server()

    def reply(self, messages: Sequence[Message], *, schema: type[BaseModel]) -> str:
        """The model's reply as text.

        Raises:
            AnnotatorError, ConfigError: see `Service.request`.
        """
        asked = [turn(_heard(message)) for message in messages]
        return self._server().complete(asked, schema=schema, max_tokens=MAX_TOKENS, strict=False)

    def _server(self) -> ChatServer:
        return ChatServer.from_environment(
            PREFIX,
            who="the audio agent's `endpoint`",
            later="is the server up?",
            retries=self._retries,
        )


def _heard(message: Message) -> Message:
    """With its sounds as the server takes them."""
    parts = (sound_part(wav_bytes(p)) if isinstance(p, Sound) else p for p in message.content)
    return Message(message.role, tuple(parts))
