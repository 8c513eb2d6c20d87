"""How a running build shows itself: a table on a terminal, plain lines elsewhere."""

import time
from collections import Counter

from rich.live import Live
from rich.table import Table

from avipipe.cli.progress import Display, console
from avipipe.manifests.records import Record
from avipipe.pipeline.accounting import StageCount


class BuildProgress(Display):
    """Counts what settles, and shows it without ever slowing the build.

    Implements `avipipe.pipeline.build.BuildListener`.
    """

    def __init__(self, num_sources: int) -> None:
        self._num_sources = num_sources
        self._started_s = time.monotonic()
        self._status: dict[str, Counter[str]] = {}
        self._reasons: Counter[str] = Counter()
        self._kept_hours = 0.0
        super().__init__(Live(console=console(), get_renderable=self._table, refresh_per_second=4))

    def started(self, counts: dict[str, StageCount]) -> None:
        """Take over what earlier runs have settled."""
        for name, count in counts.items():
            done = {k: v for k, v in count.items.items() if k != "pending"}
            self._status[name] = Counter(done)
            for (status, reason), number in count.reasons.items():
                self._reasons[f"{status}: {reason}"] += number

    def settled(self, record: Record, hours: float) -> None:
        self._status.setdefault(record.stage, Counter())[record.status] += 1
        if record.reason:
            self._reasons[f"{record.status}: {record.reason}"] += 1
        if record.stage == "pair" and record.status == "keep":
            self._kept_hours += hours
        if self._is_plain_due():
            self._say(self.line())

    def publishing(self) -> None:
        if not self._is_live:
            self._say("publishing")

    def line(self) -> str:
        """Where the build stands, in one line."""
        fetched = self._done("fetch")
        clips = self._done("listen")
        kept = self._status.get("pair", Counter())["keep"]
        dropped = sum(number for name, number in self._reasons.items() if name[:4] == "drop")
        failed = sum(number for name, number in self._reasons.items() if name[:4] == "fail")
        return (
            f"sources {fetched}/{self._num_sources}, clips {clips}: kept {kept} "
            f"({self._kept_hours:.2f} h), dropped {dropped}, failed {failed}; "
            f"{self._elapsed()}, {self._eta()}"
        )

    def _done(self, stage: str) -> int:
        return sum(self._status.get(stage, Counter()).values())

    def _elapsed(self) -> str:
        return f"{_clock(time.monotonic() - self._started_s)} elapsed"

    def _eta(self) -> str:
        """A forecast from the clips done so far, at the yield of clips a source seen so far."""
        sources, clips = self._done("shots"), self._done("listen")
        ended = self._status.get("pair", Counter()).total() + sum(
            number
            for status in self._status.values()
            for name, number in status.items()
            if name != "keep"
        )
        if not sources or not ended:
            return "ETA unknown"
        expected = clips * max(self._num_sources / sources, 1.0)
        elapsed_s = time.monotonic() - self._started_s
        left_s = max(expected - ended, 0) * elapsed_s / ended
        return f"ETA {_clock(left_s)}"

    def _table(self) -> Table:
        table = Table(title=self.line(), title_justify="left", box=None, pad_edge=False)
        for column in ("stage", "kept", "dropped", "failed"):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for name, status in self._status.items():
            table.add_row(name, *(str(status[key]) for key in ("keep", "drop", "fail")))
        reasons = ", ".join(f"{name} {number}" for name, number in self._reasons.most_common(6))
        table.caption = reasons
        return table


def _clock(seconds: float) -> str:
    minutes, whole_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole_s:02d}"
