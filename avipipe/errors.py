"""The exception hierarchy.

* AvipipeError
  x ConfigError      the user can fix it: names file, key, got, expected       exit 2
  x ManifestError    a bad row or schema: path, line                           exit 3
  x WeightsError     a missing or wrong weight: names the command to run       exit 4
  x RunError         infrastructure, or too large a share of items failed      exit 5
  x ItemError        one item is bad; it fails alone, and the run goes on
    - MediaError     its file, stream or download
    - AnnotatorError a model failed on it

An `ItemError` carries a `FailKind`, so that a failure is counted, shown and retried by kind. Every
message may be shown and stored as it is: `avipipe.text` has been over it.
"""

import errno
from enum import StrEnum

from avipipe.text import said


class FailKind(StrEnum):
    """Why an item failed. A failure is an accident; a decision against a clip is a `Drop`."""

    NO_SUCH_FILE = "no_such_file"
    PRIVATE = "private"
    REMOVED = "removed"
    GEO_BLOCKED = "geo_blocked"
    AGE_RESTRICTED = "age_restricted"
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"
    BAD_REPLY = "bad_reply"
    UNSAFE_REDIRECT = "unsafe_redirect"
    TOO_LARGE = "too_large"
    UNSUPPORTED_URL = "unsupported_url"
    EMPTY_FILE = "empty_file"
    NOT_MEDIA = "not_media"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_AUDIO_STREAM = "no_audio_stream"
    RANGE_OUTSIDE = "range_outside"
    CORRUPT = "corrupt"
    BROKEN_TIMELINE = "broken_timeline"
    TOOL_FAILED = "tool_failed"
    OUT_OF_SYNC = "out_of_sync"
    WRONG_CONTENT = "wrong_content"
    ANNOTATOR_FAILED = "annotator_failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    WORKER_DIED = "worker_died"
    INTERNAL = "internal"


TRANSIENT = frozenset({FailKind.RATE_LIMITED, FailKind.UNREACHABLE})
"""The kinds that may pass by themselves; only these are retried without being asked."""


class AvipipeError(Exception):
    """Base of every error that avipipe raises on purpose."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(said(message))


class ConfigError(AvipipeError):
    """The user's configuration, arguments or output directory; the message says what to change."""

    exit_code = 2


class ManifestError(AvipipeError):
    """A source list, ledger, shard or manifest that does not hold what its contract says."""

    exit_code = 3


class WeightsError(AvipipeError):
    """A model weight is missing, gated or has the wrong hash."""

    exit_code = 4


class RunError(AvipipeError):
    """The run as a whole cannot go on: disk, cluster, or too large a share of failed items."""

    exit_code = 5


DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What the operating system says when nothing more can be written: nobody's item is to blame."""


_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room within your quota, or have it raised",
    errno.EROFS: "make this file system writable, or use a folder on another one",
    errno.EACCES: "change the permissions",
    errno.EPERM: "change the permissions",
}
"""What the user can do about it, where the operating system's word leaves no doubt."""


def disk_error(error: OSError) -> RunError:
    """What the operating system refused to read or write, and what to do about it."""
    what = "write results" if error.errno in DISK_ERRNOS else "read or write results"
    said = error.strerror or str(error) or type(error).__name__
    where = f" ({error.filename})" if error.filename else ""
    remedy = _REMEDIES.get(
        error.errno or 0, "see that the disk or server is sound and that nobody else changes them"
    )
    return RunError(
        f"cannot {what}: {said}{where}. What is done is kept: {remedy}, then run the same command "
        "again."
    )


class ItemError(AvipipeError):
    """One item is bad: `kind` says how, `log_tail` holds the last lines of the tool that failed."""

    def __init__(self, kind: FailKind, message: str, *, log_tail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.log_tail = said(log_tail)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_item_error, (type(self), self.kind, str(self), self.log_tail))


def _rebuild_item_error(
    cls: type[ItemError], kind: FailKind, message: str, log_tail: str
) -> ItemError:
    return cls(kind, message, log_tail=log_tail)


class MediaError(ItemError):
    """A file, stream or download of one item is unusable."""


class AnnotatorError(ItemError):
    """An annotator failed on one item."""

    def __init__(
        self,
        kind: FailKind = FailKind.ANNOTATOR_FAILED,
        message: str = "",
        *,
        log_tail: str = "",
    ) -> None:
        super().__init__(kind, message, log_tail=log_tail)
