"""A client of HTTP services that want a key: retries, or says what to do where that is no use.

The key is cut out of every message and every answer, as servers repeat what they are sent; no
redirect carries it to a host that nobody named.
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from avipipe import __version__
from avipipe.errors import AnnotatorError, ConfigError, FailKind
from avipipe.media.http_reply import retry_after_s
from avipipe.text import MASK, forms_of, hiding, secrets_of, without_secrets

EXCERPT_BYTES = 2000
MAX_REPLY_BYTES = 100_000_000
"""Largest reply that is read: far above a completion, or ten minutes of sound."""
MIN_KEY_CHARS = 8
"""Shortest key; servers without keys are sent shorter words, such as `EMPTY` or `null`."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Timeout and retries of the calls to a service.

    Attributes:
        timeout_s: longest time without a byte from the server.
        max_attempts: at a server that is busy, broken or away.
        backoff_s: wait after the first such attempt, doubled after each further one.
        max_wait_s: a server that asks for a longer wait (`Retry-After`) is given up.
    """

    timeout_s: float = 120.0
    max_attempts: int = 4
    backoff_s: float = 2.0
    max_wait_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """An HTTP service with a key: bodies in, bodies out.

    Attributes:
        key: the secret; "" where there is none.
        key_header: its header and what stands before it there.
        remedies: status that every request would get -> what the user can do.
        url_env: the environment variable that says where the service is.
        later: what to do when the service cannot be reached now.
    """

    key: str = field(repr=False)
    key_header: tuple[str, str]
    remedies: Mapping[int, str]
    url_env: str
    later: str
    retries: RetryPolicy = RetryPolicy()

    def request(self, url: str, body: Mapping[str, Any] | None = None) -> bytes:
        """Send a GET, or a POST of JSON; return the body of the answer.

        Raises:
            AnnotatorError: of kind `timeout`, `unreachable`, `rate_limited`, or
                `annotator_failed` where the server refuses this request.
            ConfigError: no request can succeed: wrong key, model or address.
        """
        with hiding(self.key, *secrets_of(url)):
            return self._patiently(self._request(url, body))

    def without_key(self, answer: str) -> str:
        """Cut the key out of what a server said, as that may be published."""
        for form in self._forms():
            answer = answer.replace(form, MASK)
        return answer

    def _patiently(self, request: urllib.request.Request) -> bytes:
        retries = self.retries
        for attempt in range(1, retries.max_attempts + 1):
            try:
                return self._once(request)
            except _BusyError as error:
                wait_s = max(retries.backoff_s * 2 ** (attempt - 1), error.wait_s)
                if attempt == retries.max_attempts or wait_s > retries.max_wait_s:
                    asked = f"; it asks to wait {error.wait_s:.0f} s" if error.wait_s else ""
                    message = f"{error} (attempt {attempt}{asked}); {self.later}"
                    raise AnnotatorError(error.kind, message) from error
            time.sleep(wait_s)
        raise AssertionError("max_attempts is at least 1")

    def _request(self, url: str, body: Mapping[str, Any] | None) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "User-Agent": f"avipipe/{__version__}"}
        if self.key:
            name, prefix = self.key_header
            headers[name] = f"{prefix}{self.key}"
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.Request(url, data, headers)

    def _once(self, request: urllib.request.Request) -> bytes:
        """The body of the answer.

        Raises:
            _BusyError: worth another attempt.
            AnnotatorError, ConfigError: not worth one.
        """
        timeout_s = self.retries.timeout_s
        try:
            opener = urllib.request.build_opener(_NoRedirects())
            with opener.open(request, timeout=timeout_s) as response:
                answer = bytes(response.read(MAX_REPLY_BYTES + 1))
                if response.length and len(answer) <= MAX_REPLY_BYTES:
                    raise http.client.IncompleteRead(answer, response.length)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error, request.host) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise AnnotatorError(
                    FailKind.TIMEOUT, f"{request.host} sent nothing for {timeout_s:g} s"
                ) from error
            raise _BusyError(
                FailKind.UNREACHABLE, f"{request.host}: {type(reason).__name__}: {reason}"
            ) from error
        if len(answer) > MAX_REPLY_BYTES:
            raise AnnotatorError(
                FailKind.TOO_LARGE,
                f"{request.host}: expected a reply of at most {MAX_REPLY_BYTES} bytes, found more",
            )
        for form in self._forms():
            answer = answer.replace(form.encode(), MASK.encode())
        return answer

    def _refusal(self, error: urllib.error.HTTPError, host: str) -> Exception:
        """What a status other than 200 means."""
        said = self._excerpt(error)
        message = f"{host}: HTTP {error.code} {error.reason}"
        if error.code in self.remedies:
            return ConfigError(f"{message}; {self.remedies[error.code]}. The server said: {said}")
        if 300 <= error.code < 400:
            target = error.headers.get("Location", "elsewhere")
            return ConfigError(f"{message}: it redirects to {target}; set {self.url_env} to that")
        if error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
            return _BusyError(FailKind.RATE_LIMITED, message, retry_after_s(error.headers))
        if error.code >= 500 or error.code == http.HTTPStatus.REQUEST_TIMEOUT:
            return _BusyError(FailKind.UNREACHABLE, message, retry_after_s(error.headers))
        return AnnotatorError(message=f"{message}: the server refuses this", log_tail=said)

    def _excerpt(self, error: urllib.error.HTTPError) -> str:
        try:
            # So much more that a key at the end of the excerpt is whole, and is found.
            longest = max(map(len, self._forms()), default=0)
            said = error.read(EXCERPT_BYTES + longest)
        except (OSError, http.client.HTTPException):
            return ""
        text = without_secrets(said.decode(errors="replace"))
        return text[:EXCERPT_BYTES].strip()

    def _forms(self) -> tuple[str, ...]:
        return forms_of(self.key) if len(self.key) >= MIN_KEY_CHARS else ()


class _BusyError(Exception):
    """A failure that may pass: too many requests, a broken or absent server."""

    def __init__(self, kind: FailKind, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.wait_s = wait_s


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def check_key(name: str, key: str) -> None:
    """Refuse a key that cannot stand in a header.

    Raises:
        ConfigError: it holds other than printable ASCII.
    """
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{name}: expected printable ASCII, found other characters")


def check_url(name: str, url: str) -> None:
    """Refuse a URL that is no address of a server.

    Raises:
        ConfigError: it is none, or holds a password.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
        _ = parts.port
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(
            f"{name}: expected http://host:port or https://host/v1 without a password, "
            "found something else"
        )
