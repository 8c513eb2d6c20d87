"""Text lists: a source a line, with or without a range."""

import codecs
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from avipipe.errors import ManifestError
from avipipe.manifests.lists.entry import ListEntry, is_time, shown, span_of
from avipipe.manifests.records import Span
from avipipe.manifests.uris import absolute_uri, is_url

_COMMENT = re.compile(r"\s#\s.*")


def read_text(path: Path) -> Iterator[ListEntry]:
    """Read the lines of a text list.

    Raises:
        ManifestError: a line is wrong; names it.
    """
    for number, raw in enumerate(utf8_lines(path), start=1):
        line = raw.strip()
        if line and not line.startswith("#"):
            location = f"{path}:{number}"
            uri, span = _parse_line(line, location)
            yield ListEntry(absolute_uri(uri, path.parent, location), location, span)


def utf8_lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 file: any line ends, without byte order marks.

    Such a mark may stand at the head of any line, where files were put together.

    Raises:
        ManifestError: it is not UTF-8, or holds zero bytes; names the line.
    """
    data = path.read_bytes()
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        text = data[len(mark) :].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data, error.start + len(mark)) from error
    if "\0" in text:
        raise _not_utf8(path, data, data.index(0))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line.removeprefix("\ufeff") for line in lines]


def _not_utf8(path: Path, data: bytes, position: int) -> ManifestError:
    before = data[:position].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    what = "a zero byte" if data[position] == 0 else f"byte 0x{data[position]:02x}"
    return ManifestError(
        f"{path}:{before.count(10) + 1}: expected UTF-8 text, found {what} at position {position}; "
        "save the list as UTF-8, and write the bytes of a file name that is not as file:///…%E9…"
    )


def _parse_line(line: str, where: str) -> tuple[str, Span | None]:
    """Take `uri [start end]` apart; a path may hold spaces if quotes or its end make it clear."""
    if line[0] in "\"'":
        uri, closing, rest = line[1:].partition(line[0])
        if not closing:
            raise ManifestError(
                f"{where}: expected a closing {line[0]}, found none in {shown(line)}"
            )
        times = _COMMENT.sub("", f" {rest} ").split()
    else:
        line = _COMMENT.sub("", line)
        uri, *times = line.split()
        if not is_url(uri):
            times = list(takewhile(is_time, times[:-3:-1]))[::-1]
            uri = line.rsplit(None, len(times))[0]
    if not times:
        return uri, None
    if len(times) != 2 or not all(map(is_time, times)):
        raise ManifestError(
            f"{where}: expected `source` or `source start end` (12.5 or h:m:s), found "
            f"{shown(line)}; put a path in quotes if the end of it looks like a time"
        )
    return uri, span_of(times[0], times[1], where)
