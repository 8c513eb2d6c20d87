"""Captions by any OpenAI-compatible endpoint, such as a vLLM server on another machine.

Which one is said by environment variables, in every worker: AVIPIPE_CAPTION_URL,
AVIPIPE_CAPTION_MODEL and, where the server wants one, AVIPIPE_CAPTION_API_KEY. They are read when
they are needed, so a key is neither pickled nor stored, and it is cut out of every message.
"""

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import cv2

from avipipe import __version__
from avipipe.annotators.base import Caption, Frames
from avipipe.annotators.full.caption_prompt import NUM_FRAMES, Message, question
from avipipe.annotators.full.caption_reply import MAX_TOKENS, Reply, ask
from avipipe.errors import AnnotatorError, ConfigError, FailKind
from avipipe.media.http_file import retry_after_s

URL_ENV = "AVIPIPE_CAPTION_URL"
MODEL_ENV = "AVIPIPE_CAPTION_MODEL"
KEY_ENV = "AVIPIPE_CAPTION_API_KEY"

_REMEDIES: Mapping[int, str] = {
    401: f"set {KEY_ENV} to a key that this server takes",
    403: f"set {KEY_ENV} to a key that may use this model",
    404: f"check {MODEL_ENV}, and the path in {URL_ENV}",
}
"""Statuses that every clip would get: the run stops, and this is what the user can do."""

_JPEG_QUALITY = 90
_EXCERPT_BYTES = 2000


class EndpointCaptioner:
    """Asks a server over `/v1/chat/completions`.

    A result is known by the model's name alone: servers move between hosts, and the name is what
    the protocol has for telling models apart.

    Args:
        timeout_s: longest time without a byte from the server.
        max_attempts: at a server that is busy, broken or away.
        backoff_s: wait after the first such attempt, doubled after each further one.
        max_wait_s: a server that asks for a longer wait (`Retry-After`) is given up.
    """

    name = "endpoint"
    version = 1
    num_frames = NUM_FRAMES

    def __init__(
        self,
        *,
        timeout_s: float = 120.0,
        max_attempts: int = 4,
        backoff_s: float = 2.0,
        max_wait_s: float = 60.0,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts
        self._backoff_s = backoff_s
        self._max_wait_s = max_wait_s

    @property
    def weights(self) -> Mapping[str, str]:
        """The model's name as the server knows it; what is behind the name, only its owner knows.

        Raises:
            ConfigError: the environment does not say it.
        """
        return {_Server.from_environment().model: "served"}

    def setup(self) -> None:
        """Check the environment; the server itself is first asked for the first clip.

        Raises:
            ConfigError: it does not say which server and model.
        """
        _Server.from_environment()

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> Caption:
        """Have the served model describe a clip.

        Raises:
            AnnotatorError: of kind `timeout`, `unreachable`, `rate_limited`, or
                `annotator_failed` where the server refuses the clip or its replies are unusable.
            ConfigError: no clip can succeed: wrong key, model or address.
        """
        server = _Server.from_environment()
        return ask(
            lambda messages: self._reply(server, messages),
            question(frames_THWC, evidence=evidence),
        )

    def _reply(self, server: "_Server", messages: Sequence[Message]) -> str:
        request = server.request(
            {
                "model": server.model,
                "messages": [_to_json(message) for message in messages],
                "max_tokens": MAX_TOKENS,
                "temperature": 0,
                "seed": 0,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "caption",
                        "strict": True,
                        "schema": Reply.model_json_schema(),
                    },
                },
            }
        )
        for attempt in range(1, self._max_attempts + 1):
            try:
                return _content(server.post(request, self._timeout_s))
            except _BusyError as error:
                wait_s = max(self._backoff_s * 2 ** (attempt - 1), error.wait_s)
                if attempt == self._max_attempts or wait_s > self._max_wait_s:
                    asked = f"; it asks to wait {error.wait_s:.0f} s" if error.wait_s else ""
                    message = f"{error} (attempt {attempt}{asked}); later, run `avipipe retry`"
                    raise AnnotatorError(error.kind, message) from error
            time.sleep(wait_s)
        raise AssertionError("max_attempts is at least 1")


class _BusyError(Exception):
    """What may pass: too many requests, a broken or absent server."""

    def __init__(self, kind: FailKind, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.wait_s = wait_s


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to a host that nobody named."""

    def redirect_request(self, *args: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Server:
    url: str
    model: str
    key: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> "_Server":
        url, model, key = (
            os.environ.get(name, "").strip() for name in (URL_ENV, MODEL_ENV, KEY_ENV)
        )
        missing = [name for name, value in ((URL_ENV, url), (MODEL_ENV, model)) if not value]
        if missing:
            raise ConfigError(
                f"the caption backend `endpoint` needs {' and '.join(missing)} in the environment "
                f"of every worker, such as {URL_ENV}=http://localhost:8000 and "
                f"{MODEL_ENV}=Qwen/Qwen3-VL-4B-Instruct ({KEY_ENV} where the server wants a key)"
            )
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"{KEY_ENV}: expected printable ASCII, found other characters")
        return cls(_completions_url(url), model, key)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def request(self, body: Mapping[str, Any]) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "User-Agent": f"avipipe/{__version__}"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return urllib.request.Request(self.url, json.dumps(body).encode(), headers)

    def post(self, request: urllib.request.Request, timeout_s: float) -> bytes:
        """The body of the answer.

        Raises:
            _BusyError: worth another attempt.
            AnnotatorError, ConfigError: not worth one.
        """
        try:
            opener = urllib.request.build_opener(_NoRedirects())
            with opener.open(request, timeout=timeout_s) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise AnnotatorError(
                    FailKind.TIMEOUT, f"{self.host} sent nothing for {timeout_s:g} s"
                ) from error
            raise _BusyError(
                FailKind.UNREACHABLE, f"{self.host}: {type(reason).__name__}: {reason}"
            ) from error

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """What a status other than 200 means."""
        said = self._excerpt(error)
        message = f"{self.host}: HTTP {error.code} {error.reason}"
        if error.code in _REMEDIES:
            return ConfigError(f"{message}; {_REMEDIES[error.code]}. The server said: {said}")
        if 300 <= error.code < 400:
            target = error.headers.get("Location", "elsewhere")
            return ConfigError(f"{message}: it redirects to {target}; set {URL_ENV} to that")
        if error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
            return _BusyError(FailKind.RATE_LIMITED, message, retry_after_s(error.headers))
        if error.code >= 500 or error.code == http.HTTPStatus.REQUEST_TIMEOUT:
            return _BusyError(FailKind.UNREACHABLE, message, retry_after_s(error.headers))
        return AnnotatorError(message=f"{message}: the server refuses this clip", log_tail=said)

    def _excerpt(self, error: urllib.error.HTTPError) -> str:
        try:
            text = error.read(_EXCERPT_BYTES).decode(errors="replace").strip()
        except (OSError, http.client.HTTPException):
            return ""
        return text.replace(self.key, "***") if self.key else text


def _completions_url(url: str) -> str:
    """The full address, from one that ends at the host, at `/v1`, or already is it."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
        _ = parts.port
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(
            f"{URL_ENV}: expected http://host:port or https://host/v1 without a password, "
            "found something else"
        )
    path = parts.path.rstrip("/") or "/v1"
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return urlunsplit(parts._replace(path=path))


def _to_json(message: Message) -> dict[str, Any]:
    parts = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": _data_url(part)}}
        for part in message.content
    ]
    return {"role": message.role, "content": parts}


def _data_url(frame_HWC: Frames) -> str:
    bgr_HWC = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _content(body: bytes) -> str:
    """The model's words, which may be none.

    Raises:
        AnnotatorError: this is not the answer of such an endpoint.
    """
    try:
        message = json.loads(body)["choices"][0]["message"]
        content = message.get("content") or message.get("refusal") or ""
        if isinstance(content, str):
            return content
        found = f"content of type {type(content).__name__}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
    raise AnnotatorError(
        message=f"the server's answer is not a chat completion: {found}",
        log_tail=body[:_EXCERPT_BYTES].decode(errors="replace"),
    )
