"""A gate before each host: all processes of a machine share one gate, as they share one address.

A gate is a few small files in a folder: one lock per slot, and the state of the host under a lock
of its own. The kernel frees the locks of a process that dies, so a crash leaves no gate shut. The
folder must be the user's own, and no link is followed: what others put there is not written to.
"""

import fcntl
import json
import math
import os
import platform
import re
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from avipipe.errors import DISK_ERRNOS, ConfigError, FailKind
from avipipe.media.http_reply import MAX_RETRY_AFTER_S
from avipipe.media.refusal import DownloadError
from avipipe.media.user_cache import user_cache
from avipipe.text import shown_url

_POLL_S = 0.05
_ALIASES = {"youtu.be": "youtube.com", "youtube-nocookie.com": "youtube.com"}


def host_of(url: str) -> str:
    """The host that counts a request: `www.`, `m.` and `music.` are one with the bare name.

    Raises:
        DownloadError: this is no URL of a host on the web.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise DownloadError(FailKind.UNSUPPORTED_URL, f"{shown_url(url)}: {error}") from error
    if parts.scheme not in ("http", "https") or host is None:
        raise DownloadError(FailKind.UNSUPPORTED_URL, f"{shown_url(url)}: expected https://host/…")
    host = re.sub(r"^(www|m|music)\.(?=.*\.)", "", host)
    return _ALIASES.get(host, host)


def default_folder() -> Path:
    """This user's gates on this machine: a cache folder may be shared, by users and machines."""
    node = re.sub(r"[^A-Za-z0-9.-]", "_", platform.node()) or "machine"
    return user_cache() / f"hosts-{os.getuid()}" / node


def gate_folders(state_dir: Path | None) -> list[Path]:
    """Folders in which gates may lie: `state_dir`, else of all machines that share the cache."""
    root = default_folder().parent
    folders = [state_dir] if state_dir else list(root.iterdir()) if root.is_dir() else []
    return [folder for folder in folders if folder.is_dir()]


def forget_host(folder: Path, host: str) -> None:
    """Forget a host's refusals, so that it is asked again at once.

    Raises:
        ConfigError: the folder is not the user's own.
    """
    HostGate(folder, host, slots=0, max_wait_s=0.0).forget()


@dataclass(slots=True)
class _State:
    """State of a gate; in wall-clock times, since processes share it and it outlives them."""

    not_before_s: float = 0.0
    failed_at_s: float = 0.0
    failures: int = 0


class HostGate:
    """The gate of one host: how many requests at once, and when.

    Args:
        folder: shared by all gates and all processes of the machine; made if it is not there.
        host: as `host_of` gives it.
        slots: how many may be in at once.
        max_wait_s: longest time to wait for the host; also how long its failures are remembered.
    Raises:
        ConfigError: the folder, or a file in it, is another user's, or others may write there.
    """

    def __init__(self, folder: Path, host: str, *, slots: int, max_wait_s: float) -> None:
        self._folder = folder
        _make_folder(folder)
        name = re.sub(r"[^a-z0-9.-]", "_", host)[:200]
        self._locks = [f"{name}.{slot}.lock" for slot in range(slots)]
        self._state_name = f"{name}.json"
        self._host = host
        self._max_wait_s = max_wait_s

    @contextmanager
    def turn(self, interval_s: float = 0.0) -> Iterator[None]:
        """Wait for a free slot and for the host's time; hold the slot inside.

        Args:
            interval_s: least time from this turn's start to the next one's.
        Raises:
            DownloadError: rate limited; the host asks to be left alone for longer than we wait.
        """
        with ExitStack() as stack:
            self._take_slot(stack)
            while (wait_s := self._claim(interval_s)) > 0:
                if wait_s > self._max_wait_s:
                    raise DownloadError(
                        FailKind.RATE_LIMITED,
                        f"{self._host} asked to be left alone for {wait_s:.0f} s more, longer than "
                        f"max_backoff_s = {self._max_wait_s:g}",
                        retry_after_s=wait_s,
                    )
                time.sleep(min(wait_s, 1.0))
            yield

    def succeed(self) -> None:
        """Note that the host answered, whatever it said."""
        with self._state() as state:
            state.failures = 0

    def fail(self, backoff_s: float) -> int:
        """Note that the host refused or did not answer: keep everybody off for a while.

        Args:
            backoff_s: wait after the first failure; doubled for each further one in a row.
        Returns:
            how many failures in a row there are now.
        """
        with self._state() as state:
            state.failures += 1
            state.failed_at_s = time.time()
            wait_s = min(backoff_s * 2.0 ** min(state.failures - 1, 30), self._max_wait_s)
            state.not_before_s = max(state.not_before_s, state.failed_at_s + wait_s)
            return state.failures

    def shut(self, duration_s: float) -> None:
        """Keep everybody off for as long as the host itself asks, even beyond `max_wait_s`.

        A day is the most that is remembered.
        """
        with self._state() as state:
            state.not_before_s = max(state.not_before_s, time.time() + duration_s)

    def forget(self) -> None:
        """Forget what the host asked for, and how it failed."""
        with self._state() as state:
            state.not_before_s = state.failed_at_s = 0.0
            state.failures = 0

    def _take_slot(self, stack: ExitStack) -> None:
        # Not `files.locked`: any of many will do, and none is opened but as `_open_own` does.
        files = [stack.enter_context(_open_own(self._folder, name)) for name in self._locks]
        while not any(map(_try_lock, files)):
            time.sleep(_POLL_S)

    def _claim(self, interval_s: float) -> float:
        """Take the next start time if it has come, else say how far off it is."""
        with self._state() as state:
            now_s = time.time()
            wait_s = state.not_before_s - now_s
            if wait_s <= 0:
                state.not_before_s = now_s + interval_s
            return wait_s

    @contextmanager
    def _state(self) -> Iterator[_State]:
        with _open_own(self._folder, self._state_name) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            state = _parse_state(file.read())
            now_s = time.time()
            state.not_before_s = min(state.not_before_s, now_s + MAX_RETRY_AFTER_S)
            if now_s - state.failed_at_s > self._max_wait_s:
                state.failures = 0
            yield state
            state.not_before_s = min(state.not_before_s, time.time() + MAX_RETRY_AFTER_S)
            file.seek(0)
            file.truncate()
            json.dump(asdict(state), file)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _not_own(folder, f"one that cannot be made ({error.strerror})") from error


def _open_own(folder: Path, name: str) -> IO[str]:
    """Open a file of a gate for reading and writing, if it and its folder are the user's own."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder_fd = os.open(folder, flags | os.O_RDONLY | os.O_DIRECTORY)
        try:
            status = os.fstat(folder_fd)
            if status.st_uid != os.getuid():
                raise _not_own(folder, f"that of user {status.st_uid}")
            if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
                raise _not_own(folder, "one that others may write to")
            file_fd = os.open(name, flags | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
    except OSError as error:
        if error.errno in DISK_ERRNOS:
            raise
        raise _not_own(folder / name, f"{error.strerror}; a link is not followed") from error
    file = os.fdopen(file_fd, "r+", encoding="utf-8", errors="replace")
    status = os.fstat(file_fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
        file.close()
        raise _not_own(folder / name, f"that of user {status.st_uid}")
    return file


def _not_own(path: Path, found: str) -> ConfigError:
    return ConfigError(
        f"{path}: expected a folder of one's own for turns at hosts (mode 0700, no link), found "
        f"{found}; remove it, or set stages.fetch.state_dir to another folder"
    )


def _parse_state(text: str) -> _State:
    try:
        state = _State(**json.loads(text))
        times = state.not_before_s, state.failed_at_s
        return state if all(map(math.isfinite, times)) and state.failures >= 0 else _State()
    except (ValueError, TypeError, OverflowError, RecursionError):
        return _State()  # new, or torn by a crash: a gate may forget


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
