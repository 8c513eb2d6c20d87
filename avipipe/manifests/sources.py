"""Reads the list of sources that a user gives: a text list, a table, a folder, a file or a URL.

A line is a path or a URL, with an optional range. A relative path is relative to the list, never
to the current folder, so that a list means the same wherever a command is run. `docs/sources.md`
shows every format; `lists/` reads them, a file each.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avipipe.errors import ConfigError, ManifestError
from avipipe.manifests.lists.delimited import read_delimited
from avipipe.manifests.lists.entry import ListEntry
from avipipe.manifests.lists.jsonl import read_jsonl
from avipipe.manifests.lists.parquet import read_parquet
from avipipe.manifests.lists.text import read_text
from avipipe.manifests.records import SourceLine, Span
from avipipe.manifests.uris import absolute_uri, is_url, local_path, path_uri
from avipipe.text import said

MEDIA_SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .webm .wmv".split()
)
"""Suffixes of media: taken from a folder, and fetched as a plain file from a URL."""

MAX_RANGES = 64
"""Most ranges that are fetched of a URL; with more it is fetched whole."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A line that says the same as an earlier one and is left out; both as `list.txt:12`."""

    location: str
    first_location: str


@dataclass(frozen=True, slots=True)
class SourceList:
    """A source list: its lines in order, each wish once."""

    lines: tuple[SourceLine, ...]
    duplicates: tuple[Duplicate, ...] = ()


def read_sources(source: str | Path) -> SourceList:
    """Read what the user names as source.

    Args:
        source: a list (.txt, .csv, .tsv, .jsonl, .parquet), a folder that is searched for media
            files, a single media file, or a URL.
    Returns:
        at least one line; URLs are as listed, with their secrets. Files that do not exist are not
        looked for here: they fail when they are fetched, alone.
    Raises:
        ConfigError: there is nothing of this name, or it is of no kind that can be read.
        ManifestError: the list is empty, not UTF-8, or a row of it is wrong; names path and line.
    """
    uri = absolute_uri(str(source), Path.cwd(), "--source")
    if is_url(uri):
        return _collect([ListEntry(uri, uri)])
    path = local_path(uri)
    try:
        sources = _collect(_entries(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not sources.lines:
        raise ManifestError(f"{path}: expected at least one source, found none")
    return sources


def listed_together(
    lines: Sequence[SourceLine], earlier: Sequence[SourceLine] = ()
) -> list[SourceLine]:
    """Give each line the ranges of its URL that are fetched instead of the whole.

    Args:
        earlier: lines of the dataset. What is fetched whole stays whole, and a URL of which ranges
            are fetched keeps these, also for a new line that wants all of it.
    """
    spans: dict[str, set[Span]] = {}
    parted = {line.uri: line.ranges for line in earlier if line.ranges}
    whole = {line.uri for line in earlier if not line.ranges}
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
    return [replace(line, ranges=ranges.get(line.uri, parted.get(line.uri, ()))) for line in lines]


def _collect(entries: Iterable[ListEntry]) -> SourceList:
    first: dict[tuple[str, Span | None], str] = {}
    lines: list[SourceLine] = []
    duplicates: list[Duplicate] = []
    for entry in entries:
        wish = (entry.uri, entry.span)
        location = said(entry.location)
        if wish in first:
            duplicates.append(Duplicate(location, first[wish]))
            continue
        first[wish] = location
        lines.append(SourceLine(len(lines), entry.uri, entry.span, location, entry.metadata))
    return SourceList(tuple(lines), tuple(duplicates))


def _entries(path: Path) -> Iterator[ListEntry]:
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise ConfigError(
            f"{path}: expected a list, a folder, a media file or a URL, found nothing"
        )
    if path.suffix.lower() in MEDIA_SUFFIXES:
        return iter([ListEntry(path_uri(path), str(path))])
    return _read_list(path)


def _read_folder(folder: Path) -> Iterator[ListEntry]:
    """Media files at any depth in the order of their paths; hidden ones are left alone."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in MEDIA_SUFFIXES and not hidden and path.is_file():
            yield ListEntry(path_uri(path), str(path))


def _read_list(path: Path) -> Iterator[ListEntry]:
    match path.suffix.lower():
        case "" | ".txt" | ".list" | ".lst":
            return read_text(path)
        case ".csv":
            return read_delimited(path, ",")
        case ".tsv":
            return read_delimited(path, "\t")
        case ".jsonl" | ".ndjson":
            return read_jsonl(path)
        case ".parquet":
            return read_parquet(path)
        case suffix:
            raise ConfigError(
                f"{path}: expected a list (.txt, .csv, .tsv, .jsonl or .parquet) or a media file "
                f"({', '.join(sorted(MEDIA_SUFFIXES))}), found `{suffix}`"
            )
