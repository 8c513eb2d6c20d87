"""A prefix of any store that fsspec has a driver for; every call is tried again for a while."""

import contextlib
import io
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from avipipe.files import PARTIAL
from avipipe.manifests.stores import failures
from avipipe.manifests.stores.base import (
    Changed,
    FileDigest,
    NotThere,
    Stat,
    Tagged,
    read_digest,
)
from avipipe.manifests.stores.failures import BucketMissing, Passing, Refused, Unsupported

PATIENCE_S = 60.0
"""How long a store may fail before it is given up: longer than a store takes to scale or to move to
another server, short enough for a person who waits."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0
"""Before a call is tried again; it doubles, by chance less, up to the second. Choices."""

_BUFFER_BYTES = 4 << 20
"""Read at once from a store: some tens of milliseconds of latency, some of transfer."""

Answer = TypeVar("Answer")


class RemoteStore:
    """A store on any fsspec file system.

    Attributes:
        has_buckets: the first part of a path is a bucket, and there are no folders to make.
    """

    def __init__(self, fs: Any, root: str, url: str, kind: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")
        self.url = url
        self.kind = kind
        self.has_buckets = kind in failures.CREDENTIALS
        self.creates = self.has_buckets
        self.swaps = False

    def look(self) -> None:
        if not self.has_buckets:
            return
        try:
            self._patiently("list it", lambda: self._fs.ls(self._bucket, detail=False))
        except NotThere as error:
            raise failures.missing_bucket(self.url) from error

    def make_bucket(self) -> None:
        if not self.has_buckets:
            return
        try:
            self.look()
        except BucketMissing:
            with contextlib.suppress(Refused):  # it has come meanwhile
                self._patiently("create its bucket", self._make_bucket)

    def probe(self, name: str, data: bytes) -> None:
        """Nothing to find out: what the drivers of these stores promise is all there is to know."""

    def stat(self, name: str) -> Stat | None:
        try:
            return self._patiently(f"look for {name}", lambda: self._stat(self._path(name)))
        except NotThere:
            return None

    def read(self, name: str) -> Tagged | None:
        try:
            return self._patiently(f"read {name}", lambda: self._get(self._path(name)))
        except NotThere:
            return None

    def read_range(self, name: str, start: int, end: int) -> bytes:
        return self._patiently(
            f"read {name}", lambda: self._get_range(self._path(name), start, end)
        )

    def open(self, name: str) -> IO[bytes]:
        found = self.stat(name)
        if found is None:
            raise NotThere(name)
        return io.BufferedReader(_RemoteFile(self, name, found.num_bytes), _BUFFER_BYTES)

    def write(self, name: str, data: bytes) -> None:
        self._patiently(f"write {name}", lambda: self._put(self._path(name), data, create=False))

    def create(self, name: str, data: bytes) -> str:
        def act() -> None:
            if not self.creates and self._exists(self._path(name)):
                raise Refused(name)
            self._put(self._path(name), data, create=True)

        try:
            return self._settled(name, data, act)
        except Unsupported:
            self.creates = self.swaps = False
            return self._settled(name, data, act)

    def swap(self, name: str, data: bytes, tag: str) -> str:
        return self._settled(name, data, lambda: self._swap(self._path(name), data, tag))

    def remove(self, name: str, tag: str | None = None) -> None:
        try:
            self._patiently(f"remove {name}", lambda: self._remove(self._path(name), tag))
        except NotThere:
            pass
        except Refused as error:
            raise Changed(name) from error

    def names(self, folder: str) -> list[str]:
        path = self._path(folder) if folder else self._root
        try:
            found = self._patiently(f"list {folder or 'it'}", lambda: self._list(path))
        except NotThere:
            return []
        names = (entry.rstrip("/").rpartition("/")[2] for entry in found)
        return sorted(f"{folder}/{name}" if folder else name for name in names)

    def modified_s(self, name: str) -> float | None:
        try:
            found = self._patiently(f"look for {name}", lambda: self._modified(self._path(name)))
        except (NotThere, NotImplementedError, KeyError):
            return None
        return found.timestamp() if isinstance(found, datetime) else None

    def local_path(self, name: str) -> Path | None:
        return None

    def draft_path(self, folder: str) -> Path:
        return Path(tempfile.gettempdir()) / f"avipipe-{uuid.uuid4().hex}{PARTIAL}"

    def place(self, draft: Path, name: str, written: FileDigest) -> None:
        path = self._path(name)

        def act() -> None:
            # What a publication that was stopped, or a try whose reply was lost, has brought
            # there already is not sent again.
            there = self._exists(path)
            if there and self._holds(path, written):
                return
            try:
                self._upload(draft, path, written, create=not there)
            except Exception as error:
                if isinstance(self._sorted(error, ""), Refused):
                    raise Passing(f"{name} came to be meanwhile") from error
                raise

        self._patiently(f"write {name}", act)

    def remove_uploads(self, folder: str, before_s: float) -> list[str]:
        """Nothing to end: such stores forget unfinished uploads by themselves, or have none."""
        return []

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @property
    def _bucket(self) -> str:
        return self._root.partition("/")[0]

    def _patiently(self, doing: str, act: Callable[[], Answer]) -> Answer:
        """Do it, again and again while only passing errors come, for `PATIENCE_S`.

        Raises:
            NotThere, Refused, Unsupported: what the store said.
            RunError: the store failed for so long.
            ConfigError: what the user can mend.
        """
        failing_since_s: list[float] = []

        def is_over(state: RetryCallState) -> bool:
            # From the first failure on: what a large upload took before does not count.
            failing_since_s.append(time.monotonic())
            return failing_since_s[-1] - failing_since_s[0] > PATIENCE_S

        tries = Retrying(
            stop=is_over,
            wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            retry=retry_if_exception_type(Passing),
            reraise=True,
        )
        try:
            answer: Answer = tries(self._once, doing, act)
            return answer
        except Passing as last:
            waited_s = time.monotonic() - failing_since_s[0]
            raise failures.given_up(
                last, kind=self.kind, url=self.url, doing=doing, waited_s=waited_s
            ) from last

    def _once(self, doing: str, act: Callable[[], Answer]) -> Answer:
        try:
            self._fs.invalidate_cache()
            return act()
        except Exception as error:
            raise self._sorted(error, doing) from error

    def _sorted(self, error: Exception, doing: str) -> Exception:
        return failures.translate_error(error, kind=self.kind, url=self.url, doing=doing)

    def _settled(self, name: str, data: bytes, act: Callable[[], None]) -> str:
        """The tag after a write under a condition. Refused may also mean that an earlier try was
        carried out and its reply lost: what stands there tells."""
        refused: Exception | None = None
        try:
            self._patiently(f"write {name}", act)
        except (Refused, NotThere) as error:
            refused = error
        found = self.read(name)
        if found is None or found.data != data:
            raise Changed(name) from refused
        return found.tag

    # What follows is one call each, and raises what the driver raises.

    def _make_bucket(self) -> None:
        self._fs.mkdir(self._bucket)

    def _exists(self, path: str) -> bool:
        try:
            self._stat(path)
        except FileNotFoundError:
            return False
        return True

    def _stat(self, path: str) -> Stat:
        info = self._fs.info(path)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return Stat(int(info["size"]))

    def _modified(self, path: str) -> object:
        return self._fs.modified(path)

    def _holds(self, path: str, written: FileDigest) -> bool:
        found = self._stat(path)
        if found.num_bytes != written.num_bytes:
            return False
        if found.sha256:
            return found.sha256 == written.sha256
        name = path.removeprefix(f"{self._root}/")
        with io.BufferedReader(_RemoteFile(self, name, found.num_bytes), _BUFFER_BYTES) as file:
            return read_digest(file) == written

    def _get(self, path: str) -> Tagged:
        data: bytes = self._fs.cat_file(path)
        return Tagged(data, sha256(data).hexdigest())

    def _get_range(self, path: str, start: int, end: int) -> bytes:
        data: bytes = self._fs.cat_file(path, start=start, end=end)
        return data

    def _put(self, path: str, data: bytes, *, create: bool) -> None:
        self._make_folder(path)
        self._fs.pipe_file(path, data, **({"mode": "create"} if create and self.creates else {}))

    def _swap(self, path: str, data: bytes, tag: str) -> None:
        if self._get(path).tag != tag:
            raise Refused(path)
        self._put(path, data, create=False)

    def _upload(self, draft: Path, path: str, written: FileDigest, *, create: bool) -> None:
        self._make_folder(path)
        options = {"mode": "create"} if create and self.creates else {}
        self._fs.put_file(str(draft), path, **options)

    def _remove(self, path: str, tag: str | None) -> None:
        if tag is not None and self._get(path).tag != tag:
            raise Refused(path)
        self._fs.rm_file(path)

    def _list(self, path: str) -> list[str]:
        found: list[str] = self._fs.ls(path, detail=False)
        return [entry for entry in found if entry.rstrip("/") != path]

    def _make_folder(self, path: str) -> None:
        if not self.has_buckets:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)


class _RemoteFile(io.RawIOBase):
    """Reads a file of a store in ranges, each of which is asked for until it comes."""

    def __init__(self, store: RemoteStore, name: str, num_bytes: int) -> None:
        self._store = store
        self.name = name
        self._num_bytes = num_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}
        self._position = base[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readall(self) -> bytes:
        if self._position >= self._num_bytes:
            return b""
        data = self._store.read_range(self.name, self._position, self._num_bytes)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._num_bytes)
        if end <= self._position:
            return 0
        data = self._store.read_range(self.name, self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
