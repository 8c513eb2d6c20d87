"""One line of a list, whatever the form of the list: a source, a range, and what else is said."""

import difflib
import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avipipe.errors import ManifestError
from avipipe.manifests.records import Span
from avipipe.manifests.uris import absolute_uri
from avipipe.text import safe_text, without_secrets

YOUTUBE_COLUMNS = ("youtube_id", "ytid")
URI_COLUMNS = ("uri", "url", "path", "file", *YOUTUBE_COLUMNS)
"""Names of the column with the source, best first."""
START_COLUMNS = ("start_s", "start", "start_seconds")
END_COLUMNS = ("end_s", "end", "end_seconds")

MAX_TIME_S = 1e9
"""Thirty years: no source is as long, and a time below it is exact to the millisecond."""

_SHOWN_CHARS = 80
"""Of a bad value in a message."""

_TIME = re.compile(r"-?(\d{1,9}:){0,2}\d{1,9}(\.\d+)?")
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")


@dataclass(frozen=True, slots=True)
class ListEntry:
    """A line of a source list as it stands. `uri` alone may hold secrets."""

    uri: str
    location: str
    span: Span | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def shown(value: Any) -> str:
    """Shorten a value that is wrong for a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def is_time(text: str) -> bool:
    """Whether a text is a time: `12.5`, `1:02.5` or `1:00:02.5`."""
    return _TIME.fullmatch(text) is not None


def is_youtube_id(text: str) -> bool:
    """Whether a text can be the id of a video of YouTube."""
    return _YOUTUBE_ID.fullmatch(text) is not None


def span_of(start: Any, end: Any, where: str) -> Span:
    """Parse the range from one time to another, each in seconds or as text.

    Raises:
        ManifestError: one is no time, or they are no range.
    """
    start_s, end_s = _seconds(start, where), _seconds(end, where)
    span = Span(round(start_s, 3), round(end_s, 3))
    if span.start_ms < 0 or span.end_ms <= span.start_ms:
        raise ManifestError(
            f"{where}: expected a range with 0 <= start < end, found {start_s:g} to {end_s:g} s"
        )
    return span


def entry_of_row(row: Mapping[str, Any], where: str, folder: Path) -> ListEntry:
    """Parse a row of a table as a line of the list.

    Args:
        row: its values by name of column, in small letters; `check_header` has seen the names.
        where: the row, for messages.
        folder: that of the list.
    Raises:
        ManifestError: the source or the range is none.
    """
    columns = _columns(tuple(row))
    assert columns.uri is not None
    uri = row[columns.uri]
    if not isinstance(uri, str) or not uri.strip():
        raise ManifestError(
            f"{where}: expected a path or URL in `{columns.uri}`, found {shown(uri)}"
        )
    uri = uri.strip()
    if columns.uri in YOUTUBE_COLUMNS:
        uri = _youtube_url(uri, where)
    used = {columns.uri, columns.start, columns.end}
    metadata = {
        safe_text(name): _metadata(value, where)
        for name, value in row.items()
        if name not in used and not _is_missing(value)
    }
    span = _row_span(row, columns, where)
    return ListEntry(absolute_uri(uri, folder, where), where, span, metadata)


def check_header(names: tuple[str, ...], where: str) -> None:
    """Refuse a table whose header does not say what its sources are.

    Raises:
        ManifestError: no column does, or one is there twice.
    """
    problem = _header_problem(names)
    if problem:
        raise ManifestError(f"{where}: {problem}")


def names_a_source(names: tuple[str, ...]) -> bool:
    """Whether one of these columns names the source."""
    return _columns(names).uri is not None


@dataclass(frozen=True, slots=True)
class _Columns:
    uri: str | None
    start: str | None
    end: str | None


@functools.lru_cache(maxsize=256)
def _columns(names: tuple[str, ...]) -> _Columns:
    def first_of(known: tuple[str, ...]) -> str | None:
        return next((name for name in known if name in names), None)

    return _Columns(first_of(URI_COLUMNS), first_of(START_COLUMNS), first_of(END_COLUMNS))


@functools.lru_cache(maxsize=256)
def _header_problem(names: tuple[str, ...]) -> str:
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        return f"expected each column once, found `{doubled[0]}` twice"
    if names_a_source(names):
        return ""
    pairs = ((name, difflib.get_close_matches(name, URI_COLUMNS, 1, 0.6)) for name in names)
    hint = next((f"; did you mean `{near[0]}` by `{name}`?" for name, near in pairs if near), "")
    return f"expected a column {', '.join(URI_COLUMNS)}, found {', '.join(names)}{hint}"


def _seconds(value: Any, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    seconds = value if is_number else _parse_time(str(value).strip())
    if seconds is None:
        raise ManifestError(f"{where}: expected seconds or h:m:s, found {shown(value)}")
    # Compared before it is converted: a number in JSON may be too long for a float.
    if not abs(seconds) < MAX_TIME_S:
        raise ManifestError(f"{where}: expected less than {MAX_TIME_S:g} s, found {shown(value)}")
    return float(seconds)


@functools.lru_cache(maxsize=1 << 16)
def _parse_time(text: str) -> float | None:
    """Seconds of `12.5`, `1:02.5` or `1:00:02.5`; None if it is no time."""
    if not is_time(text):
        return None
    parts = [float(part) for part in text.lstrip("-").split(":")]
    if any(part >= 60 for part in parts[1:]):
        return None
    total = sum(part * 60.0**power for power, part in enumerate(reversed(parts)))
    return -total if text.startswith("-") else total


def _row_span(row: Mapping[str, Any], columns: _Columns, where: str) -> Span | None:
    start = row[columns.start] if columns.start else None
    end = row[columns.end] if columns.end else None
    if _is_missing(start) and _is_missing(end):
        return None
    if _is_missing(start) or _is_missing(end):
        raise ManifestError(
            f"{where}: expected both start and end of the range, or neither; "
            f"found start {shown(start)} and end {shown(end)}"
        )
    return span_of(start, end, where)


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _metadata(value: Any, where: str) -> str:
    """What a column says, as text that may be published."""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, default=str, ensure_ascii=False)
        except RecursionError as error:
            raise ManifestError(f"{where}: {TOO_DEEP}") from error
    return safe_text(without_secrets(value.strip()))


TOO_DEEP = "expected values of a few levels, found them nested too deeply to be read"


def _youtube_url(youtube_id: str, where: str) -> str:
    if not is_youtube_id(youtube_id):
        raise ManifestError(
            f"{where}: expected a YouTube id of 11 letters, digits, - or _, "
            f"found {shown(youtube_id)}"
        )
    return f"https://www.youtube.com/watch?v={youtube_id}"
