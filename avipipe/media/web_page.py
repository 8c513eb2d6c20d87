"""Finds the video of a web page with yt-dlp, and downloads it."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avipipe.errors import DISK_ERRNOS, AvipipeError, FailKind, RunError
from avipipe.media.cookies import cookie_stream
from avipipe.media.ffmpeg import ffmpeg_path
from avipipe.media.http_reply import check_limit
from avipipe.media.refusal import DownloadError, kind_of_message, kind_of_status
from avipipe.media.remux import merge
from avipipe.media.web_access import WebAccess
from avipipe.text import without_secrets

_JS_RUNTIMES = ("deno", "node", "bun", "quickjs")
_LIVE = ("is_live", "is_upcoming", "post_live")
_MAX_PLAYLIST_BYTES = 20_000_000
"""A list of the segments of a day has some megabytes."""


@dataclass(slots=True)
class _LogTail:
    """What yt-dlp takes for a logger: its last lines, kept for whoever asks why."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def debug(self, message: str) -> None:
        self.lines.append(without_secrets(message))

    warning = error = debug

    def __str__(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page that leads to one video.

    Attributes:
        info: what it says of the video, as yt-dlp names it.
        formats: what is to be downloaded: one file, or the picture and the sound, each alone.
        shown: its URL for messages.
    """

    info: Mapping[str, Any]
    formats: tuple[Mapping[str, Any], ...]
    shown: str
    _client: Any

    @property
    def has_one_clock(self) -> bool:
        """Whether all formats are of one protocol, so that their timestamps are comparable."""
        return (
            len({str(form.get("protocol")).replace("https", "http") for form in self.formats}) == 1
        )

    def download_all(self) -> tuple[Path, float | None]:
        """Download the video, picture and sound in one file.

        Returns:
            the file, and where the video's first moment lies on its clock, in seconds; None where
            that is the file's own first moment.
        Raises:
            MediaError: what came cannot be joined; see `merge`.
        """
        if len(self.formats) == 1:
            path = self.download(self.formats[0], fixup=True)
            return path.rename(path.with_name(f"media{path.suffix}")), None
        video, audio = (self.download(form, fixup=False) for form in self.formats)
        target = video.with_name("media.mkv")
        return target, merge(video, audio, target, one_clock=self.has_one_clock)

    def download(self, form: Mapping[str, Any], *, fixup: bool) -> Path:
        """Download one of the formats, or go on with it where it broke off.

        Args:
            form: of `formats`; also one with fewer fragments, under another `format_id`.
            fixup: whether yt-dlp may write the file anew where its container is unusual.
        """
        from yt_dlp.utils import YoutubeDLError

        alone = {**self.info, **form}
        alone.pop("requested_formats", None)
        alone["part"] = hashlib.sha256(str(form["format_id"]).encode()).hexdigest()[:16]
        self._client.params["fixup"] = None if fixup else "never"
        self._client.process_info(alone)
        if not alone.get("filepath"):
            raise YoutubeDLError(f"format {form.get('format_id')} was not downloaded")
        return Path(alone["filepath"])

    def ask(self, form: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        """Send a request for the file of a format; return yt-dlp's response."""
        from yt_dlp.networking import Request

        all_headers = {**(form.get("http_headers") or {}), "Accept-Encoding": "identity", **headers}
        return self._client.urlopen(Request(form["url"], headers=all_headers))

    def playlist(self, form: Mapping[str, Any]) -> tuple[str, str]:
        """Fetch the playlist (m3u8) of a format; return it and the URL that it came from."""
        reply = self.ask(form, {})
        try:
            content = reply.read(_MAX_PLAYLIST_BYTES)
        finally:
            reply.close()
        return content.decode("utf-8", "replace"), reply.url


@contextmanager
def open_page(
    access: WebAccess,
    folder: Path,
    *,
    short_side_px: int,
    cookies_file: Path | None = None,
    rate_limit_bytes_per_s: int = 0,
    timeout_s: float = 30.0,
    max_bytes: int = 0,
) -> Iterator[WebPage]:
    """Find the one video that a URL leads to, its best picture and its best sound.

    Args:
        folder: where downloads are written; a partial one that lies there is gone on with.
        short_side_px: the largest resolution not above this is taken.
        cookies_file: in Netscape format; read, never written.
        rate_limit_bytes_per_s: 0 for no limit.
        timeout_s: longest time without a byte.
        max_bytes: a larger file is refused; 0 for no limit.
    Raises:
        DownloadError: here or within: the page is refused, gone, unknown, a playlist or live; it
            leads where it must not; a file is too large; or yt-dlp failed.
        ConfigError: the cookies file cannot be read.
        RunError: the disk is full.
    """
    from yt_dlp.utils import YoutubeDLError

    from avipipe.media.page_client import PageClient

    def check_size(status: Mapping[str, Any]) -> None:
        size_bytes = max(status.get("total_bytes") or 0, status.get("downloaded_bytes") or 0)
        check_limit(access.shown, size_bytes, max_bytes)

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
        # By a hash, as ids may be long and differ at their ends alone.
        "outtmpl": {"default": "part-%(part)s.%(ext)s"},
        "updatetime": False,
        "noplaylist": True,
        "playlist_items": "1:2",  # two are enough to tell that it is a playlist
        "extract_flat": "in_playlist",
        "ffmpeg_location": ffmpeg_path(),
        "js_runtimes": {name: {} for name in _JS_RUNTIMES},
        "cookiefile": None if cookies_file is None else cookie_stream(cookies_file),
        "ratelimit": rate_limit_bytes_per_s or None,
        "socket_timeout": timeout_s,
        "progress_hooks": [check_size],
        "retries": 3,
        "fragment_retries": 3,
        "skip_unavailable_fragments": False,  # a film with holes is not the film
        "extractor_retries": 1,
    }
    try:
        with PageClient(options, access) as client:
            found = _looked_up(client, access)
            formats = found.get("requested_formats") or [found]
            yield WebPage(found, tuple(formats), access.shown, client)
    except YoutubeDLError as error:
        raise _explained(access.shown, error, log) from error


def _looked_up(client: Any, access: WebAccess) -> dict[str, Any]:
    """What a page says of its one video, and which formats of it are to be downloaded."""
    from yt_dlp.utils import YoutubeDLError

    try:
        found: dict[str, Any] = client.process_ie_result(
            _only_video(client, access), download=False
        )
    except (YoutubeDLError, AvipipeError):
        raise
    except Exception as error:  # extractors raise anything at pages that they do not understand
        if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
            raise
        raise DownloadError(
            FailKind.TOOL_FAILED,
            f"{access.shown}: yt-dlp broke: {type(error).__name__}: {without_secrets(str(error))}",
        ) from error
    return found


def _only_video(client: Any, access: WebAccess) -> dict[str, Any]:
    info: dict[str, Any] = client.extract_info(access.url, download=False)
    if info.get("_type") == "playlist":
        entries = list(info["entries"])
        if len(entries) != 1:
            raise DownloadError(
                FailKind.UNSUPPORTED_URL,
                f"{access.shown}: expected one video, found {'several' if entries else 'none'}; "
                f"list videos one a line (`yt-dlp --flat-playlist --print url {access.shown}`)",
            )
        info = entries[0]
        if info.get("_type") == "url":
            info = client.extract_info(info["url"], download=False)
    if info.get("live_status") in _LIVE:
        raise DownloadError(
            FailKind.UNSUPPORTED_URL,
            f"{access.shown}: expected a finished video, found a live one; `avipipe retry` when "
            "it is over",
        )
    return info


def _explained(shown: str, error: Exception, log: _LogTail) -> DownloadError:
    for cause in _causes(error):
        if isinstance(cause, DownloadError):
            return cause
    message = without_secrets(str(error)).removeprefix("ERROR: ").strip()
    if "No space left on device" in message or "Disk quota exceeded" in message:
        raise RunError(f"{shown}: {message}; make room and run the same command again") from error
    return DownloadError(_kind_of(error), f"{shown}: {message}", log_tail=str(log))


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
