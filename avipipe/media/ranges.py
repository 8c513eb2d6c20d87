"""Fetches ranges of a video instead of all of it, where that saves much.

What is fetched is never encoded again, and keeps the timestamps that it has in the whole: a range
begins with the key frame before it, some seconds early. Where a video cannot be had in parts, the
answer is None, and it is fetched whole.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer

from avipipe.errors import MediaError
from avipipe.media.container import open_media
from avipipe.media.refusal import DownloadError
from avipipe.media.remote_file import NotInPartsError, ReadLimits, RemoteFile
from avipipe.media.remux import WITHOUT_CLOCK, Copied, CopiedStream, RemuxInput, best_streams, copy
from avipipe.media.segments import Segments, dash_segments, hls_segments
from avipipe.media.web_access import WebAccess
from avipipe.media.web_page import WebPage

logger = logging.getLogger(__name__)

Range = tuple[float, float]
"""A range of a source: start and end in seconds."""

_LARGEST_SHARE = 0.2
"""Ranges that are more of a video than this are fetched with all of it, in one go."""
_MARGIN_S = 5.0
"""What is fetched before and after each range; a choice, more than is needed by what follows."""
# Decoders of sound need a run-in, and a cut is told by what lies around it.
_LEAST_MARGIN_S = 0.5
# Key frames of films on the web are up to this far apart: nearer ranges would share most of it.
_JOIN_S = 10.0
# The length that a page tells is rounded, often down.
_LENGTH_SLACK_S = 1.0
# Only these have an index from which any moment is found soundly.
_INDEXED = "mov,matroska"


@dataclass(frozen=True, slots=True)
class FetchedRange:
    """A fetched stretch of a source in a file of its own.

    Attributes:
        start_s, end_s: the ranges that it was fetched for; there is more on both sides.
        clock_start_s: where the source's time 0 lies on the file's clock.
    """

    start_s: float
    end_s: float
    path: Path
    clock_start_s: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What was fetched of a source of `length_s`, of the ranges before its end."""

    length_s: float
    parts: tuple[FetchedRange, ...]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """An open container that holds a time, and whether it reaches back, or on, to all there is."""

    container: InputContainer
    seek: Fraction | None
    is_head: bool
    is_tail: bool


@dataclass(frozen=True, slots=True)
class _Rendition:
    """A film, or its picture or sound alone: where its clock begins, and how to open a time."""

    kind: Literal["all", "video", "audio"]
    begin: Fraction
    length_s: float
    open: Callable[[Fraction, Fraction], AbstractContextManager[_Stretch]]


def joined(ranges: Sequence[Range]) -> list[Range]:
    """Join ranges to the stretches that hold them; near ones are one."""
    stretches: list[Range] = []
    for start_s, end_s in sorted(ranges):
        if stretches and start_s <= stretches[-1][1] + _JOIN_S:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], end_s))
        else:
            stretches.append((start_s, end_s))
    return stretches


def is_worthwhile(ranges: Sequence[Range], length_s: float) -> bool:
    """Whether ranges are so little of a video that it is not fetched whole."""
    return sum(end_s - start_s for start_s, end_s in joined(ranges)) < _LARGEST_SHARE * length_s


def fetch_file_ranges(
    access: WebAccess, folder: Path, ranges: Sequence[Range], limits: ReadLimits
) -> Parts | None:
    """Fetch ranges of a media file that a server gives byte by byte.

    Raises:
        DownloadError: the host refuses, does not answer or breaks off; or it is too much.
    """
    with _whole_instead(access.shown), ExitStack() as stack:
        remote = RemoteFile(access.get, access.shown, limits)
        rendition = _remote_rendition(stack, remote, "all")
        return _fetch([rendition], folder, ranges, rendition.length_s)
    return None


def fetch_page_ranges(
    page: WebPage, folder: Path, ranges: Sequence[Range], limits: ReadLimits
) -> Parts | None:
    """Fetch ranges of the video of a page.

    Raises:
        DownloadError, yt-dlp's errors: as `open_page`.
    """
    length_s = float(page.info.get("duration") or 0)
    if length_s and not is_worthwhile(ranges, length_s):
        return None
    kinds: tuple[Literal["all", "video", "audio"], ...] = ("all",)
    if len(page.formats) == 2:
        kinds = ("video", "audio")
    with _whole_instead(page.shown), ExitStack() as stack:
        if not page.has_one_clock:
            raise NotInPartsError("its picture and sound come in ways that share no clock")
        renditions = [
            _page_rendition(stack, page, form, kind, limits)
            for form, kind in zip(page.formats, kinds, strict=True)
        ]
        longest_s = max(rendition.length_s for rendition in renditions)
        return _fetch(renditions, folder, ranges, length_s or longest_s)
    return None


def _fetch(
    renditions: Sequence[_Rendition], folder: Path, ranges: Sequence[Range], length_s: float
) -> Parts | None:
    if not is_worthwhile(ranges, length_s):
        return None
    begin = min(rendition.begin for rendition in renditions)
    parts = []
    for start_s, end_s in joined(ranges):
        if start_s < length_s + _LENGTH_SLACK_S:
            target = folder / f"media-{round(start_s * 1000):08d}.mkv"
            clock_start_s = _fetch_stretch(renditions, begin, start_s, end_s, target)
            parts.append(FetchedRange(start_s, end_s, target, clock_start_s))
    return Parts(length_s, tuple(parts))


def _fetch_stretch(
    renditions: Sequence[_Rendition], begin: Fraction, start_s: float, end_s: float, target: Path
) -> float:
    """Fetch one stretch; gives where the source's time 0 lies on its clock."""
    start = begin + Fraction(max(start_s - _MARGIN_S, 0.0))
    end = begin + Fraction(end_s + _MARGIN_S)
    with ExitStack() as stack:
        stretches = [stack.enter_context(rendition.open(start, end)) for rendition in renditions]
        sources = [
            RemuxInput(stretch.container, _tracks(stretch.container, rendition.kind), stretch.seek)
            for stretch, rendition in zip(stretches, renditions, strict=True)
        ]
        copied = copy(sources, target, end=end)
    reaches = [
        (stretch.is_head, stretch.is_tail)
        for stretch, source in zip(stretches, sources, strict=True)
        for _ in source.tracks
    ]
    _check_cover(copied, reaches, float(begin) + start_s, float(begin) + end_s)
    return float(begin) + copied.shift_s


def _check_cover(
    copied: Copied, reaches: Sequence[tuple[bool, bool]], start_s: float, end_s: float
) -> None:
    """Whether every stream holds the time, or all that there is of it."""
    for times, (is_head, is_tail) in zip(copied.times, reaches, strict=True):
        if not is_head and times[0] > start_s - _LEAST_MARGIN_S:
            raise NotInPartsError("what was found begins too late")
        if not is_tail and max(times) < end_s:
            raise NotInPartsError("what was found ends too early")


def _tracks(
    container: InputContainer, kind: Literal["all", "video", "audio"]
) -> tuple[CopiedStream, ...]:
    streams = [s for s in best_streams(container) if kind in ("all", s.type)]
    if not streams:
        raise NotInPartsError("it has no picture and no sound")
    return tuple(map(CopiedStream, streams))


def _page_rendition(
    stack: ExitStack,
    page: WebPage,
    form: Any,
    kind: Literal["all", "video", "audio"],
    limits: ReadLimits,
) -> _Rendition:
    match form.get("protocol"):
        case "http" | "https":
            remote = RemoteFile(lambda headers: page.ask(form, headers), page.shown, limits)
            return _remote_rendition(stack, remote, kind)
        case "http_dash_segments":
            return _segmented_rendition(page, dash_segments(form), kind)
        case "m3u8_native":
            return _segmented_rendition(page, hls_segments(form, *page.playlist(form)), kind)
        case protocol:
            raise NotInPartsError(f"it comes over `{protocol}`")


def _remote_rendition(
    stack: ExitStack, remote: RemoteFile, kind: Literal["all", "video", "audio"]
) -> _Rendition:
    options = {"format_whitelist": _INDEXED, "protocol_whitelist": "none"}
    container = stack.enter_context(av.open(remote, "r", metadata_errors="ignore", options=options))
    if container.start_time is None or not container.duration:
        raise NotInPartsError("it does not say how long it is")
    begin = Fraction(container.start_time, av.time_base)
    length_s = container.duration / av.time_base

    @contextmanager
    def opened(start: Fraction, end: Fraction) -> Iterator[_Stretch]:
        yield _Stretch(container, start, start <= begin, float(end - begin) >= length_s)

    return _Rendition(kind, begin, length_s, opened)


def _segmented_rendition(
    page: WebPage, segments: Segments, kind: Literal["all", "video", "audio"]
) -> _Rendition:
    count = len(segments.durations_s)
    with open_media(page.download(segments.some(range(1)), fixup=False)) as first:
        if first.start_time is None or first.format.name in WITHOUT_CLOCK:
            raise NotInPartsError("its segments say not when they begin")
        begin = Fraction(first.start_time, av.time_base)

    @contextmanager
    def opened(start: Fraction, end: Fraction) -> Iterator[_Stretch]:
        numbers = segments.around(float(start - begin), float(end - begin))
        path = page.download(segments.some(numbers), fixup=False)
        with open_media(path) as container:
            yield _Stretch(container, None, numbers.start == 0, numbers.stop == count)

    return _Rendition(kind, begin, sum(segments.durations_s), opened)


@contextmanager
def _whole_instead(shown: str) -> Iterator[None]:
    """Whatever keeps a video from being had in parts is no fault of it: it is fetched whole."""
    try:
        yield
    except DownloadError:
        raise
    except (NotInPartsError, MediaError, av.FFmpegError) as error:
        logger.info("%s is fetched whole: %s", shown, error)
