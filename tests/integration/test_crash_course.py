"""Kill builds with SIGKILL at random moments; resumed, they publish the same bytes."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.builds import assert_adds_up, build, command, environment, published, status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def start(source: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    words = command("build", "--source", source, "--out", out, *options)
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[tuple[int, str]]:
    """(pid, command line) of every process under `pid`."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            try:
                name = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            found += [(child, name), *descendants(child)]
    return found


def kill_a_worker(process: subprocess.Popen[bytes]) -> None:
    workers = [pid for pid, name in descendants(process.pid) if name.startswith("ray::")]
    workers = [pid for pid in workers if "Agent" not in Path(f"/proc/{pid}/cmdline").read_text()]
    if workers:
        os.kill(workers[0], signal.SIGKILL)
    process.wait(timeout=280)


@pytest.mark.parametrize(
    ("executor", "kill", "num_kills", "longest_s"),
    [
        ("inline", kill_group, 10, 6.0),
        ("ray", kill_group, 8, 16.0),
        ("ray", kill_a_worker, 4, 14.0),
    ],
)
def test_killed_and_resumed_builds_publish_the_same_bytes(
    small_clips: Path,
    built: Path,
    tmp_path: Path,
    executor: str,
    kill: Callable[[subprocess.Popen[bytes]], None],
    num_kills: int,
    longest_s: float,
) -> None:
    moments = random.Random(f"{executor} {kill.__name__}")
    source = small_clips / "sources.txt"
    interrupted = 0
    for number in range(num_kills):
        # A dataset is killed up to three times before it is left to finish.
        out = tmp_path / f"dataset-{number // 3}"
        process = start(source, out, "--executor", executor)
        time.sleep(moments.uniform(0.5, longest_s))
        interrupted += process.poll() is None
        kill(process)
        if number % 3 == 2 or number == num_kills - 1:
            build(source, out, "--executor", executor)
            assert published(out) == published(built)
            assert_adds_up(status(out))
    assert interrupted >= num_kills // 2
