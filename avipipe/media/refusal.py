"""Why a download did not happen: one table for HTTP statuses, one for yt-dlp's messages."""

import re
from collections.abc import Mapping

from avipipe.errors import FailKind, MediaError


class DownloadError(MediaError):
    """A download failed.

    Attributes:
        retry_after_s: how long the host asks to be left alone; 0 if it does not.
        status: of the HTTP reply that says so; 0 where there is none.
    """

    def __init__(
        self,
        kind: FailKind,
        message: str,
        *,
        log_tail: str = "",
        retry_after_s: float = 0.0,
        status: int = 0,
    ) -> None:
        super().__init__(kind, message, log_tail=log_tail)
        self.retry_after_s = retry_after_s
        self.status = status


HINTS: Mapping[FailKind, str] = {
    FailKind.PRIVATE: "set stages.fetch.cookies_file to cookies of an account that may see it",
    FailKind.AGE_RESTRICTED: "set stages.fetch.cookies_file to cookies of an adult's account",
    FailKind.RATE_LIMITED: "wait an hour, raise stages.fetch.page_interval_s, `avipipe retry`",
    FailKind.UNREACHABLE: "check the network, then `avipipe retry`",
    FailKind.TOO_LARGE: "raise stages.fetch.max_gb, then `avipipe retry`",
    FailKind.TOOL_FAILED: "upgrade yt-dlp (`pip install -U 'yt-dlp[default,deno]'`), then retry",
}
"""Hints by kind of failure: what the user can do; nothing helps against the other kinds."""

_STATUS: Mapping[int, FailKind] = {
    401: FailKind.PRIVATE,
    402: FailKind.PRIVATE,
    403: FailKind.PRIVATE,
    404: FailKind.REMOVED,
    407: FailKind.UNREACHABLE,
    408: FailKind.UNREACHABLE,
    410: FailKind.REMOVED,
    416: FailKind.UNREACHABLE,
    425: FailKind.UNREACHABLE,
    429: FailKind.RATE_LIMITED,
    451: FailKind.GEO_BLOCKED,
}
"""HTTP status -> what it means for a download."""

# The first match wins, so the special comes before the general: "Video unavailable" heads nearly
# every message of YouTube, and "sign in" stands in those on robots and on age, too.
_MESSAGES: tuple[tuple[FailKind, str], ...] = (
    (
        FailKind.RATE_LIMITED,
        r"not a (ro)?bot|rate.?limit|too many requests|try again later|captcha"
        r"|\bip (address )?(is|may be) (likely being )?blocked|http error 429"
        r"|unable to download video data: http error 403",
    ),
    (
        FailKind.UNREACHABLE,
        r"http error (408|425|5\d\d)|timed? ?out|name resolution|failed to resolve|getaddrinfo"
        r"|connection (refused|reset|aborted)|network is unreachable|remote end closed"
        r"|temporarily unavailable|incomplete ?read|bytes read|did not get any data blocks"
        r"|downloaded file is empty|downloaded \d+ bytes, expected|certificate.verify.failed"
        r"|\[ssl:",
    ),
    (
        FailKind.AGE_RESTRICTED,
        r"confirm your age|age.?(restrict|gate|verif|limit)|inappropriate for some users"
        r"|mature audience|adult content",
    ),
    (
        FailKind.GEO_BLOCKED,
        r"geo.?(restrict|block)|http error 451|censorship|decision of the russian government"
        r"|(available|accessible|blocked)\b[^.]* (your|this) (country|region|location)",
    ),
    (
        FailKind.UNSUPPORTED_URL,
        r"drm protect|is not a valid url|no suitable extractor|no video formats found"
        r"|live event will begin|premieres? in|not currently live|no video could be found",
    ),
    (
        FailKind.PRIVATE,
        r"\bprivate\b|protected tweet|granted access|(members|subscriber|supporter).only"
        r"|(premium|channel's) members|join this channel|registered users|subscribe[rd]"
        r"|\blog(ged)?.?in|sign(ed)? in|authenticat|wrong (video )?password|password.protected"
        r"|protected by a password|requires payment|purchase|http error 40[123]",
    ),
    (
        FailKind.REMOVED,
        r"been (removed|deleted)|(removed|deleted) by|account .*terminated"
        r"|no longer (available|exist)|does(n't| not) exist|http error (404|410)"
        r"|(video|clip|content|media|post|tweet|page|track) ((is|was|currently) )*"
        r"(unavailable|not available|isn't available|not found|deleted|removed)",
    ),
)
_TABLE = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _MESSAGES)


def kind_of_status(status: int) -> FailKind:
    """Kind of failure that an HTTP status of 300 or more means for a download."""
    if status >= 500:
        return FailKind.UNREACHABLE
    return _STATUS.get(status, FailKind.UNSUPPORTED_URL)


def kind_of_message(message: str) -> FailKind | None:
    """Kind of failure that a message of yt-dlp means; None if it is not known here."""
    # Curly apostrophes are YouTube's; advice on how to log in is yt-dlp's, and stands everywhere.
    text = message.replace("’", "'").partition("Use --")[0]
    return next((kind for kind, pattern in _TABLE if pattern.search(text)), None)


def with_hint(kind: FailKind, message: str) -> str:
    """Add to a message what the user can do about it."""
    hint = HINTS.get(kind)
    return f"{message.rstrip('. ')}; {hint}" if hint else message
