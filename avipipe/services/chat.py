"""Asks any OpenAI-compatible server over `/v1/chat/completions`.

Which one is said by three environment variables. They are read when they are needed, so a key is
neither pickled nor stored.
"""

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from avipipe.errors import AnnotatorError, ConfigError
from avipipe.services.http import (
    EXCERPT_BYTES,
    RetryPolicy,
    Service,
    check_key,
    check_url,
)
from avipipe.services.reply import Message

_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class ChatServer:
    """A chat model on an OpenAI-compatible server.

    Attributes:
        url: of its chat completions.
        model: its name there.
    """

    url: str
    model: str
    service: Service

    @classmethod
    def from_environment(
        cls, prefix: str, *, who: str, later: str, retries: RetryPolicy | None = None
    ) -> "ChatServer":
        """The server that `{prefix}_URL`, `{prefix}_MODEL` and `{prefix}_API_KEY` name.

        Args:
            who: needs it, for messages, such as "the caption backend `endpoint`".
            later: what to do when the server cannot be reached now.
        Raises:
            ConfigError: the environment does not say which server and model.
        """
        names = [f"{prefix}_{name}" for name in ("URL", "MODEL", "API_KEY")]
        url, model, key = (os.environ.get(name, "").strip() for name in names)
        url_env, model_env, key_env = names
        missing = [name for name, value in ((url_env, url), (model_env, model)) if not value]
        if missing:
            raise ConfigError(
                f"{who} needs {' and '.join(missing)} in the environment "
                f"of every worker, such as {url_env}=http://localhost:8000 and "
                f"{model_env}=Qwen/Qwen3-VL-4B-Instruct ({key_env} where the server wants a key)"
            )
        check_key(key_env, key)
        remedies = {
            401: f"set {key_env} to a key that this server takes",
            403: f"set {key_env} to a key that may use this model",
            404: f"check {model_env}, and the path in {url_env}",
        }
        service = Service(
            key, ("Authorization", "Bearer "), remedies, url_env, later, retries or RetryPolicy()
        )
        return cls(_completions_url(url_env, url), model, service)

    def complete(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        schema: type[BaseModel] | None,
        max_tokens: int,
        strict: bool = True,
    ) -> str:
        """The model's reply as text, which may be empty.

        Args:
            messages: of `turn`.
            schema: of the JSON that is wanted; servers that can will enforce it. None: plain words.
            strict: it has no optional keys, as strict enforcement wants.
        Raises:
            AnnotatorError, ConfigError: see `Service.request`.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": 0,
        }
        if schema is not None:
            form = {
                "name": schema.__name__.lower(),
                "strict": strict,
                "schema": schema.model_json_schema(),
            }
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        # Without the key once more, as JSON may spell it in other characters.
        return self.service.without_key(_content(self.service.request(self.url, body)))


def turn(message: Message) -> dict[str, Any]:
    """A turn of a conversation as servers take it.

    Args:
        message: of texts, RGB pictures (H, W, 3), and `sound_part`s.
    """
    return {"role": message.role, "content": [_part(part) for part in message.content]}


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, np.ndarray):
        return picture_part(part)
    told: dict[str, Any] = part
    return told


def sound_part(wav: bytes) -> dict[str, Any]:
    """A WAV file as a part of a message; only servers whose models hear take it."""
    data = base64.b64encode(wav).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def picture_part(frame_HWC: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """An RGB picture as a part of a message."""
    bgr_HWC = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _completions_url(name: str, url: str) -> str:
    """The full address, from one that ends at the host, at `/v1`, or already is it."""
    check_url(name, url)
    parts = urlsplit(url)
    path = parts.path.rstrip("/") or "/v1"
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return urlunsplit(parts._replace(path=path))


def _content(body: bytes) -> str:
    """The model's reply as text, which may be empty.

    Raises:
        AnnotatorError: this is not the answer of such an endpoint.
    """
    try:
        message = json.loads(body)["choices"][0]["message"]
        content = message.get("content") or message.get("refusal") or ""
        if isinstance(content, str):
            return content
        found = f"content of type {type(content).__name__}"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
    raise AnnotatorError(
        message=f"the server's answer is not a chat completion: {found}",
        log_tail=body[:EXCERPT_BYTES].decode(errors="replace"),
    )
