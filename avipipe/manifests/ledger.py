"""The ledger: what happened to every item at every stage, on disk before anything relies on it.

One line a record, `<crc32 as 8 hex digits> <json>\\n`, appended and fsynced. A run that is killed
leaves at most one torn line at the end; opening the ledger moves that line aside and goes on.
Damage anywhere else is an error, because it means that accounting can no longer be trusted.

Only an index of keys is held in memory (about 150 bytes a record); records are read on demand.
"""

import json
import logging
import os
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from avipipe.errors import ManifestError
from avipipe.manifests.records import Record

logger = logging.getLogger(__name__)

FILE_NAME = "records.jsonl"


class Ledger:
    """Append-only records, looked up by stage key; the last record of a key counts.

    Raises:
        ManifestError: on opening, when a line other than the last is damaged.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / FILE_NAME
        self.num_written = 0
        self._offsets: dict[str, int] = {}
        self._file: BinaryIO | None = None
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
            self._file = self.path.open("ab")

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
        return key in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, key: str) -> Record | None:
        """The record of a stage key, or None."""
        offset = self._offsets.get(key)
        if offset is None or self._reader is None:
            return None
        self._reader.seek(offset)
        return Record.from_json(_parse(self._reader.readline()))

    def append(self, record: Record) -> None:
        """Add a record; it is on disk when this returns."""
        self._write(record.to_json())

    def forget(self, key: str) -> None:
        """Let a stage run again: its record no longer counts, but stays readable in the file."""
        self._write({"key": key, "status": "forgotten"})

    def records(self, stages: Collection[str] | None = None) -> Iterator[Record]:
        """The records that count, in the order in which they were written.

        Args:
            stages: only records of these; None for all.
        """
        if self._reader is None:
            return
        for offset in sorted(self._offsets.values()):
            self._reader.seek(offset)
            record = Record.from_json(_parse(self._reader.readline()))
            if stages is None or record.stage in stages:
                yield record

    def _write(self, data: dict[str, Any]) -> None:
        assert self._file is not None, "the ledger was opened for reading only"
        offset = self._file.tell()
        self._file.write(_format(data))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.num_written += 1
        self._note(data, offset)

    def _note(self, data: dict[str, Any], offset: int) -> None:
        if data["status"] == "forgotten":
            self._offsets.pop(data["key"], None)
        else:
            self._offsets[data["key"]] = offset

    def _index(self) -> int:
        """Index every sound line; return the length of the sound part in bytes."""
        offset = 0
        size_bytes = self.path.stat().st_size
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    self._note(_parse(line), offset)
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


def _format(data: dict[str, Any]) -> bytes:
    body = json.dumps(data, separators=(",", ":"), sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _parse(line: bytes) -> dict[str, Any]:
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n"):
        raise ValueError("no end of line")
    if f"{zlib.crc32(body):08x}".encode() != checksum:
        raise ValueError("checksum differs")
    data: dict[str, Any] = json.loads(body)
    return data
