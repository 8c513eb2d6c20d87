"""Downloads one file over HTTP; goes on where it broke off."""

import hashlib
import http.client
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from avipipe.errors import FailKind
from avipipe.media.http_reply import (
    ByteRange,
    agrees,
    check_unpacked,
    content_length,
    content_range,
    validator_of,
)
from avipipe.media.refusal import DownloadError
from avipipe.media.web_access import WebAccess
from avipipe.text import to_bytes

_CHUNK_BYTES = 1 << 16
_PAGES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class _Begun:
    """What is known of the file that lies here in part."""

    name: str
    validator: str
    total_bytes: int


class HttpFile:
    """A download in a folder. `attempt` may be called again after a failure and then resumes.

    So does a later download of the same URL into the same folder. A part is gone on with only
    where the server proves that what it sends is the rest of the same file; what is not whole
    and what it was announced to be never gets the name of the file.

    Args:
        access: to its URL.
        folder: where it is written, as `media` with the URL's suffix.
        rate_limit_bytes_per_s: 0 for no limit.
        max_bytes: what is larger is refused; 0 for no limit.
    """

    def __init__(
        self,
        access: WebAccess,
        folder: Path,
        *,
        rate_limit_bytes_per_s: int = 0,
        max_bytes: int = 0,
    ) -> None:
        self._access = access
        self._shown = access.shown
        self._name = hashlib.sha256(to_bytes(access.url)).hexdigest()  # it may hold secrets
        self._target = folder / f"media{Path(urlsplit(access.url).path).suffix.lower()}"
        self._part = folder / "media.part"
        self._note = folder / "media.part.json"
        self._rate_limit_bytes_per_s = rate_limit_bytes_per_s
        self._max_bytes = max_bytes

    def attempt(self) -> Path | None:
        """Download what is missing.

        Returns:
            the file, or None if the URL leads to a web page.
        Raises:
            DownloadError: the host refuses, does not answer, breaks off, or replies what cannot
                be; or the file is too large.
            ConfigError: the cookies file cannot be read.
        """
        offset_bytes, reply = self._ask()
        with reply:
            if reply.headers.get_content_type() in _PAGES:
                return None
            check_unpacked(reply.headers, self._shown)
            length = content_length(reply.headers, self._shown)
            total_bytes = None if length is None else offset_bytes + length
            self._check_limit(total_bytes or 0)
            with self._part.open("ab" if offset_bytes else "wb") as file:
                if not offset_bytes:
                    self._write_note(validator_of(reply.headers), total_bytes)
                self._copy(reply, file)
        self._check_size(total_bytes)
        self._note.unlink()
        return self._part.rename(self._target)

    def _ask(self) -> tuple[int, http.client.HTTPResponse]:
        """The reply, and where in the file it begins."""
        begun, offset_bytes = self._begun()
        if begun is not None and offset_bytes:
            reply = self._ask_for_rest(begun, offset_bytes)
            if reply is not None:
                is_rest = reply.status == http.client.PARTIAL_CONTENT
                return (offset_bytes if is_rest else 0), reply
        self._note.unlink(missing_ok=True)
        reply = self._access.get({})
        if reply.status != http.client.OK:
            reply.close()
            raise DownloadError(
                FailKind.BAD_REPLY,
                f"{self._shown}: expected the whole file (HTTP 200), found HTTP {reply.status}",
            )
        return 0, reply

    def _ask_for_rest(self, begun: _Begun, offset_bytes: int) -> http.client.HTTPResponse | None:
        """The rest of the file, or all of a newer one; None where neither came."""
        headers = {"Range": f"bytes={offset_bytes}-", "If-Range": begun.validator}
        try:
            reply = self._access.get(headers)
        except DownloadError as error:
            if error.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return None
            raise
        rest = ByteRange(offset_bytes, begun.total_bytes - 1, begun.total_bytes)
        is_rest = (
            reply.status == http.client.PARTIAL_CONTENT
            and content_range(reply.headers) == rest
            and content_length(reply.headers, self._shown)
            in (None, begun.total_bytes - offset_bytes)
            and agrees(reply.headers, begun.validator)
        )
        if is_rest or reply.status == http.client.OK:
            return reply
        reply.close()
        return None

    def _begun(self) -> tuple[_Begun | None, int]:
        """The download that was begun here, if it can be told that it is of the same file."""
        try:
            begun = _Begun(**json.loads(self._note.read_bytes()))
            offset_bytes = self._part.stat().st_size
        except (OSError, ValueError, TypeError):
            return None, 0  # nothing, or torn by a crash
        fits = begun.name == self._name and offset_bytes < begun.total_bytes
        return (begun, offset_bytes) if fits and begun.validator else (None, 0)

    def _write_note(self, validator: str, total_bytes: int | None) -> None:
        # Of a file of unknown length nobody can tell what its rest is: it begins again.
        begun = _Begun(self._name, validator, total_bytes or 0)
        self._note.write_text(json.dumps(asdict(begun)))

    def _copy(self, reply: http.client.HTTPResponse, file: IO[bytes]) -> None:
        started_s, received_bytes = time.monotonic(), 0
        while True:
            try:
                chunk = reply.read1(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise self._access.unreachable(error) from error
            if not chunk:
                return
            file.write(chunk)
            received_bytes += len(chunk)
            self._check_limit(file.tell())
            if self._rate_limit_bytes_per_s:
                due_s = received_bytes / self._rate_limit_bytes_per_s
                time.sleep(max(started_s + due_s - time.monotonic(), 0.0))

    def _check_limit(self, size_bytes: int) -> None:
        if self._max_bytes and size_bytes > self._max_bytes:
            raise DownloadError(
                FailKind.TOO_LARGE,
                f"{self._shown}: expected at most {self._max_bytes} bytes, found "
                f"{size_bytes} or more",
            )

    def _check_size(self, total_bytes: int | None) -> None:
        size_bytes = self._part.stat().st_size
        if total_bytes is not None and size_bytes != total_bytes:
            raise DownloadError(
                FailKind.UNREACHABLE,
                f"{self._shown}: expected {total_bytes} bytes, the connection ended after "
                f"{size_bytes}",
            )
        if size_bytes == 0:
            raise DownloadError(FailKind.EMPTY_FILE, f"{self._shown}: the file is empty")
