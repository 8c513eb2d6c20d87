"""The exception hierarchy.

* AvipipeError
  x ConfigError      the user can fix it: names file, key, got, expected       exit 2
  x ManifestError    a bad row or schema: path, line                           exit 3
  x WeightsError     a missing or wrong weight: names the command to run       exit 4
  x RunError         infrastructure, or too large a share of items failed      exit 5
  x ItemError        one item is bad; it fails alone, and the run goes on
    - MediaError     its file, stream or download
    - AnnotatorError a model failed on it

An `ItemError` carries a `FailKind`, so that a failure is counted, shown and retried by kind.
"""

import errno
from enum import StrEnum


class FailKind(StrEnum):
    """Why an item failed. A failure is an accident; a decision against a clip is a `Drop`."""

    NO_SUCH_FILE = "no_such_file"
    PRIVATE = "private"
    REMOVED = "removed"
    GEO_BLOCKED = "geo_blocked"
    AGE_RESTRICTED = "age_restricted"
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"
    UNSUPPORTED_URL = "unsupported_url"
    EMPTY_FILE = "empty_file"
    NOT_MEDIA = "not_media"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_AUDIO_STREAM = "no_audio_stream"
    RANGE_OUTSIDE = "range_outside"
    TOO_LARGE = "too_large"
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


def disk_error(error: OSError) -> RunError:
    """Results cannot be written: what to tell the user."""
    where = f" ({error.filename})" if error.filename else ""
    return RunError(
        f"cannot write results: {error.strerror or error}{where}. Nothing is lost: make room or "
        "change the permissions, then run the same command again."
    )


class ItemError(AvipipeError):
    """One item is bad: `kind` says how, `log_tail` holds the last lines of the tool that failed."""

    def __init__(self, kind: FailKind, message: str, *, log_tail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.log_tail = log_tail

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
