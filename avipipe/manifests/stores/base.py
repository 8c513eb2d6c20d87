"""What a store of files can do; the words that its kinds share.

A store tells three things apart: a file that is definitely not there (None, or `NotThere`), a
store that cannot be reached (`RunError`, once patience is over) and one that does not allow what
was asked (`ConfigError`).
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Digest of a file: its hash and its size."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Stat:
    """Metadata of a file, as a store knows it without reading.

    Attributes:
        sha256: of its bytes, where the store computed it itself; empty where it did not.
    """

    num_bytes: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Tagged:
    """The bytes of a file, and a tag that changes whenever they do."""

    data: bytes
    tag: str


class NotThere(Exception):
    """The store answered, and there is definitely no such file."""


class Changed(Exception):
    """A file is not (any more) what the writer took it for; nothing was written."""


class DatasetStore(Protocol):
    """Files by name, relative to the root of a dataset, with `/` between folders.

    Attributes:
        url: of the root, for messages.
        creates: whether `create` lets one of several writers win.
        swaps: whether `swap` does.
    """

    url: str
    creates: bool
    swaps: bool

    def look(self) -> None:
        """Make sure that the store is there and may be read; a file is not needed for that."""

    def make_bucket(self) -> None:
        """Create the bucket, if it is missing."""

    def probe(self, name: str, data: bytes) -> None:
        """Find out on a file that holds `data` whether `creates` and `swaps` are true."""

    def stat(self, name: str) -> Stat | None: ...

    def read(self, name: str) -> Tagged | None: ...

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes [start, end); fewer where the file ends before. Raises NotThere."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read and seek in. Raises NotThere."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all, over what stands there."""

    def create(self, name: str, data: bytes) -> str:
        """Write a file that must not be there; return its tag. Raises Changed where it is."""

    def swap(self, name: str, data: bytes, tag: str) -> str:
        """Write over the file that has this tag; return the new one. Raises Changed."""

    def remove(self, name: str, tag: str | None = None) -> None:
        """Remove a file; only what has this tag, where the store can tell. Raises Changed."""

    def names(self, folder: str) -> list[str]:
        """The names of the files right in a folder; none if there is no such folder."""

    def modified_s(self, name: str) -> float | None:
        """When a file was written, by the clock of the store, in Unix time; None if unknown."""

    def local_path(self, name: str) -> Path | None:
        """Path of the file, where it lies on this machine."""

    def draft_path(self, folder: str) -> Path:
        """Path for a draft of a file that is to come into a folder, before it has its name."""

    def place(self, draft: Path, name: str, written: FileDigest) -> None:
        """Bring a draft under its name, whole or not at all, over what stands there."""

    def remove_uploads(self, folder: str, before_s: float) -> list[str]:
        """End uploads into a folder that were begun before a time and never came to an end."""


class HashedFile(io.RawIOBase):
    """A file to write to that knows the hash and the number of its bytes so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._num_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._hash.update(view)
        self._num_bytes += len(view)
        self._file.write(view)
        return len(view)

    def tell(self) -> int:
        return self._num_bytes

    @property
    def written(self) -> FileDigest:
        return FileDigest(self._hash.hexdigest(), self._num_bytes)


def read_digest(file: IO[bytes]) -> FileDigest:
    """Compute the digest of a file by reading it to its end."""
    state, num_bytes = hashlib.sha256(), 0
    while block := file.read(BLOCK_BYTES):
        state.update(block)
        num_bytes += len(block)
    return FileDigest(state.hexdigest(), num_bytes)
