"""Tables with commas or tabs: with a header, or as VGGSound and AudioSet publish theirs."""

import csv
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from avipipe.errors import ManifestError
from avipipe.manifests.lists.entry import (
    ListEntry,
    check_header,
    entry_of_row,
    is_youtube_id,
    names_a_source,
    shown,
)
from avipipe.manifests.lists.text import utf8_lines

VGGSOUND_SPAN_S = 10
"""Length of each clip of VGGSound, which lists only the start."""
_VGGSOUND_COLUMNS = ("youtube_id", "start_s", "end_s", "label", "split")

_Row = tuple[str, list[str]]
"""Where a row stands, and its cells."""


def read_delimited(path: Path, delimiter: str) -> Iterator[ListEntry]:
    """Read the rows of a table with commas or tabs.

    Comments before the first row are passed over; the last of them that names columns is the
    header, as in AudioSet's `# YTID, start_seconds, end_seconds, positive_labels`.

    Raises:
        ManifestError: there is no header, or a row is wrong; names the line.
    """
    lines = utf8_lines(path)
    comments = list(takewhile(lambda line: line.startswith("#") or not line.strip(), lines))
    rows = _rows(path, delimiter, lines, start=len(comments))
    header = _header_in(comments, delimiter)
    if header is not None:
        names, where = header[0], f"{path}:{header[1]}"
    elif not rows:
        return
    elif not names_a_source(names := _names(rows[0][1])) and _is_vggsound(rows[0][1]):
        names, where = _VGGSOUND_COLUMNS, rows[0][0]
        rows = [(location, _with_end(row, location)) for location, row in rows]
    else:
        where, rows = rows[0][0], rows[1:]
    check_header(names, where)
    for location, row in rows:
        if len(row) != len(names):
            raise ManifestError(f"{location}: expected {len(names)} columns, found {len(row)}")
        yield entry_of_row(dict(zip(names, row, strict=True)), location, path.parent)


def _rows(path: Path, delimiter: str, lines: list[str], *, start: int) -> list[_Row]:
    reader = csv.reader(
        [f"{line}\n" for line in lines[start:]],
        delimiter=delimiter,
        strict=True,
        skipinitialspace=delimiter == ",",
    )
    try:
        return [
            (f"{path}:{start + reader.line_num}", row) for row in reader if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise ManifestError(f"{path}:{start + reader.line_num}: {error}") from error


def _header_in(comments: list[str], delimiter: str) -> tuple[tuple[str, ...], int] | None:
    """The names of columns in a comment, and its line."""
    for number, line in reversed(list(enumerate(comments, start=1))):
        names = _names(line.lstrip("#").split(delimiter))
        if names_a_source(names):
            return names, number
    return None


def _names(cells: list[str]) -> tuple[str, ...]:
    return tuple(cell.strip().lower() for cell in cells)


def _is_vggsound(row: list[str]) -> bool:
    """Whether a row is of VGGSound's list, which has no header: `id,start,label,train|test`."""
    return (
        len(row) == 4
        and is_youtube_id(row[0])
        and row[1].isdecimal()
        and row[3] in ("train", "test")
    )


def _with_end(row: list[str], where: str) -> list[str]:
    if not _is_vggsound(row):
        raise ManifestError(
            f"{where}: expected id,start,label,train|test as above, found {shown(row)}"
        )
    return [*row[:2], str(int(row[1]) + VGGSOUND_SPAN_S), *row[2:]]
