"""Turns at a host, taken by threads and processes of one machine."""

import json
import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest

from avipipe.errors import ConfigError, FailKind
from avipipe.media.host_gate import (
    HostGate,
    default_folder,
    forget_host,
    gate_folders,
    host_of,
)
from avipipe.media.refusal import DownloadError
from avipipe.media.user_cache import CACHE_ENV


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


def test_nothing_shuts_a_host_for_more_than_a_day(tmp_path: Path) -> None:
    """Neither what a host asks for, nor what stands in the file."""
    gate(tmp_path).shut(1e300)
    with pytest.raises(DownloadError, match="left alone for 86400 s more"):
        gate(tmp_path).turn().__enter__()
    state = {"not_before_s": 9e15, "failed_at_s": 9e15, "failures": 9}
    (tmp_path / "host.org.json").write_text(json.dumps(state))
    with pytest.raises(DownloadError, match="left alone for 86400 s more"):
        gate(tmp_path).turn().__enter__()


@pytest.mark.parametrize(
    "text",
    [
        '{"not_before_s": NaN, "failed_at_s": 0, "failures": 0}',
        '{"not_before_s": "soon", "failed_at_s": 0, "failures": 0}',
        '{"not_before_s": 1, "failed_at_s": 0, "failures": -5}',
        '{"else": 1}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_damaged_state_is_forgotten(tmp_path: Path, text: str) -> None:
    gate(tmp_path).shut(1)
    (tmp_path / "host.org.json").write_text(text, encoding="latin-1")
    with gate(tmp_path).turn():
        pass


def test_the_folder_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    gate(default_folder()).succeed()
    for folder in (default_folder(), default_folder().parent):
        assert folder.is_relative_to(tmp_path / "cache")
    assert stat.S_IMODE(default_folder().stat().st_mode) == 0o700
    (file,) = default_folder().iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_to_another_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match=r"stages\.fetch\.state_dir"):
        gate(tmp_path / "link").succeed()
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize("name", ["host.org.json", "host.org.0.lock"])
def test_a_link_to_another_file_is_not_followed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "hosts"
    gate(folder)
    (tmp_path / "precious").write_text("mine")
    (folder / name).symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="a link is not followed"), gate(folder).turn():
        pass
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "hosts"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ConfigError, match="others may write to"):
        gate(folder).succeed()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "hosts"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(ConfigError, match="that of user 65534"):
        gate(folder).succeed()


def test_a_host_can_be_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path))
    other_machine = default_folder().with_name("other")
    for folder in (default_folder(), other_machine):
        gate(folder).shut(3600)
    for folder in gate_folders(None):
        forget_host(folder, "host.org")
    for folder in (default_folder(), other_machine):
        with gate(folder).turn():
            pass
    assert gate_folders(tmp_path / "none") == []
