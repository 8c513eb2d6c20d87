"""A folder of a local or shared file system."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

from avipipe.errors import ConfigError, RunError
from avipipe.files import PARTIAL, draft_beside, locked, sync, write_whole
from avipipe.manifests.stores.base import (
    Changed,
    FileDigest,
    NotThere,
    Stat,
    Tagged,
    read_digest,
)

_LOCK_PATIENCE_S = 30.0
"""A lock is held for milliseconds; one that is held for longer belongs to a broken file server."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
"""What file systems say that have no locks, or no hard links."""


class LocalStore:
    """A store in a local folder: files are written beside their place, then renamed or linked."""

    creates = True
    swaps = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self.url = str(root)

    def look(self) -> None:
        """Nothing to look at: a missing folder is made with the first file in it."""

    def make_bucket(self) -> None:
        """Nothing to do: there are no buckets."""

    def probe(self, name: str, data: bytes) -> None:
        """Nothing to find out: system calls say what they do."""

    def stat(self, name: str) -> Stat | None:
        path = self._root / name
        try:
            return Stat(path.stat().st_size) if path.is_file() else None
        except OSError as error:
            raise self._cannot("read", path, error) from error

    def read(self, name: str) -> Tagged | None:
        path = self._root / name
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._cannot("read", path, error) from error
        return Tagged(data, _tag(data))

    def read_range(self, name: str, start: int, end: int) -> bytes:
        with self.open(name) as file:
            file.seek(start)
            return file.read(end - start)

    def open(self, name: str) -> IO[bytes]:
        path = self._root / name
        try:
            return path.open("rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotThere(name) from error
        except OSError as error:
            raise self._cannot("read", path, error) from error

    def write(self, name: str, data: bytes) -> None:
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
            sync(path.parent)
        except OSError as error:
            raise self._cannot("write", path, error) from error

    def create(self, name: str, data: bytes) -> str:
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft_beside(path) as draft:
                draft.write_bytes(data)
                sync(draft)
                self._link(draft, path, data)
            sync(path.parent)
        except OSError as error:
            raise self._cannot("write", path, error) from error
        return _tag(data)

    def swap(self, name: str, data: bytes, tag: str) -> str:
        if self.stat(name) is None:
            raise Changed(name)
        with self._locked(name):
            found = self.read(name)
            if found is None or found.tag != tag:
                raise Changed(name)
            self.write(name, data)
        return _tag(data)

    def remove(self, name: str, tag: str | None = None) -> None:
        path = self._root / name
        try:
            if tag is None:
                path.unlink(missing_ok=True)
                return
            with self._locked(name):
                found = self.read(name)
                if found is not None and found.tag != tag:
                    raise Changed(name)
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot("remove", path, error) from error

    def names(self, folder: str) -> list[str]:
        path = self._root / folder
        try:
            found = [entry.name for entry in path.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._cannot("list", path, error) from error
        return sorted(f"{folder}/{name}" if folder else name for name in found)

    def modified_s(self, name: str) -> float | None:
        try:
            return (self._root / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def local_path(self, name: str) -> Path | None:
        return self._root / name

    def draft_path(self, folder: str) -> Path:
        path = self._root / folder
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot("write", path, error) from error
        return path / f"{uuid.uuid4().hex}{PARTIAL}"

    def place(self, draft: Path, name: str, written: FileDigest) -> None:
        path = self._root / name
        if path.is_file() and path.stat().st_size == written.num_bytes:
            with self.open(name) as file:
                if read_digest(file) == written:
                    return
        try:
            draft.replace(path)
            sync(path.parent)
        except OSError as error:
            raise self._cannot("write", path, error) from error

    def remove_uploads(self, folder: str, before_s: float) -> list[str]:
        """Nothing to end: parts lie in the folder itself, under names that say so."""
        return []

    def _link(self, draft: Path, path: Path, data: bytes) -> None:
        try:
            os.link(draft, path)
        except OSError as error:
            if error.errno in _NO_LINKS:
                self._create_in_place(path, data)
            # On NFS the reply to a link that was made may be lost: two names tell of it.
            elif draft.stat().st_nlink < 2:
                if isinstance(error, FileExistsError):
                    raise Changed(path.name) from error
                raise

    def _create_in_place(self, path: Path, data: bytes) -> None:
        """For file systems without links: a reader may see a part of the file for a moment."""
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError as error:
            raise Changed(path.name) from error
        sync(path)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Keep other processes, on all machines that see the folder, from the same; for moments.

        The lock is on a file that is there only while it is held. A process that dies lets go.
        """
        path = self._root / f"{name}.lock"
        with ExitStack() as held:
            try:
                held.enter_context(locked(path, patience_s=_LOCK_PATIENCE_S))
            except BlockingIOError as error:
                raise RunError(
                    f"{path} is locked for more than {_LOCK_PATIENCE_S:g} s; if no other build is "
                    "at work there, the file server is to blame: run the same command again"
                ) from error
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise self._cannot("lock", path, error) from error
                self.swaps = False  # whoever relies on it reads back what was written
            held.callback(path.unlink, missing_ok=True)
            yield

    def _cannot(self, doing: str, path: Path, error: OSError) -> ConfigError | RunError:
        why = error.strerror or str(error)
        if doing == "read" and isinstance(error, PermissionError):
            return ConfigError(f"cannot read {path}: {why}; change its permissions")
        return RunError(
            f"cannot {doing} {path}: {why}; make room or change its permissions, then run the same "
            "command again; or choose another --out"
        )


def _tag(data: bytes) -> str:
    return sha256(data).hexdigest()
