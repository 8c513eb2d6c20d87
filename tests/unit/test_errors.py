"""What the operating system refuses is named, with what to do about it."""

import errno
import os

import pytest

from avipipe.errors import disk_error


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "cannot write results: No space left on device (/data/f). .* make room,"),
        (errno.EDQUOT, "cannot write results: Disk quota exceeded (/data/f). .* your quota"),
        (errno.EROFS, "cannot write results: Read-only file system (/data/f). .* writable"),
        (errno.EACCES, "Permission denied (/data/f). .* change the permissions,"),
        (errno.EIO, "cannot read or write results: Input/output error (/data/f). .* is sound"),
        (errno.ENOENT, "No such file or directory (/data/f). .* nobody else changes them"),
    ],
)
def test_each_refusal_has_its_remedy(number: int, message: str) -> None:
    told = str(disk_error(OSError(number, os.strerror(number), "/data/f")))
    start, _, end = message.partition(" .* ")
    assert start in told
    assert end in told
    assert ("make room" in told) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_an_error_without_a_number_is_told_in_its_own_words() -> None:
    assert "the server hung up" in str(disk_error(ConnectionError("the server hung up")))
