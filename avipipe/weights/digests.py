"""The sha256 of files, computed once: gigabytes are not read again while nothing has changed."""

import contextlib
import hashlib
import json
import logging
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from avipipe.media.user_cache import CACHE_ENV as CACHE_ENV
from avipipe.media.user_cache import user_cache

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where pulled weights lie, and what is known about them: AVIPIPE_CACHE_DIR/weights."""
    return user_cache() / "weights"


def digest(path: Path) -> str:
    """The sha256 of a file, remembered for as long as its size and time of change stay."""
    real = path.resolve()
    stat = real.stat()
    return _digest(_notes_path(), str(real), stat.st_size, stat.st_mtime_ns)


def digest_again(path: Path) -> str:
    """The sha256 of a file, read whole whatever is remembered of it."""
    real = path.resolve()
    stat = real.stat()
    value = _read(real)
    _remember(_notes_path(), (str(real), stat.st_size, stat.st_mtime_ns), value)
    return value


def is_remembered(path: Path) -> bool:
    """Whether the sha256 of a file is known without reading it."""
    real = path.resolve()
    stat = real.stat()
    return (str(real), stat.st_size, stat.st_mtime_ns) in _notes(_notes_path())


@lru_cache(maxsize=4096)
def _digest(notes: Path, path: str, size_bytes: int, mtime_ns: int) -> str:
    key = (path, size_bytes, mtime_ns)
    value = _notes(notes).get(key)
    if value is None:
        value = _read(Path(path))
        _remember(notes, key, value)
    return value


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _notes_path() -> Path:
    return cache_folder() / "hashes.jsonl"


def _notes(path: Path) -> dict[tuple[str, int, int], str]:
    """(path, size, mtime_ns) -> sha256. A torn or damaged line says nothing."""
    notes = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return {}
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            *note, crc32 = json.loads(line)
            if crc32 == _crc32(note):
                file, size_bytes, mtime_ns, value = note
                notes[file, size_bytes, mtime_ns] = value
    return notes


def _crc32(note: Sequence[object]) -> int:
    return zlib.crc32(json.dumps(note).encode())


def _remember(notes: Path, key: tuple[str, int, int], value: str) -> None:
    # One short write at the end of the file: writers at the same time do not mix their lines.
    note = [*key, value]
    line = json.dumps([*note, _crc32(note)]) + "\n"
    try:
        notes.parent.mkdir(parents=True, exist_ok=True)
        with notes.open("ab", buffering=0) as file:
            file.write(line.encode())
    except OSError as error:
        logger.debug("the hash of %s is not remembered: %s", key[0], error)
