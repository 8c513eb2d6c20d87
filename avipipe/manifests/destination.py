"""Where a dataset is published: a local folder or an fsspec URL, written whole or not at all."""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from avipipe.errors import ManifestError

PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was published."""

    sha256: str
    num_bytes: int


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
    def written(self) -> Written:
        return Written(self._hash.hexdigest(), self._num_bytes)


class Destination:
    """A dataset directory. Names are relative to it, with `/` between folders."""

    def __init__(self, out: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(out)
        self._is_local = isinstance(self._fs, LocalFileSystem)

    @contextmanager
    def writing(self, name: str) -> Iterator[HashedFile]:
        """Write a file, which appears under its name when the block ends well, and then whole."""
        if self._is_local:
            target = Path(self._path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + PARTIAL)
            try:
                with partial.open("wb") as file:
                    yield HashedFile(file)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
            _sync_folder(target.parent)
            return
        with tempfile.NamedTemporaryFile(prefix="avipipe-") as local:
            yield HashedFile(local)
            local.flush()
            self._fs.makedirs(self._fs._parent(self._path(name)), exist_ok=True)
            self._fs.put_file(local.name, self._path(name))

    def write(self, name: str, data: bytes) -> Written:
        """Write a small file."""
        with self.writing(name) as file:
            file.write(data)
        return file.written

    def reading(self, name: str) -> BinaryIO:
        """Open a file to read.

        Raises:
            ManifestError: there is none.
        """
        try:
            return cast(BinaryIO, self._fs.open(self._path(name), "rb"))
        except FileNotFoundError as error:
            raise ManifestError(
                f"expected {name} in {self._root}, found no such file; it was published there once,"
                " so restore it, or publish into a new folder"
            ) from error

    def exists(self, name: str) -> bool:
        return bool(self._fs.isfile(self._path(name)))

    def names(self, folder: str) -> list[str]:
        """The names of the files right in a folder, sorted; none if there is no such folder."""
        self._fs.invalidate_cache()
        if not self._fs.isdir(self._path(folder)):
            return []
        found = self._fs.ls(self._path(folder), detail=False)
        return sorted(f"{folder}/{path.rstrip('/').rpartition('/')[2]}" for path in found)

    def remove(self, name: str) -> None:
        self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
