"""How long work shows itself: live on a terminal, plain lines elsewhere, or lines of JSON."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from avipipe.cli.output import echo_json

PLAIN_INTERVAL_S = 10.0


class Display:
    """What all displays share; a context in which the live part is shown.

    Args:
        live: what a terminal shows; elsewhere it may be updated, too, and shows nothing.
    """

    def __init__(self, live: Live | Bars, *, as_json: bool = False) -> None:
        self._live, self._as_json = live, as_json
        self._is_live = live.console.is_terminal and not as_json
        self._next_plain_s = time.monotonic() + PLAIN_INTERVAL_S

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_live:
            self._live.stop()

    def _say(self, text: str | Text) -> None:
        self._live.console.print(text, soft_wrap=True)

    def _tell(self, event: str, text: str | Text | None = None, /, **values: object) -> None:
        """An event as JSON, or in words if there are any."""
        if self._as_json:
            echo_json({"event": event, **values}, indent=None)
        elif text is not None:
            self._say(text)

    def _is_plain_due(self, *, is_last: bool = False) -> bool:
        """Whether it is time for a plain line, which then counts as said."""
        now_s = time.monotonic()
        if self._is_live or self._as_json or not (is_last or now_s >= self._next_plain_s):
            return False
        self._next_plain_s = now_s + PLAIN_INTERVAL_S
        return True


def console() -> Console:
    """Standard error, for text that is to be shown as it is."""
    return Console(file=sys.stderr, highlight=False, markup=False)


def bars() -> Bars:
    """A bar for each task: its description, what is done of how much, and the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Bars(*columns, console=console())
