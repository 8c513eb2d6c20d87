"""A file on a server, read piece by piece: what a demuxer needs of it, and no more."""

import http.client
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from avipipe.errors import FailKind
from avipipe.media.http_reply import (
    ByteRange,
    agrees,
    check_limit,
    check_unpacked,
    content_length,
    content_range,
    validator_of,
)
from avipipe.media.refusal import DownloadError

SendRequest = Callable[[Mapping[str, str]], Any]
"""Sends headers to a file's URL; gives a reply with `status`, `headers`, `read` and `close`."""

# An index is a few kilobytes, a stretch of film some megabytes: what is read on gets more at once.
_FIRST_BYTES = 1 << 16
_LARGEST_BYTES = 1 << 22
"""Pieces of a file that is read on double up to this."""
# Sound, picture and index are read in turns.
_NUM_PIECES = 4
# A file that has to be read in more pieces is had sooner as a whole.
_MAX_REQUESTS = 400


class NotInPartsError(Exception):
    """A file that cannot be had, or not sensibly, in parts."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Limits of reading one remote file; 0 is no limit."""

    bytes_per_s: int = 0
    max_bytes: int = 0


class RemoteFile(io.RawIOBase):
    """A seekable file for PyAV over requests for byte ranges.

    Each reply must hold exactly the range that was asked for, of the same version of the file.

    Args:
        ask: the URL.
        shown: the URL for messages.
        limits: how fast, and how much in all.
    Raises:
        NotInPartsError: the server does not give ranges, gives others than it was asked for, or
            changed the file meanwhile.
        DownloadError: it refuses, does not answer or breaks off; or it is too much.
    """

    def __init__(self, ask: SendRequest, shown: str, limits: ReadLimits) -> None:
        self._ask = ask
        self._shown = shown
        self._limits = limits
        self._position = 0
        self._pieces: list[tuple[int, bytes]] = []
        self._num_requests = 0
        self._total = 0
        self._validator = ""
        self._received_bytes = 0
        self._fetch(0, _FIRST_BYTES)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._total}[whence]
        self._position = origin + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes from the position on; none at the end."""
        if size == 0 or self._position >= self._total:
            return b""
        first, piece = self._piece()
        begin = self._position - first
        data = piece[begin : begin + size] if size > 0 else piece[begin:]
        self._position += len(data)
        return data

    def _piece(self) -> tuple[int, bytes]:
        """The piece around the position; the latest used are kept."""
        length = _FIRST_BYTES
        for index, (first, piece) in enumerate(self._pieces):
            if first <= self._position < first + len(piece):
                self._pieces.append(self._pieces.pop(index))
                return self._pieces[-1]
            if self._position == first + len(piece):
                length = min(2 * len(piece), _LARGEST_BYTES)
        return self._fetch(self._position, length)

    def _fetch(self, first: int, length: int) -> tuple[int, bytes]:
        self._num_requests += 1
        if self._num_requests > _MAX_REQUESTS:
            raise NotInPartsError(f"it took more than {_MAX_REQUESTS} requests")
        last = first + length - 1
        if self._total:
            last = min(last, self._total - 1)
        started_s = time.monotonic()
        data = self._received(first, last)
        self._received_bytes += len(data)
        check_limit(self._shown, self._received_bytes, self._limits.max_bytes)
        self._pieces = [*self._pieces[-(_NUM_PIECES - 1) :], (first, data)]
        if self._limits.bytes_per_s:
            due_s = len(data) / self._limits.bytes_per_s
            time.sleep(max(started_s + due_s - time.monotonic(), 0.0))
        return first, data

    def _received(self, first: int, last: int) -> bytes:
        headers = {"Range": f"bytes={first}-{last}"}
        try:
            reply = self._ask(headers)
        except Exception as error:  # ours, or yt-dlp's, which is of another class
            if getattr(error, "status", 0) == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise NotInPartsError("it has no such range") from error
            raise
        try:
            length = self._checked(reply, first, last)
            return self._body(reply, length)
        finally:
            reply.close()

    def _checked(self, reply: Any, first: int, last: int) -> int:
        """The length of a reply that is what was asked for; the first says how long the file is."""
        given = content_range(reply.headers)
        if reply.status != http.client.PARTIAL_CONTENT or given is None:
            raise NotInPartsError("it comes as a whole only")
        check_unpacked(reply.headers, self._shown)
        if not self._total:
            self._total, self._validator = given.total, validator_of(reply.headers)
        elif self._validator and not agrees(reply.headers, self._validator):
            raise NotInPartsError("it changed while it was read")
        last = min(last, self._total - 1)
        length = last - first + 1
        announced = content_length(reply.headers, self._shown)
        if given != ByteRange(first, last, self._total) or announced not in (None, length):
            raise NotInPartsError("it gives other ranges than it is asked for")
        return length

    def _body(self, reply: Any, length: int) -> bytes:
        chunks, missing = [], length
        while missing:
            try:
                chunk = reply.read(missing)
            except (OSError, http.client.HTTPException) as error:
                message = f"{self._shown}: {type(error).__name__}: {error}"
                raise DownloadError(FailKind.UNREACHABLE, message) from error
            if not chunk:
                raise DownloadError(
                    FailKind.UNREACHABLE,
                    f"{self._shown}: expected {length} bytes, the connection ended after "
                    f"{length - missing}",
                )
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)
