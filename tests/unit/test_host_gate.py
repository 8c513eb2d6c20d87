"""Turns at a host, taken by threads and processes of one machine."""

import multiprocessing
import time
from pathlib import Path

import pytest

from avipipe.errors import FailKind
from avipipe.media.host_gate import HostGate, host_of
from avipipe.media.refusal import DownloadError


def gate(folder: Path, *, slots: int = 1, max_wait_s: float = 10) -> HostGate:
    return HostGate(folder, "host.org", slots=slots, max_wait_s=max_wait_s)


def hold(folder: Path, slots: int, spans: "multiprocessing.Queue[tuple[float, float]]") -> None:
    with gate(folder, slots=slots).turn():
        start_s = time.time()
        time.sleep(0.3)
        spans.put((start_s, time.time()))


@pytest.mark.parametrize("slots", [1, 2])
def test_slots_are_shared_by_processes(tmp_path: Path, slots: int) -> None:
    context = multiprocessing.get_context("spawn")
    spans: multiprocessing.Queue[tuple[float, float]] = context.Queue()
    workers = [context.Process(target=hold, args=(tmp_path, slots, spans)) for _ in range(4)]
    for worker in workers:
        worker.start()
    held = [spans.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    for start_s, _ in held:
        assert sum(other[0] <= start_s < other[1] for other in held) <= slots


def test_interval_between_turns(tmp_path: Path) -> None:
    started_s = time.monotonic()
    for _ in range(3):
        with gate(tmp_path).turn(0.2):
            pass
    assert time.monotonic() - started_s >= 0.4


def test_failures_keep_everybody_off_ever_longer(tmp_path: Path) -> None:
    assert [gate(tmp_path).fail(0.1) for _ in range(3)] == [1, 2, 3]
    started_s = time.monotonic()
    with gate(tmp_path).turn():
        assert 0.3 <= time.monotonic() - started_s < 2
    gate(tmp_path).succeed()
    assert gate(tmp_path).fail(0.1) == 1


def test_failures_are_forgotten(tmp_path: Path) -> None:
    assert gate(tmp_path, max_wait_s=0.1).fail(0.0) == 1
    time.sleep(0.15)
    assert gate(tmp_path, max_wait_s=0.1).fail(0.0) == 1


def test_a_host_that_is_shut_for_long_is_not_waited_for(tmp_path: Path) -> None:
    gate(tmp_path).shut(3600)
    with pytest.raises(DownloadError, match="left alone for 3600 s more") as caught:
        gate(tmp_path).turn().__enter__()
    assert caught.value.kind is FailKind.RATE_LIMITED
    assert caught.value.retry_after_s == pytest.approx(3600, abs=5)


def test_a_torn_state_is_forgotten(tmp_path: Path) -> None:
    gate(tmp_path).shut(3600)
    (tmp_path / "host.org.json").write_text('{"not_be')
    with gate(tmp_path).turn():
        pass


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.youtube.com/watch?v=x", "youtube.com"),
        ("https://youtu.be/x", "youtube.com"),
        ("https://m.youtube.com/x", "youtube.com"),
        ("http://Media.Example.org:8080/x.mp4", "media.example.org"),
        ("https://www.org/", "www.org"),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host
