"""Takes turns at a host: all processes of a machine share one gate, as they share one address.

A gate is a few small files in a folder: one lock per slot, and the state of the host under a lock
of its own. The kernel frees the locks of a process that dies, so a crash leaves no gate shut.
"""

import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from avipipe.errors import FailKind
from avipipe.media.refusal import DownloadError

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
        raise DownloadError(FailKind.UNSUPPORTED_URL, f"{url}: {error}") from error
    if parts.scheme not in ("http", "https") or host is None:
        raise DownloadError(FailKind.UNSUPPORTED_URL, f"{url}: expected https://host/…")
    host = re.sub(r"^(www|m|music)\.(?=.*\.)", "", host)
    return _ALIASES.get(host, host)


def default_folder() -> Path:
    """This user's gates on this machine."""
    return Path(tempfile.gettempdir()) / f"avipipe-{os.getuid()}" / "hosts"


@dataclass(slots=True)
class _State:
    """Wall-clock times, since they are shared by processes and outlive them."""

    not_before_s: float = 0.0
    failed_at_s: float = 0.0
    failures: int = 0


class HostGate:
    """The gate of one host.

    Args:
        folder: shared by all gates and all processes of the machine.
        host: as `host_of` gives it.
        slots: how many may be in at once.
        max_wait_s: longest time to wait for the host; also how long its failures are remembered.
    """

    def __init__(self, folder: Path, host: str, *, slots: int, max_wait_s: float) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9.-]", "_", host)
        self._locks = [folder / f"{name}.{slot}.lock" for slot in range(slots)]
        self._state_path = folder / f"{name}.json"
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
        """The host answered, whatever it said."""
        with self._state() as state:
            state.failures = 0

    def fail(self, backoff_s: float) -> int:
        """The host refused or did not answer: keep everybody off for a while.

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
        """Keep everybody off for as long as the host itself asks, even beyond `max_wait_s`."""
        with self._state() as state:
            state.not_before_s = max(state.not_before_s, time.time() + duration_s)

    def _take_slot(self, stack: ExitStack) -> None:
        files = [stack.enter_context(path.open("a")) for path in self._locks]
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
        with self._state_path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            state = _parse_state(file.read())
            if time.time() - state.failed_at_s > self._max_wait_s:
                state.failures = 0
            yield state
            file.truncate(0)
            json.dump(asdict(state), file)


def _parse_state(text: str) -> _State:
    try:
        return _State(**json.loads(text))
    except (ValueError, TypeError):
        return _State()  # new, or torn by a crash: a gate may forget


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
