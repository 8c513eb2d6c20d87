"""How edits show themselves: bars on a terminal, plain lines elsewhere, or lines of JSON."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from avipipe.cli.output import cell, echo, echo_json

if TYPE_CHECKING:
    from avipipe.editor.edit.batch import Outcome

PLAIN_INTERVAL_S = 10.0


class Progress:
    """Shows steps and jobs. Implements `avipipe.editor.edit.listener.Listener`."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)
        self._bar: Bar | None = None
        self._steps: TaskID | None = None
        self._jobs: TaskID | None = None
        self._num_steps = self._done = self._num_jobs = 0
        self._began_s = self._last_plain_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._as_json:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def said(self, text: str) -> None:
        """What is being done."""
        if self._as_json:
            self._line("said", text=text)
        else:
            self._console.print(cell(text))

    def planned(self, num_steps: int) -> None:
        """So many steps of the solver there are."""
        self._num_steps, self._done, self._began_s = num_steps, 0, time.monotonic()
        if self._as_json:
            self._line("planned", steps=num_steps)
        elif self._bar is not None:
            if self._steps is not None:
                self._bar.remove_task(self._steps)
            self._steps = self._bar.add_task("steps", total=num_steps)

    def stepped(self) -> None:
        """One more is done."""
        self._done += 1
        now_s = time.monotonic()
        if self._as_json:
            self._line("step", step=self._done, steps=self._num_steps)
        elif self._bar is not None and self._steps is not None:
            self._bar.update(self._steps, completed=self._done)
        elif now_s - self._last_plain_s >= PLAIN_INTERVAL_S:
            self._last_plain_s = now_s
            left_s = (now_s - self._began_s) / self._done * (self._num_steps - self._done)
            self._console.print(f"step {self._done}/{self._num_steps}, about {left_s:.0f} s to go")

    def skipped(self, num_steps: int) -> None:
        """So many need not be done; the forecast must not take them for fast ones."""
        self._num_steps -= num_steps
        if self._bar is not None and self._steps is not None:
            self._bar.update(self._steps, total=self._num_steps)

    def jobs(self, num_jobs: int) -> None:
        """So many jobs there are."""
        self._num_jobs = num_jobs
        if self._bar is not None:
            self._jobs = self._bar.add_task("jobs", total=num_jobs)

    def ended(self, outcome: "Outcome") -> None:
        """A job is over."""
        if self._as_json:
            self._line("job", name=outcome.name, out=str(outcome.out), error=outcome.error)
            return
        self._console.print(cell(f"{outcome.name}: {outcome.error or 'done'}"))
        if self._bar is not None and self._jobs is not None:
            self._bar.advance(self._jobs)

    def summed_up(self, outcomes: Sequence["Outcome"]) -> None:
        """All jobs are over."""
        num_failed = sum(bool(outcome.error) for outcome in outcomes)
        if self._as_json:
            self._line("end", done=len(outcomes) - num_failed, failed=num_failed)
        else:
            echo(f"{len(outcomes) - num_failed} of {len(outcomes)} jobs are done")

    def _line(self, event: str, **values: object) -> None:
        echo_json({"event": event, **values}, indent=None)
