"""Tables of JSON: an object a line."""

import json
from collections.abc import Iterator
from pathlib import Path

from avipipe.errors import ManifestError
from avipipe.manifests.lists.entry import TOO_DEEP, ListEntry, check_header, entry_of_row, shown
from avipipe.manifests.lists.text import utf8_lines


def read_jsonl(path: Path) -> Iterator[ListEntry]:
    """Read the objects of a JSONL list.

    Raises:
        ManifestError: a line is no object, or not of a source; names it.
    """
    for number, line in enumerate(utf8_lines(path), start=1):
        if not line.strip():
            continue
        location = f"{path}:{number}"
        row = _object(line, location)
        check_header(tuple(row), location)
        yield entry_of_row(row, location, path.parent)


def _object(line: str, where: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except RecursionError as error:
        raise ManifestError(f"{where}: {TOO_DEEP}") from error
    except ValueError as error:  # no JSON, or a number of thousands of digits
        raise ManifestError(f"{where}: this is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ManifestError(f'{where}: expected {{"uri": …}}, found {shown(row)}')
    return {name.strip().lower(): value for name, value in row.items()}
