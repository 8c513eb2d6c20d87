"""What the headers of an HTTP reply say, believed only as far as they are exact."""

import email.utils
import re
import time
from dataclasses import dataclass
from email.message import Message

from avipipe.errors import FailKind
from avipipe.media.refusal import DownloadError

MAX_RETRY_AFTER_S = 86_400.0
"""Longest Retry-After that is obeyed: a day; a host that asks for more is asked again then."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_LENGTH = re.compile(r"\d{1,18}")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A byte range: `first` to `last`, both included, of a file of `total` bytes."""

    first: int
    last: int
    total: int


def content_range(headers: Message) -> ByteRange | None:
    """Parse the range that a 206 holds; None where it does not say it exactly."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    return ByteRange(*map(int, match.groups())) if match else None


def content_length(headers: Message, shown: str) -> int | None:
    """Length of the body; None where the reply comes in chunks or until its end.

    Raises:
        DownloadError: BAD_REPLY; what is announced is no length.
    """
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return None
    announced = set(headers.get_all("Content-Length", ()))
    if not announced:
        return None
    text = announced.pop().strip()
    if announced or not _LENGTH.fullmatch(text):
        raise DownloadError(
            FailKind.BAD_REPLY, f"{shown}: expected one Content-Length in digits, found {text!r}"
        )
    return int(text)


def check_unpacked(headers: Message, shown: str) -> None:
    """Refuse a body that was packed although nobody asked for that.

    Raises:
        DownloadError: BAD_REPLY.
    """
    packing = headers.get("Content-Encoding", "").strip().lower()
    if packing not in ("", "identity"):
        raise DownloadError(
            FailKind.BAD_REPLY,
            f"{shown}: expected the file as it is, found it packed ({packing!r}) unasked",
        )


def check_limit(shown: str, size_bytes: int, max_bytes: int) -> None:
    """Refuse a body that is larger than it may be; a `max_bytes` of 0 is no limit.

    Raises:
        DownloadError: TOO_LARGE.
    """
    if max_bytes and size_bytes > max_bytes:
        raise DownloadError(
            FailKind.TOO_LARGE,
            f"{shown}: expected at most {max_bytes} bytes, found {size_bytes} or more",
        )


def validator_of(headers: Message) -> str:
    """Validator of a file (ETag or date): the same file has the same; empty where there is none."""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def agrees(headers: Message, validator: str) -> bool:
    """Whether a partial reply is of the version that `validator` names.

    A server must repeat its ETag, and may leave out Last-Modified (RFC 9110, section 15.3.7).
    """
    if not headers.get("ETag") and not headers.get("Last-Modified"):
        return email.utils.parsedate(validator) is not None
    return validator_of(headers) == validator


def retry_after_s(headers: Message) -> float:
    """The Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3); 0 without one.

    At most a day, whatever the header says.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        wait_s = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
