"""Downloads one file over HTTP; goes on where it broke off."""

import email.utils
import hashlib
import http.client
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from avipipe import __version__
from avipipe.errors import FailKind
from avipipe.media.cookies import load_cookies
from avipipe.media.refusal import DownloadError, kind_of_status
from avipipe.text import to_bytes

_CHUNK_BYTES = 1 << 16
_SAFE = "%/:=&?~#+!$,;'@()*[]"


class HttpFile:
    """A download in a folder. `attempt` may be called again after a failure and then resumes.

    So does a later download of the same URL into the same folder.

    Args:
        url: of the file.
        folder: where it is written, as `media` with the URL's suffix.
        cookies_file: in Netscape format; None for no cookies.
        rate_limit_bytes_per_s: 0 for no limit.
        timeout_s: longest time without a byte.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        cookies_file: Path | None = None,
        rate_limit_bytes_per_s: int = 0,
        timeout_s: float = 30.0,
    ) -> None:
        self._url = url
        self._name = hashlib.sha256(to_bytes(url)).hexdigest()  # it may hold secrets
        self._target = folder / f"media{Path(urlsplit(url).path).suffix.lower()}"
        self._part = folder / "media.part"
        self._cookies_file = cookies_file
        self._rate_limit_bytes_per_s = rate_limit_bytes_per_s
        self._timeout_s = timeout_s
        self._tag = folder / "media.part.tag"

    def attempt(self) -> Path | None:
        """Download what is missing.

        Returns:
            the file, or None if the URL leads to a web page.
        Raises:
            DownloadError: the host refuses, does not answer, or breaks off.
            ConfigError: the cookies file cannot be read.
        """
        validator = self._validator()
        offset_bytes = self._part.stat().st_size if validator and self._part.exists() else 0
        with self._open(offset_bytes, validator) as response:
            if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
                return None
            if response.status != http.client.PARTIAL_CONTENT:
                offset_bytes = 0
            with self._part.open("ab" if offset_bytes else "wb") as file:
                self._tag.write_text(f"{self._name}\n{_validator_of(response.headers) or ''}")
                self._copy(response, file)
            self._check_size(response.headers, offset_bytes)
        self._tag.unlink()
        return self._part.rename(self._target)

    def _validator(self) -> str:
        """What tells that the file is still the one that was begun; empty where nothing does."""
        try:
            name, _, validator = self._tag.read_text().partition("\n")
        except FileNotFoundError:
            return ""
        return validator if name == self._name else ""

    def _open(self, offset_bytes: int, validator: str) -> http.client.HTTPResponse:
        headers = {"User-Agent": f"avipipe/{__version__}", "Accept-Encoding": "identity"}
        if offset_bytes:
            headers |= {"Range": f"bytes={offset_bytes}-", "If-Range": validator}
        try:
            request = urllib.request.Request(quote(self._url, safe=_SAFE), headers=headers)
            opener = urllib.request.build_opener(*self._cookie_handlers())
            response: http.client.HTTPResponse = opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                    self._tag.unlink(missing_ok=True)
                raise DownloadError(
                    kind_of_status(error.code),
                    f"{self._url}: HTTP {error.code} {error.reason}",
                    retry_after_s=retry_after_s(error.headers),
                ) from error
        except (http.client.InvalidURL, ValueError) as error:
            raise DownloadError(
                FailKind.UNSUPPORTED_URL, f"{self._url}: not a URL: {error}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        return response

    def _cookie_handlers(self) -> list[urllib.request.BaseHandler]:
        if self._cookies_file is None:
            return []
        return [urllib.request.HTTPCookieProcessor(load_cookies(self._cookies_file))]

    def _copy(self, response: http.client.HTTPResponse, file: IO[bytes]) -> None:
        started_s, received_bytes = time.monotonic(), 0
        while True:
            try:
                chunk = response.read1(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            if not chunk:
                return
            file.write(chunk)
            received_bytes += len(chunk)
            if self._rate_limit_bytes_per_s:
                due_s = received_bytes / self._rate_limit_bytes_per_s
                time.sleep(max(started_s + due_s - time.monotonic(), 0.0))

    def _check_size(self, headers: Message, offset_bytes: int) -> None:
        size_bytes = self._part.stat().st_size
        announced = headers.get("Content-Length")
        if announced is not None and size_bytes != offset_bytes + int(announced):
            raise DownloadError(
                FailKind.UNREACHABLE,
                f"{self._url}: expected {offset_bytes + int(announced)} bytes, "
                f"the connection ended after {size_bytes}",
            )
        if size_bytes == 0:
            raise DownloadError(FailKind.EMPTY_FILE, f"{self._url}: the file is empty")

    def _unreachable(self, error: Exception) -> DownloadError:
        reason = getattr(error, "reason", None) or error
        return DownloadError(FailKind.UNREACHABLE, f"{self._url}: {type(error).__name__}: {reason}")


def _validator_of(headers: Message) -> str | None:
    """What tells that the file is still the same one; without it nothing may be resumed."""
    tag = headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return headers.get("Last-Modified")


def retry_after_s(headers: Message) -> float:
    """The Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3); 0 without one."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0
