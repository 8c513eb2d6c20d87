"""How edits show themselves: bars of steps and jobs."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from avipipe.cli.output import cell, echo
from avipipe.cli.progress import Display, bars

if TYPE_CHECKING:
    from avipipe.editor.edit.batch import Outcome


class EditProgress(Display):
    """Shows steps and jobs. Implements `avipipe.editor.edit.listener.Listener`."""

    def __init__(self, *, as_json: bool) -> None:
        self._bars = bars()
        super().__init__(self._bars, as_json=as_json)
        self._jobs, self._steps = (
            self._bars.add_task(name, total=None, visible=False) for name in ("jobs", "steps")
        )
        self._num_steps = self._done = 0
        self._began_s = time.monotonic()

    def said(self, text: str) -> None:
        """What is being done."""
        self._tell("said", cell(text), text=text)

    def planned(self, num_steps: int) -> None:
        """So many steps of the solver there are."""
        self._num_steps, self._done, self._began_s = num_steps, 0, time.monotonic()
        self._bars.reset(self._steps, total=num_steps, visible=True)
        self._tell("planned", steps=num_steps)

    def stepped(self) -> None:
        """One more is done."""
        self._done += 1
        self._bars.update(self._steps, completed=self._done)
        self._tell("step", step=self._done, steps=self._num_steps)
        if self._is_plain_due():
            step_s = (time.monotonic() - self._began_s) / self._done
            left_s = step_s * (self._num_steps - self._done)
            self._say(f"step {self._done}/{self._num_steps}, about {left_s:.0f} s to go")

    def skipped(self, num_steps: int) -> None:
        """So many need not be done; the forecast must not take them for fast ones."""
        self._num_steps -= num_steps
        self._bars.update(self._steps, total=self._num_steps)

    def jobs(self, num_jobs: int) -> None:
        """So many jobs there are."""
        self._bars.reset(self._jobs, total=num_jobs, visible=True)

    def ended(self, outcome: "Outcome") -> None:
        """A job is over."""
        text = cell(f"{outcome.name}: {outcome.error or 'done'}")
        self._tell("job", text, name=outcome.name, out=str(outcome.out), error=outcome.error)
        self._bars.advance(self._jobs)

    def summed_up(self, outcomes: Sequence["Outcome"]) -> None:
        """All jobs are over."""
        num_failed = sum(bool(outcome.error) for outcome in outcomes)
        num_done = len(outcomes) - num_failed
        self._tell("end", done=num_done, failed=num_failed)
        if not self._as_json:
            echo(f"{num_done} of {len(outcomes)} jobs are done")
