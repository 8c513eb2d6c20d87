"""Files are written whole or not at all, by any number of writers, and held by one at a time."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

from avipipe.files import locked, remove_drafts, write_whole, written_whole

MB = 1 << 20


@contextmanager
def running(script: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has got as far as to say something."""
    words = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


HOLD = """
import sys, time
from pathlib import Path
from avipipe.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

WRITE = """
import sys, time
from pathlib import Path
from avipipe.files import written_whole
with written_whole(Path(sys.argv[1])) as draft:
    draft.write_bytes(b"half of the n")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_is_written_takes_the_place_of_what_was(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for data in (b"old", b"new"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path) -> None:
    with written_whole(path) as draft:
        draft.write_bytes(b"half of the n")
        raise KeyboardInterrupt


def test_an_error_leaves_what_was(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), written_whole(path):
        pass
    assert path.read_bytes() == b"old"


def test_a_killed_writer_leaves_what_was_and_a_draft_that_is_known(tmp_path: Path) -> None:
    path, other = tmp_path / "a.json", tmp_path / "b.partial"
    path.write_bytes(b"old")
    other.touch()
    with running(WRITE, path) as process:
        process.send_signal(signal.SIGKILL)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 3
    remove_drafts(tmp_path)
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_a_draft_keeps_the_mode_that_its_writer_gives_it(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.touch(0o644)
    with written_whole(path) as draft:
        draft.touch(0o600)
        draft.write_bytes(b"hush")
    assert path.stat().st_mode & 0o777 == 0o600


def write_often(path: Path, letter: bytes) -> None:
    for _ in range(20):
        write_whole(path, letter * MB)


def test_a_reader_of_two_writers_sees_one_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"a" * MB)
    context = get_context("spawn")
    writers = [context.Process(target=write_often, args=(path, letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(path.read_bytes())
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen <= {b"a" * MB, b"b" * MB}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_second_holder_is_refused_and_a_dead_one_holds_nothing(
    tmp_path: Path, is_folder: bool
) -> None:
    path = tmp_path if is_folder else tmp_path / "lock"
    with running(HOLD, path) as holder:
        with pytest.raises(BlockingIOError), locked(path, patience_s=0):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locked(path, patience_s=0):
            pass


def test_a_second_holder_waits_as_long_as_it_is_patient(tmp_path: Path) -> None:
    path, told = tmp_path / "lock", list[str]()

    def wait() -> None:
        with locked(path):
            told.append("second")

    second = threading.Thread(target=wait)
    with locked(path):
        began_s = time.monotonic()
        with pytest.raises(BlockingIOError), locked(path, patience_s=0.2):
            pass
        assert time.monotonic() - began_s >= 0.2
        second.start()
        second.join(0.2)
        told.append("first")
    second.join(10)
    assert told == ["first", "second"]


def count_up(path: Path, counter: Path) -> None:
    for _ in range(10):
        with locked(path):
            counter.write_text(str(int(counter.read_text()) + 1))
            path.unlink()


def test_a_holder_may_remove_the_file_and_still_there_is_one_at_a_time(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    context = get_context("spawn")
    args = (tmp_path / "lock", counter)
    workers = [context.Process(target=count_up, args=args) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter.read_text() == "40"


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "nowhere" / "lock"):
        pass
