"""Runs the ffmpeg binary: no stdin, stderr to a file, a time limit, and nothing left behind."""

import contextlib
import errno
import functools
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import av
import imageio_ffmpeg

from avipipe.errors import ConfigError, FailKind, MediaError

logger = logging.getLogger(__name__)

_NEEDED_CODECS = ("libx264", "aac", "flac")
_NEEDED_FILTERS = ("zscale", "tonemap", "bwdif")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOG_TAIL_BYTES = 4000
"""Last words of ffmpeg that an error may tell; the reason is at the end."""
_POLL_S = 0.01

# An ffmpeg whose worker is killed with SIGKILL would go on writing into a folder that is no longer
# its own. The kernel can kill it with its parent, but it has to ask for that itself, and asking in
# `preexec_fn` can deadlock in a process with threads; hence this small step in between.
_DIE_WITH_PARENT = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class ToolRun:
    """Result of a run of a tool: the end of its log, and what it cost."""

    log_tail: str
    wall_s: float
    cpu_s: float


@functools.cache
def ffmpeg_path() -> str:
    """Path of the system's ffmpeg where it can do what is needed, else of imageio-ffmpeg's.

    Raises:
        ConfigError: there is no usable ffmpeg.
    """
    found = shutil.which("ffmpeg")
    if found is not None and _is_complete(found):
        return os.path.realpath(found)
    try:
        return os.path.realpath(str(imageio_ffmpeg.get_ffmpeg_exe()))
    except RuntimeError as error:
        raise ConfigError(
            f"expected an ffmpeg with {', '.join(_NEEDED_CODECS + _NEEDED_FILTERS)} on PATH, found "
            f"{found or 'none'}, and imageio-ffmpeg has none for this machine: install ffmpeg"
        ) from error


@functools.cache
def versions() -> dict[str, str]:
    """Versions of ffmpeg and PyAV and of the libraries of each; written bytes depend on them."""
    text = _output_of(ffmpeg_path(), "-version")
    found = {"ffmpeg": text.split()[2], "pyav": av.__version__}
    for name, version in re.findall(r"^(lib\w+) +([\d. ]+) /", text, re.MULTILINE):
        found[name] = version.replace(" ", "")
    for name, parts in av.library_versions.items():
        found[f"pyav-{name}"] = ".".join(map(str, parts))
    return found


def file_url(path: Path) -> bytes:
    """A local file as an input of ffmpeg-python's graph; bytes, as a name may be no text."""
    return b"file:" + os.fsencode(path.resolve())


def run(
    args: Sequence[str | bytes],
    *,
    timeout_s: float,
    cpus: int = 1,
    inputs: Sequence[int] = (),
    feed: Callable[[], None] | None = None,
) -> ToolRun:
    """Run ffmpeg to its end.

    Args:
        args: all that follows the program's name, built with ffmpeg-python.
        timeout_s: wall-clock limit.
        cpus: threads for filters; those of codecs are part of `args`.
        inputs: file descriptors that it reads as `pipe:N`; closed here once it has them.
        feed: called while it runs, to write into the other ends of `inputs`; what it raises ends
            the run, but for a pipe that ffmpeg has closed.
    Raises:
        MediaError: it failed (TOOL_FAILED) or ran past the limit (TIMEOUT).
        OSError: the disk is full (ENOSPC, EDQUOT), which is no fault of the item's.
    """
    options = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "warning", "-y"]
    options += ["-filter_threads", str(cpus), "-filter_complex_threads", str(cpus)]
    command: list[str | bytes] = [ffmpeg_path(), *options, *args]
    logger.debug("running %s", command)
    started_s = time.monotonic()
    with tempfile.TemporaryFile() as log:
        code, cpu_s = _execute(command, log, inputs, feed, deadline_s=started_s + timeout_s)
        log_tail = _tail(log)
    if code == 0:
        return ToolRun(log_tail, time.monotonic() - started_s, cpu_s)
    if code is None:
        message = f"ffmpeg was killed after {timeout_s:.0f} s, its time limit"
        raise MediaError(FailKind.TIMEOUT, message, log_tail=log_tail)
    for number in _DISK_FULL:
        if os.strerror(number) in log_tail:
            raise OSError(number, os.strerror(number), command[-1])
    last_line = (log_tail.strip().splitlines() or ["no message"])[-1]
    message = f"ffmpeg ended with status {code}: {last_line}"
    raise MediaError(FailKind.TOOL_FAILED, message, log_tail=log_tail)


def _execute(
    command: Sequence[str | bytes],
    log: IO[bytes],
    inputs: Sequence[int],
    feed: Callable[[], None] | None,
    *,
    deadline_s: float,
) -> tuple[int | None, float]:
    """The exit status (None: killed at the deadline) and the CPU seconds of a command."""
    if sys.platform == "linux":
        shim = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        command = [*shim, *command]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            pass_fds=inputs,
        )
    finally:
        for number in inputs:
            os.close(number)
    # A feed that waits for a program that hangs ends with it.
    watchdog = threading.Timer(
        deadline_s - time.monotonic(), os.killpg, (process.pid, signal.SIGKILL)
    )
    watchdog.daemon = True
    watchdog.start()
    try:
        if feed is not None:
            # Why a program has closed its input says its log.
            with contextlib.suppress(BrokenPipeError):
                feed()
        while time.monotonic() < deadline_s:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid != 0:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode, usage.ru_utime + usage.ru_stime
            time.sleep(_POLL_S)
        return None, 0.0
    finally:
        watchdog.cancel()
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _tail(log: IO[bytes]) -> str:
    size_bytes = log.seek(0, os.SEEK_END)
    log.seek(max(0, size_bytes - _LOG_TAIL_BYTES))
    return log.read().decode(errors="replace")


def _is_complete(program: str) -> bool:
    codecs = _output_of(program, "-hide_banner", "-encoders").split()
    filters = _output_of(program, "-hide_banner", "-filters").split()
    return set(_NEEDED_CODECS) <= set(codecs) and set(_NEEDED_FILTERS) <= set(filters)


def _output_of(program: str, *args: str) -> str:
    """What a program prints; empty where it cannot even start."""
    try:
        return subprocess.run(
            [program, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
