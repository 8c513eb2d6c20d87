"""What a benchmark on disk gives, and how its lists are read.

Lists come from anywhere: a path in one stays in the benchmark's folder, and a line that is not what
the benchmark has is an error with its place.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.cases import AskedEdit
from avipipe.text import is_safe

_MAX_NAME_BYTES = 200
"""Of a path in a list: file systems end names at 255, and suffixes come to it."""


@dataclass(frozen=True, slots=True)
class LoadedBenchmark:
    """What a loader found.

    Attributes:
        asked: with the paths where files belong, whether they are there or not.
        missing: lists that belong to it and are not there.
        licences: what its own files say.
    """

    asked: list[AskedEdit]
    missing: list[Path] = field(default_factory=list)
    licences: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a benchmark is there.

    Attributes:
        num_found: of the `num_asked` edits, those whose files are there and sound; masks may lack.
        missing: each file that belongs there and does not exist, such as of a dead link.
        licence: in words; empty where it is not known.
    """

    num_asked: int
    num_found: int
    missing: tuple[Path, ...]
    licence: str


def covered(loaded: LoadedBenchmark, where: str, licence: str) -> tuple[list[AskedEdit], Coverage]:
    """Keep what has no source with its problem, and count.

    Raises:
        ManifestError: two edits have one name, or there is none.
    """
    names: set[str] = set()
    for each in loaded.asked:
        if each.name in names:
            raise ManifestError(f"{where}: expected each name once, found {each.name!r} twice")
        names.add(each.name)
    if not names:
        raise ManifestError(f"{where}: expected at least one edit, found none; check the split")
    missing = dict.fromkeys(loaded.missing)
    asked = [_settled(each, missing) for each in loaded.asked]
    words = "; ".join(filter(None, (licence, *sorted(loaded.licences))))
    num_found = sum(not each.problem for each in asked)
    return asked, Coverage(len(asked), num_found, tuple(missing), words)


def _settled(asked: AskedEdit, missing: dict[Path, None]) -> AskedEdit:
    gone = {key: path for key, path in asked.files.items() if not path.is_file()}
    # Of what is broken a folder may be left, which is there.
    missing.update((path, None) for path in gone.values() if not (asked.problem and path.is_dir()))
    changes: dict[str, str | None] = {}
    if "mask" in gone:
        changes["mask"] = None
    if not asked.problem and (asked.source is None or "source" in gone):
        changes["problem"] = f"its source is missing: {asked.source or 'none is named'}"
    return asked.model_copy(update=changes)


def inside(folder: Path, name: str, where: str) -> Path:
    """A path that a list names, which may not lead out of the folder.

    Raises:
        ManifestError: it would, or is no path at all.
    """
    path = Path(name)
    is_name = name.strip() and is_safe(name) and len(name.encode()) <= _MAX_NAME_BYTES
    if not is_name or path.is_absolute() or ".." in path.parts:
        raise ManifestError(
            f"{where}: expected the name of a file below {folder}, found {name!r:.80}"
        )
    return folder / path


def folder_of(folder: Path, *names: str) -> Path:
    """The first of some folders in a benchmark that is there, else the benchmark's own."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def read_text(path: Path) -> str:
    """Raises ConfigError where a list is missing or is no text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: expected the benchmark's list there: {error}; check the folder"
        ) from error


def read_rows(
    path: Path, columns: Sequence[str], *, has_header: bool = True, comment: str = ""
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, each with its place for messages.

    Args:
        columns: those that are needed; without a header, all of them in order.
        comment: what lines begin with that are none; none do where it is empty.
    Raises:
        ConfigError: it cannot be read.
        ManifestError: a column is missing, or a row has too few or too many.
    """
    text = io.StringIO(read_text(path), newline="")
    reader = csv.DictReader(text, None if has_header else columns, skipinitialspace=True)
    try:
        lacking = [column for column in columns if column not in (reader.fieldnames or ())]
        if lacking:
            raise ManifestError(
                f"{path}: expected the columns {', '.join(columns)}, found no {', '.join(lacking)}"
            )
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if comment and (row[columns[0]] or "").startswith(comment):
                continue
            if None in row or None in row.values():
                raise ManifestError(f"{where}: expected {len(reader.fieldnames or ())} columns")
            yield where, row
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.line_num}: no CSV: {error}") from error
