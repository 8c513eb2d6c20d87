"""The runner of ffmpeg: what it reports, and that nothing outlives it."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.media.ffmpeg import ffmpeg_path, run, versions

ENDLESS = ("-re", "-f", "lavfi", "-i", "testsrc2=s=32x32:r=5", "-f", "null", "-")
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until_gone(pid: int) -> None:
    deadline_s = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < deadline_s, f"ffmpeg {pid} outlived its caller"
        time.sleep(0.02)


def test_it_measures_what_a_run_costs(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc2=s=320x240:d=2")
    finished = run([*source, str(tmp_path / "a.mp4")], timeout_s=60)
    assert 0 < finished.cpu_s
    assert 0 < finished.wall_s < 60


def test_a_failure_carries_the_log(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        run(["-i", str(tmp_path / "none.mp4"), "-f", "null", "-"], timeout_s=60)
    assert caught.value.kind is FailKind.TOOL_FAILED
    assert "none.mp4" in caught.value.log_tail


def test_a_full_disk_is_not_the_items_fault() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x64:d=1")
    with pytest.raises(OSError, match="No space left") as caught:
        run([*source, "-f", "rawvideo", "/dev/full"], timeout_s=60)
    assert caught.value.errno == errno.ENOSPC


@LINUX_ONLY
def test_the_time_limit_ends_it() -> None:
    before = set(children_of(os.getpid()))
    with pytest.raises(MediaError) as caught:
        run(ENDLESS, timeout_s=0.5)
    assert caught.value.kind is FailKind.TIMEOUT
    assert set(children_of(os.getpid())) <= before


@LINUX_ONLY
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_it_dies_with_its_caller(signal_number: int) -> None:
    code = f"from avipipe.media.ffmpeg import run; run({ENDLESS!r}, timeout_s=60)"
    caller = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 20
        while not (tools := [pid for pid in children_of(caller.pid) if is_ffmpeg(pid)]):
            assert time.monotonic() < deadline_s, "ffmpeg never started"
            time.sleep(0.02)
        caller.send_signal(signal_number)
        caller.wait(timeout=20)
        wait_until_gone(tools[0])
    finally:
        caller.kill()


def is_ffmpeg(pid: int) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return words[0].decode() == ffmpeg_path() and b"-re" in words


def test_versions_name_every_library() -> None:
    found = versions()
    assert found["ffmpeg"]
    for name in ("libavcodec", "libavfilter", "pyav", "pyav-libavcodec"):
        assert found[name][0].isdigit()
