"""How training shows itself: a bar on a terminal, plain lines elsewhere, or lines of JSON."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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

from avipipe.cli.output import echo, echo_json

if TYPE_CHECKING:
    from avipipe.editor.avi_edit.train.metrics import Values
    from avipipe.editor.common.memory import MemoryPlan

PLAIN_INTERVAL_S = 10.0


class Progress:
    """Shows steps. Implements `avipipe.editor.avi_edit.train.run.RunListener`."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._last_plain_s = -PLAIN_INTERVAL_S
        self._steps = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def planned(self, plan: "MemoryPlan") -> None:
        """The memory that it will take."""
        if self._as_json:
            self._line("plan", total_bytes=plan.peak_bytes, device_bytes=plan.device_bytes)
            return
        for line in plan.lines():
            self._console.print(line)

    def began(self, step: int, steps: int) -> None:
        """It starts at a step."""
        self._steps = steps
        if self._as_json:
            self._line("begin", step=step, steps=steps)
        elif self._console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task("step", total=steps, completed=step)
        elif step:
            self._console.print(f"going on from step {step}")

    def stepped(self, step: int, values: "Values") -> None:
        """A step is done."""
        text = f"loss {values['loss']:.4f} (flow {values['flow']:.4f}, mask {values['mask']:.5f})"
        now_s = time.monotonic()
        if self._as_json:
            self._line("step", step=step, **values)
        elif self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        elif now_s - self._last_plain_s >= PLAIN_INTERVAL_S or step == self._steps:
            self._last_plain_s = now_s
            self._console.print(
                f"step {step}/{self._steps}: {text}, {values['step_time_s']:.3f} s a step, "
                f"{values['latent_tokens_per_s']:.0f} tokens/s"
            )

    def validated(self, step: int, values: "Values") -> None:
        """The network was measured."""
        if self._as_json:
            self._line("validation", step=step, **values)
        else:
            self._console.print(
                f"validation at step {step}: flow {values['val/flow']:.4f}, mask IoU "
                f"{values['val/mask_iou']:.3f} (of the box {values['val/given_mask_iou']:.3f})"
            )

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint was written."""
        if self._as_json:
            self._line("checkpoint", step=step, path=str(path))

    def ended(self, folder: Path, *, done: bool) -> None:
        """It is over, or was stopped."""
        if self._as_json:
            self._line("end", done=done, folder=str(folder))
        elif done:
            echo(f"weights: {folder / 'model'}")
        else:
            echo("Stopped at a checkpoint: add --resume to go on from there.", err=True)

    def _line(self, event: str, **values: object) -> None:
        echo_json({"event": event, **values}, indent=None)


@contextmanager
def caching(*, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar of clips that are encoded; plain lines where there is no terminal."""
    console = Console(file=sys.stderr, highlight=False)
    last_s = time.monotonic()

    def plain(done: int, total: int) -> None:
        nonlocal last_s
        if shown and (done == total or time.monotonic() - last_s >= PLAIN_INTERVAL_S):
            last_s = time.monotonic()
            console.print(f"{done}/{total} clips")

    if not (shown and console.is_terminal):
        yield plain
        return
    columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("clips", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
