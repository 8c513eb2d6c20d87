"""Reads the list of sources that a user gives: a text list, a table, a folder, a file or a URL.

A line is a path or a URL, with an optional range. A relative path is relative to the list, never
to the current folder, so that a list means the same wherever a command is run. `docs/sources.md`
shows every format.
"""

import codecs
import csv
import difflib
import functools
import io
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from avipipe.errors import ConfigError, ManifestError
from avipipe.manifests.records import SourceLine, Span

MEDIA_SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .webm .wmv".split()
)
"""What is taken from a folder, and fetched as a plain file from a URL."""

URI_COLUMNS = ("uri", "url", "path", "file", "youtube_id")
"""Names of the column with the source, best first."""
START_COLUMNS = ("start_s", "start", "start_seconds")
END_COLUMNS = ("end_s", "end", "end_seconds")

VGGSOUND_SPAN_S = 10

MAX_RANGES = 64
"""With more ranges than this a URL is fetched whole: each one costs requests of its own."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_TIME = re.compile(r"-?(\d{1,9}:){0,2}\d{1,9}(\.\d+)?")
_COMMENT = re.compile(r"\s#\s.*")
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A line that says the same as an earlier one and is left out; both as `list.txt:12`."""

    location: str
    first_location: str


@dataclass(frozen=True, slots=True)
class SourceList:
    """The lines in the order of the list, each wish once."""

    lines: tuple[SourceLine, ...]
    duplicates: tuple[Duplicate, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    uri: str
    location: str
    span: Span | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def is_url(uri: str) -> bool:
    """Whether `uri` has to be fetched; a path and a `file://` URL are read where they lie."""
    return _SCHEME.match(uri) is not None and not uri.lower().startswith("file://")


def read_sources(source: str | Path) -> SourceList:
    """Read what the user names as source.

    Args:
        source: a list (.txt, .csv, .tsv, .jsonl, .parquet), a folder that is searched for media
            files, a single media file, or a URL.
    Returns:
        at least one line. Files that do not exist are not looked for here: they fail when they
        are fetched, alone.
    Raises:
        ConfigError: there is nothing of this name, or it is of no kind that can be read.
        ManifestError: the list is empty, not UTF-8, or a row of it is wrong; names path and line.
    """
    if is_url(str(source)):
        return _collect([_Entry(str(source), str(source))])
    path = Path(_absolute(str(source), Path.cwd()))
    if path.is_dir():
        entries = _read_folder(path)
    elif not path.is_file():
        raise ConfigError(
            f"{path}: expected a list, a folder, a media file or a URL, found nothing"
        )
    elif path.suffix.lower() in MEDIA_SUFFIXES:
        entries = iter([_Entry(str(path), str(path))])
    else:
        entries = _read_list(path)
    try:
        sources = _collect(entries)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not sources.lines:
        raise ManifestError(f"{path}: expected at least one source, found none")
    return sources


def listed_together(lines: Sequence[SourceLine], *, whole: Collection[str]) -> list[SourceLine]:
    """The lines, each with all ranges of its URL in `ranges`.

    Args:
        whole: URIs that are fetched whole anyway.
    """
    spans: dict[str, set[Span]] = {}
    whole = set(whole)
    for line in lines:
        if line.span is None or not is_url(line.uri):
            whole.add(line.uri)
        else:
            spans.setdefault(line.uri, set()).add(line.span)
    ranges = {
        uri: tuple(sorted(found, key=lambda span: (span.start_s, span.end_s)))
        for uri, found in spans.items()
        if uri not in whole and len(found) <= MAX_RANGES
    }
    return [replace(line, ranges=ranges.get(line.uri, ())) for line in lines]


def _collect(entries: Iterator[_Entry] | list[_Entry]) -> SourceList:
    first: dict[tuple[str, Span | None], str] = {}
    lines: list[SourceLine] = []
    duplicates: list[Duplicate] = []
    for entry in entries:
        wish = (entry.uri, entry.span)
        if wish in first:
            duplicates.append(Duplicate(entry.location, first[wish]))
            continue
        first[wish] = entry.location
        lines.append(SourceLine(len(lines), entry.uri, entry.span, entry.location, entry.metadata))
    return SourceList(tuple(lines), tuple(duplicates))


def _absolute(uri: str, folder: Path) -> str:
    if is_url(uri):
        return uri
    if _SCHEME.match(uri):
        return url2pathname(urlsplit(uri).path)
    if uri.startswith("~/"):
        return str(Path(uri).expanduser())
    return str(folder / uri)


def _read_folder(folder: Path) -> Iterator[_Entry]:
    """Media files at any depth in the order of their paths; hidden ones are left alone."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in MEDIA_SUFFIXES and not hidden and path.is_file():
            yield _Entry(str(path), str(path))


def _read_list(path: Path) -> Iterator[_Entry]:
    match path.suffix.lower():
        case "" | ".txt" | ".list" | ".lst":
            return _read_text(path)
        case ".csv":
            return _read_csv(path, ",")
        case ".tsv":
            return _read_csv(path, "\t")
        case ".jsonl" | ".ndjson":
            return _read_jsonl(path)
        case ".parquet":
            return _read_parquet(path)
        case suffix:
            raise ConfigError(
                f"{path}: expected a list (.txt, .csv, .tsv, .jsonl or .parquet) or a media file "
                f"({', '.join(sorted(MEDIA_SUFFIXES))}), found `{suffix}`"
            )


def _read_text(path: Path) -> Iterator[_Entry]:
    for number, raw in enumerate(_utf8(path).split("\n"), start=1):
        line = raw.strip()
        if line and not line.startswith("#"):
            location = f"{path}:{number}"
            uri, span = _parse_line(line, location)
            yield _Entry(_absolute(uri, path.parent), location, span)


def _parse_line(line: str, where: str) -> tuple[str, Span | None]:
    """Take `uri [start end]` apart; a path may hold spaces if quotes or its end make it clear."""
    if line[0] in "\"'":
        uri, closing, rest = line[1:].partition(line[0])
        if not closing:
            raise ManifestError(f"{where}: expected a closing {line[0]}, found none in {line!r}")
        times = _COMMENT.sub("", f" {rest} ").split()
    else:
        line = _COMMENT.sub("", line)
        uri, *times = line.split()
        if not is_url(uri):
            times = list(takewhile(_TIME.fullmatch, times[:-3:-1]))[::-1]
            uri = line.rsplit(None, len(times))[0]
    if not times:
        return uri, None
    if len(times) != 2 or not all(map(_TIME.fullmatch, times)):
        raise ManifestError(
            f"{where}: expected `source` or `source start end` (12.5 or h:m:s), found {line!r}; "
            "put a path in quotes if the end of it looks like a time"
        )
    return uri, _span(_seconds(times[0], where), _seconds(times[1], where), where)


def _seconds(value: Any, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    seconds = _parse_time(str(value).strip())
    if seconds is None:
        raise ManifestError(f"{where}: expected seconds or h:m:s, found {value!r}")
    return seconds


@functools.lru_cache(maxsize=1 << 16)
def _parse_time(text: str) -> float | None:
    """Seconds of `12.5`, `1:02.5` or `1:00:02.5`; None if it is no time."""
    if not _TIME.fullmatch(text):
        return None
    parts = [float(part) for part in text.lstrip("-").split(":")]
    if any(part >= 60 for part in parts[1:]):
        return None
    total = sum(part * 60.0**power for power, part in enumerate(reversed(parts)))
    return -total if text.startswith("-") else total


def _span(start_s: float, end_s: float, where: str) -> Span:
    span = Span(round(start_s, 3), round(end_s, 3))
    if span.start_ms < 0 or span.end_ms <= span.start_ms:
        raise ManifestError(
            f"{where}: expected a range with 0 <= start < end, found {start_s:g} to {end_s:g} s"
        )
    return span


def _read_csv(path: Path, delimiter: str) -> Iterator[_Entry]:
    reader = csv.reader(io.StringIO(_utf8(path), newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(f"{path}:{reader.line_num}", row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise ManifestError(f"{path}:{reader.line_num}: {error}") from error
    if not rows:
        return
    names = tuple(name.strip().lower() for name in rows[0][1])
    if _columns(names).uri is None and _is_vggsound(rows[0][1]):
        names = ("youtube_id", "start_s", "end_s", "label", "split")
        rows = [(location, _with_end(row, location)) for location, row in rows]
    else:
        _check_header(names, f"{path}:1")
        rows = rows[1:]
    for location, row in rows:
        if len(row) != len(names):
            raise ManifestError(f"{location}: expected {len(names)} columns, found {len(row)}")
        yield _entry(dict(zip(names, row, strict=True)), location, path.parent)


def _is_vggsound(row: list[str]) -> bool:
    """Whether a row is of VGGSound's list, which has no header: `id,start,label,train|test`."""
    return (
        len(row) == 4
        and _YOUTUBE_ID.fullmatch(row[0]) is not None
        and row[1].isdecimal()
        and row[3] in ("train", "test")
    )


def _with_end(row: list[str], where: str) -> list[str]:
    if not _is_vggsound(row):
        raise ManifestError(f"{where}: expected id,start,label,train|test as above, found {row}")
    return [*row[:2], str(int(row[1]) + VGGSOUND_SPAN_S), *row[2:]]


def _read_jsonl(path: Path) -> Iterator[_Entry]:
    for number, line in enumerate(_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        location = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ManifestError(f"{location}: this is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ManifestError(f'{location}: expected {{"uri": …}}, found {line.strip()[:80]}')
        row = {name.strip().lower(): value for name, value in row.items()}
        _check_header(tuple(row), location)
        yield _entry(row, location, path.parent)


def _read_parquet(path: Path) -> Iterator[_Entry]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ManifestError(f"{path}: this is not a Parquet file: {error}") from error
    names = tuple(name.strip().lower() for name in table.column_names)
    _check_header(names, str(path))
    columns = (column.to_pylist() for column in table.columns)
    for number, row in enumerate(zip(*columns, strict=True), start=1):
        yield _entry(dict(zip(names, row, strict=True)), f"{path}: row {number}", path.parent)


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
    if _columns(names).uri is not None:
        return ""
    pairs = ((name, difflib.get_close_matches(name, URI_COLUMNS, 1, 0.6)) for name in names)
    hint = next((f"; did you mean `{near[0]}` by `{name}`?" for name, near in pairs if near), "")
    return f"expected a column {', '.join(URI_COLUMNS)}, found {', '.join(names)}{hint}"


def _check_header(names: tuple[str, ...], where: str) -> None:
    problem = _header_problem(names)
    if problem:
        raise ManifestError(f"{where}: {problem}")


def _entry(row: Mapping[str, Any], where: str, folder: Path) -> _Entry:
    columns = _columns(tuple(row))
    assert columns.uri is not None
    uri = row[columns.uri]
    if not isinstance(uri, str) or not uri.strip():
        raise ManifestError(f"{where}: expected a path or URL in `{columns.uri}`, found {uri!r}")
    span = _row_span(row, columns, where)
    used = {columns.uri, columns.start, columns.end}
    metadata = {
        name: _text(value)
        for name, value in row.items()
        if name not in used and not _is_missing(value)
    }
    if columns.uri == "youtube_id":
        return _Entry(_youtube_url(uri.strip(), where), where, span, metadata)
    return _Entry(_absolute(uri.strip(), folder), where, span, metadata)


def _row_span(row: Mapping[str, Any], columns: _Columns, where: str) -> Span | None:
    start = row[columns.start] if columns.start else None
    end = row[columns.end] if columns.end else None
    if _is_missing(start) and _is_missing(end):
        return None
    if _is_missing(start) or _is_missing(end):
        raise ManifestError(
            f"{where}: expected both start and end of the range, or neither; "
            f"found start {start!r} and end {end!r}"
        )
    return _span(_seconds(start, where), _seconds(end, where), where)


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, default=str, ensure_ascii=False)


def _youtube_url(youtube_id: str, where: str) -> str:
    if not _YOUTUBE_ID.fullmatch(youtube_id):
        raise ManifestError(
            f"{where}: expected a YouTube id of 11 letters, digits, - or _, found {youtube_id!r}"
        )
    return f"https://www.youtube.com/watch?v={youtube_id}"


def _utf8(path: Path) -> str:
    data = path.read_bytes()
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    if b"\0" in data:
        raise ManifestError(
            f"{path}: expected UTF-8 text, found a zero byte at position {data.index(0)}; "
            "save the list as UTF-8"
        )
    try:
        return data[len(mark) :].decode("utf-8")
    except UnicodeDecodeError as error:
        position = error.start + len(mark)
        line = data.count(b"\n", 0, position) + 1
        raise ManifestError(
            f"{path}:{line}: expected UTF-8 text, found byte 0x{data[position]:02x} at position "
            f"{position}; save the list as UTF-8"
        ) from error
