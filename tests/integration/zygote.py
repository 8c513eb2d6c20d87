"""Runs avipipe commands in real processes that start in milliseconds and can be killed at will.

A process that has imported everything forks for each command; only its children touch stores.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.integration.builds import ROOT, Ended, environment

Words = list[str | Path]

_NO_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""A process with threads must not fork."""


@dataclass
class Running:
    """A command that was started."""

    pid: int
    output: Path
    zygote: "Zygote" = field(repr=False)

    def kill(self) -> None:
        """With SIGKILL; it may have ended by itself before."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """The exit code is negative where a signal ended it."""
        code = int(self.zygote.ask({"wait": [self.pid]})["code"])
        return Ended(code, "", self.output.read_text())


@dataclass
class Zygote:
    """A context manager. `patience_s`: how long the commands bear with a store that fails."""

    folder: Path
    patience_s: float = 2.0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.zygote", str(self.patience_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(), **_NO_THREADS},
            cwd=ROOT,
        )
        self._number = 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def start(self, *words: str | Path, env: dict[str, str] | None = None) -> Running:
        self._number += 1
        output = self.folder / f"output-{self._number}.txt"
        output.touch()  # it may be killed before it has written a byte
        told = {"run": [str(word) for word in words], "output": str(output), "env": env or {}}
        return Running(int(self.ask(told)["pid"]), output, self)

    def run(self, *words: str | Path, env: dict[str, str] | None = None) -> Ended:
        return self.start(*words, env=env).wait()

    def first(self, running: Sequence[Running]) -> Running:
        """The one of them that ends first."""
        pid = self.ask({"wait": [each.pid for each in running]})["pid"]
        return next(each for each in running if each.pid == pid)

    def ask(self, told: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _warm() -> None:
    """Import what a build on S3 imports, and start no thread."""
    import av  # noqa: F401
    import cv2  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import s3fs  # noqa: F401

    import avipipe.cli.build
    import avipipe.cli.verify
    import avipipe.manifests.stores.s3
    import avipipe.pipeline.build
    import avipipe.pipeline.inline
    import avipipe.pipeline.report.write
    import avipipe.pipeline.verify
    import avipipe.pipeline.workspace  # noqa: F401


def _child(told: dict[str, Any]) -> None:
    with Path(told["output"]).open("wb", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.update(told["env"])
    from avipipe.cli import main

    code = 1
    try:
        main(told["run"])
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except Exception:
        logging.exception("not an error of avipipe")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve(orders: IO[str], answers: IO[str]) -> None:
    """Fork for each order, until there are none."""
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    codes: dict[int, int] = {}
    for line in orders:
        told = json.loads(line)
        if "wait" in told:
            while not codes.keys() & set(told["wait"]):
                pid, status = os.wait()
                codes[pid] = os.waitstatus_to_exitcode(status)
            pid = next(pid for pid in told["wait"] if pid in codes)
            answer = {"pid": pid, "code": codes[pid]}
        else:
            pid = os.fork()
            if pid == 0:
                os.close(0)
                _child(told)
            codes.pop(pid, None)  # of one long gone, whose number it got
            answer = {"pid": pid}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    from avipipe.manifests.stores import remote

    remote.PATIENCE_S = float(sys.argv[1])
    _warm()
    serve(sys.stdin, sys.stdout)
