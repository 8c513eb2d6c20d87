"""The ledger: what happened to every item at every stage, on disk before anything relies on it.

One line a record, `<crc32 as 8 hex digits> <key> <stage> <status> <json>\\n`, appended and fsynced;
the checksum is of all that follows it. A run that is killed leaves at most one torn line at the
end; opening the ledger moves that line aside and goes on. Damage anywhere else is an error, because
it means that accounting can no longer be trusted.

Only an index of keys is held in memory (about 200 bytes a record); records are read on demand, and
only those are parsed that are asked for.
"""

import errno
import json
import logging
import os
import sys
import zlib
from collections.abc import Collection, Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from avipipe.errors import ManifestError
from avipipe.manifests.records import Record

logger = logging.getLogger(__name__)

FILE_NAME = "records.log"
FORGOTTEN = "forgotten"


class Ledger:
    """Append-only records, looked up by stage key; the last record of a key counts.

    Raises:
        ManifestError: on opening, when a line other than the last is damaged; on reading a record,
            when it is one that this version of avipipe does not understand.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / FILE_NAME
        self.num_written = 0
        self._places: dict[str, tuple[int, str]] = {}
        """Key -> offset of its last record, and its stage."""
        self._file: FileIO | None = None
        self._reader: BinaryIO | None = None
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        if self.path.exists():
            sound_bytes = self._index()
            if not read_only:
                self._recover(sound_bytes)
            self._reader = self.path.open("rb")
        if not read_only:
            self._file = self.path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        for file in (self._file, self._reader):
            if file is not None:
                file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Record | None:
        """Look up the record of a stage key, or None."""
        place = self._places.get(key)
        return None if place is None else self._read(place[0])

    def append(self, record: Record) -> None:
        """Add a record; it is on disk when this returns."""
        self._write(record.key, record.stage, record.status, record.to_json())

    def forget(self, key: str) -> None:
        """Let a stage run again: its record no longer counts, but stays readable in the file."""
        self._write(key, "-", FORGOTTEN, {})

    def records(self, stages: Collection[str] | None = None) -> Iterator[Record]:
        """The records that count, in the order in which they were written.

        Args:
            stages: only records of these; None for all.
        """
        for offset, stage in sorted(self._places.values()):
            if stages is None or stage in stages:
                yield self._read(offset)

    def _read(self, offset: int) -> Record:
        assert self._reader is not None
        self._reader.seek(offset)
        *_, body = _split(self._reader.readline())
        try:
            return Record.from_json(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise ManifestError(
                f"{self.path}:{self._line_number(offset)}: another version of avipipe wrote this "
                f"record ({error}). Use that version, or build into a new folder."
            ) from error

    def _line_number(self, offset: int) -> int:
        """Of the line that begins at `offset`."""
        place = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if place == offset:
                    return number
                place += len(line)
        raise AssertionError(f"no line begins at {offset}")

    def _write(self, key: str, stage: str, status: str, data: dict[str, Any]) -> None:
        assert self._file is not None, "the ledger was opened for reading only"
        offset = self._file.seek(0, os.SEEK_END)
        line = _line(key, stage, status, data)
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(offset)
            raise
        self.num_written += 1
        self._note(offset, key, stage, status)

    def _note(self, offset: int, key: str, stage: str, status: str) -> None:
        if status == FORGOTTEN:
            self._places.pop(key, None)
        else:
            self._places[key] = offset, stage

    def _index(self) -> int:
        """Index every sound line; return the length of the sound part in bytes."""
        offset = 0
        size_bytes = self.path.stat().st_size
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    key, stage, status, _ = _split(line)
                    self._note(offset, key, stage, status)
                except ValueError as error:
                    if offset + len(line) < size_bytes:
                        raise ManifestError(
                            f"{self.path}:{number}: this line is damaged ({error}); the ledger "
                            "cannot be trusted beyond it. To keep what precedes it, cut the file "
                            f"there (`truncate -s {offset} {self.path}`) and run the build again."
                        ) from error
                    return offset
                offset += len(line)
        return offset

    def _recover(self, sound_bytes: int) -> None:
        size_bytes = self.path.stat().st_size
        if sound_bytes == size_bytes:
            return
        with self.path.open("r+b") as file:
            file.seek(sound_bytes)
            torn = file.read()
            self.path.with_suffix(".torn").write_bytes(torn)
            file.truncate(sound_bytes)
            os.fsync(file.fileno())
        logger.warning(
            "%s ended in a torn record of %d bytes (a run was cut off); it was moved to %s "
            "and its item runs again",
            self.path,
            len(torn),
            self.path.with_suffix(".torn").name,
        )


def _line(key: str, stage: str, status: str, data: dict[str, Any]) -> bytes:
    body = json.dumps(data, separators=(",", ":"), sort_keys=True)
    content = f"{key} {stage} {status} {body}".encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _split(line: bytes) -> tuple[str, str, str, bytes]:
    """Key, stage, status and JSON of a line; ValueError if it is damaged."""
    checksum, _, content = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n"):
        raise ValueError("no end of line")
    if b"%08x" % zlib.crc32(content) != checksum:
        raise ValueError("checksum differs")
    key, stage, status, body = content.split(b" ", 3)
    return key.decode(), sys.intern(stage.decode()), status.decode(), body
