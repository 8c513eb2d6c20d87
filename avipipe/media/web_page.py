"""Downloads the video of a web page with yt-dlp."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avipipe.errors import FailKind, RunError
from avipipe.media.cookies import cookie_stream
from avipipe.media.ffmpeg import ffmpeg_path
from avipipe.media.refusal import DownloadError, kind_of_message, kind_of_status

_JS_RUNTIMES = ("deno", "node", "bun", "quickjs")
_LIVE = ("is_live", "is_upcoming", "post_live")


@dataclass(frozen=True, slots=True)
class WebVideo:
    """A downloaded file, and what its page says about it, as yt-dlp names it."""

    path: Path
    info: Mapping[str, Any]


@dataclass(slots=True)
class _LogTail:
    """What yt-dlp takes for a logger: its last lines, kept for whoever asks why."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def debug(self, message: str) -> None:
        self.lines.append(message)

    warning = error = debug

    def __str__(self) -> str:
        return "\n".join(self.lines)


def download_web_video(
    url: str,
    folder: Path,
    *,
    short_side_px: int,
    cookies_file: Path | None = None,
    rate_limit_bytes_per_s: int = 0,
    timeout_s: float = 30.0,
) -> WebVideo:
    """Download the best picture and sound of the one video that `url` leads to.

    Args:
        folder: where it is written, as `media` with the suffix of its container; a partial
            download that lies there is gone on with.
        short_side_px: the largest resolution not above this is taken.
        cookies_file: in Netscape format; read, never written.
        rate_limit_bytes_per_s: 0 for no limit.
        timeout_s: longest time without a byte.
    Raises:
        DownloadError: the page is refused, gone, unknown, a playlist or live; or yt-dlp failed.
        ConfigError: the cookies file cannot be read.
        RunError: the disk is full.
    """
    import yt_dlp

    log = _LogTail()
    options = {
        "logger": log,
        "quiet": True,
        "noprogress": True,
        "color": "no_color",
        "format": "bv*+ba/b",
        "format_sort": [f"res:{short_side_px}"],
        "merge_output_format": "mkv",
        "paths": {"home": str(folder)},
        # Named by its format: a retry that is offered another one must not go on with this one.
        "outtmpl": {"default": "part-%(format_id).60B.%(ext)s"},
        "updatetime": False,
        "noplaylist": True,
        "playlist_items": "1:2",  # two are enough to tell that it is a playlist
        "extract_flat": "in_playlist",
        "ffmpeg_location": ffmpeg_path(),
        "js_runtimes": {name: {} for name in _JS_RUNTIMES},
        "cookiefile": None if cookies_file is None else cookie_stream(cookies_file),
        "ratelimit": rate_limit_bytes_per_s or None,
        "socket_timeout": timeout_s,
        "retries": 3,
        "extractor_retries": 1,
    }
    try:
        with yt_dlp.YoutubeDL(options) as ydl:
            info = _only_video(ydl, url)
            info = ydl.process_ie_result(info, download=True)
            path = Path(info["requested_downloads"][0]["filepath"])
            return WebVideo(path.rename(folder / f"media{path.suffix}"), ydl.sanitize_info(info))
    except yt_dlp.utils.YoutubeDLError as error:
        raise _explained(url, error, log) from error


def _only_video(ydl: Any, url: str) -> dict[str, Any]:
    info: dict[str, Any] = ydl.extract_info(url, download=False)
    if info.get("_type") == "playlist":
        entries = list(info["entries"])
        if len(entries) != 1:
            raise DownloadError(
                FailKind.UNSUPPORTED_URL,
                f"{url}: expected one video, found {'several' if entries else 'none'}; list "
                f"videos one a line (`yt-dlp --flat-playlist --print url {url}`)",
            )
        info = entries[0]
        if info.get("_type") == "url":
            info = ydl.extract_info(info["url"], download=False)
    if info.get("live_status") in _LIVE:
        raise DownloadError(
            FailKind.UNSUPPORTED_URL,
            f"{url}: expected a finished video, found a live one; `avipipe retry` when it is over",
        )
    return info


def _explained(url: str, error: Exception, log: _LogTail) -> DownloadError:
    message = str(error).removeprefix("ERROR: ").strip()
    if "No space left on device" in message or "Disk quota exceeded" in message:
        raise RunError(f"{url}: {message}; make room and run the same command again") from error
    kind = _kind_of(error)
    return DownloadError(kind, f"{url}: {message}", log_tail=str(log))


def _kind_of(error: Exception) -> FailKind:
    """By class where yt-dlp has one for it, then by message, then by what lies underneath."""
    from yt_dlp.networking.exceptions import HTTPError, TransportError
    from yt_dlp.utils import ContentTooShortError, GeoRestrictedError, UnsupportedError

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, UnsupportedError):
            return FailKind.UNSUPPORTED_URL
        if isinstance(cause, GeoRestrictedError):
            return FailKind.GEO_BLOCKED
    kind = kind_of_message(str(error))
    if kind is not None:
        return kind
    for cause in causes:
        if isinstance(cause, HTTPError):
            return kind_of_status(cause.status)
        if isinstance(cause, TransportError | ContentTooShortError):
            return FailKind.UNREACHABLE
    return FailKind.TOOL_FAILED


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error of yt-dlp and those that it wraps, outermost first."""
    seen: set[int] = set()
    while isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = getattr(error, "exc_info", None)
        error = (wrapped and wrapped[1]) or getattr(error, "cause", None) or error.__cause__
