"""What files are, by their content; writing one whole, and holding one alone."""

import fcntl
import hashlib
import math
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
"""How the name of a draft ends: what killed writers left behind is known by it."""

_POLL_S = 0.02


def sha256_of(path: Path) -> str:
    """Of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write bytes as `written_whole` does."""
    with written_whole(path) as draft:
        draft.write_bytes(data)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all, over what stands there, however many do so at once.

    Yields the path of a draft, for the block to write; once that ends well, the disk holds the
    draft before it takes the file's place. The suffix of a draft says nothing of its format.
    """
    with draft_beside(path) as draft:
        yield draft
        sync(draft)
        draft.replace(path)


@contextmanager
def draft_beside(path: Path) -> Iterator[Path]:
    """A path of one's own in the folder of a file; what is there when the block ends is removed."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """Remove what killed writers left in a folder. Only while nobody else writes there."""
    for draft in folder.glob(f".*{PARTIAL}"):
        draft.unlink()


def sync(path: Path) -> None:
    """Have the disk hold the content of a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, patience_s: float = math.inf) -> Iterator[None]:
    """Hold a file, or a folder that is there, for one block at a time on all machines that see it.

    A process that dies holds nothing. A file is made where there is none, and may be removed by
    whoever holds it.

    Args:
        patience_s: how long to wait for whoever holds it; 0 to be refused at once.
    Raises:
        BlockingIOError: somebody else held it all that time.
        OSError: it cannot be opened, or its file system has no locks.
    """
    end_s = time.monotonic() + patience_s
    # Decided once: where a folder is gone by the next look, it is not to be made as a file.
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            if _is_taken(descriptor, path, end_s):
                yield
                return
        finally:
            os.close(descriptor)
        time.sleep(_POLL_S)


def _is_taken(descriptor: int, path: Path, end_s: float) -> bool:
    """Lock what was opened; whoever held it may have removed it meanwhile, and it is to be anew."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
    except BlockingIOError:
        if time.monotonic() >= end_s:
            raise
        return False
