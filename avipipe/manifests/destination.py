"""Where a dataset is published: a local folder or an fsspec URL, written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from avipipe.errors import ManifestError
from avipipe.manifests.stores import open_store
from avipipe.manifests.stores.base import (
    BLOCK_BYTES,
    FileDigest,
    HashedFile,
    NotThere,
    read_digest,
)


class Draft(HashedFile):
    """A file that is written before it has a name, because the name follows from its content."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self.path = path

    def finish(self) -> FileDigest:
        """Make what was written durable."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.written


class Destination:
    """A dataset directory. Names are relative to it, with `/` between folders.

    Every method may raise a `RunError` where the store cannot be reached, and a `ConfigError` where
    it does not allow what is asked.
    """

    def __init__(self, out: str) -> None:
        self.store = open_store(out)

    @property
    def url(self) -> str:
        return self.store.url

    def read(self, name: str) -> bytes | None:
        """Read a small file; None where there is definitely none."""
        found = self.store.read(name)
        return None if found is None else found.data

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, over what stands there."""
        self.store.write(name, data)

    @contextmanager
    def draft(self, folder: str) -> Iterator[Draft]:
        """Begin a file that is to come into a folder; `place` gives it its name."""
        path = self.store.draft_path(folder)
        try:
            with path.open("xb") as file:
                yield Draft(file, path)
        finally:
            path.unlink(missing_ok=True)

    def place(self, draft: Draft, name: str) -> FileDigest:
        """Bring a draft under its name, whole or not at all, over what stands there."""
        written = draft.finish()
        self.store.place(draft.path, name, written)
        return written

    def copy(self, source: str, name: str) -> None:
        """Bring the content of a file under another name, too."""
        with self.draft(name.rpartition("/")[0]) as draft:
            with self.reading(source) as file:
                shutil.copyfileobj(file, draft, BLOCK_BYTES)
            self.place(draft, name)

    def reading(self, name: str) -> BinaryIO:
        """Open a file to read.

        Raises:
            ManifestError: there is none.
        """
        try:
            return cast(BinaryIO, self.store.open(name))
        except NotThere as error:
            raise ManifestError(
                f"expected {name} in {self.url}, found no such file; it was published there once,"
                " so restore it, or publish into a new folder"
            ) from error

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """A path of the file on this machine, for libraries that want one.

        Raises:
            ManifestError: there is none.
        """
        path = self.store.local_path(name)
        if path is not None:
            self.reading(name).close()
            yield path
            return
        with tempfile.NamedTemporaryFile(prefix="avipipe-") as copy:
            with self.reading(name) as file:
                shutil.copyfileobj(file, copy, BLOCK_BYTES)
            copy.flush()
            yield Path(copy.name)

    def written(self, name: str) -> FileDigest | None:
        """Hash and size of a file; the store's own hash where it has one, else of its bytes."""
        found = self.store.stat(name)
        if found is None:
            return None
        if found.sha256:
            return FileDigest(found.sha256, found.num_bytes)
        try:
            with self.store.open(name) as file:
                return read_digest(file)
        except NotThere:
            return None

    def exists(self, name: str) -> bool:
        return self.store.stat(name) is not None

    def names(self, folder: str) -> list[str]:
        """The names of the files right in a folder, sorted; none if there is no such folder."""
        return self.store.names(folder)

    def remove(self, name: str) -> None:
        self.store.remove(name)
