"""How a run of `avipipe eval` shows itself: a bar on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from avipipe.cli.output import cell
from avipipe.cli.progress import Display, bars

if TYPE_CHECKING:
    from avipipe.evaluate.measuring import CaseScores


class EvaluateProgress(Display):
    """Counts cases and scores. Implements `avipipe.evaluate.run.EvaluateListener`."""

    def __init__(self, *, as_json: bool) -> None:
        self._bars = bars()
        super().__init__(self._bars, as_json=as_json)
        self._task = self._bars.add_task("cases", total=None)
        self._num_cases = self._done = self._measured = 0
        self._statuses: Counter[str] = Counter()
        self._began_s = time.monotonic()

    def planned(self, num_cases: int) -> None:
        """So many cases there are."""
        self._num_cases = num_cases
        self._bars.update(self._task, total=num_cases)
        self._tell("planned", cases=num_cases)

    def measured(self, done: "Sequence[CaseScores]") -> None:
        """Cases of one more source are done."""
        for each in done:
            own: Counter[str] = Counter(score.status for score in each.scores.values())
            self._statuses += own
            case = each.case
            if case.problem and not case.control:
                self._say_problem(f"{case.method}: {case.name}: {case.problem}")
            self._tell("case", name=case.name, method=case.method, **own)
        self._done += len(done)
        self._measured += sum(each.num_measured > 0 for each in done)
        self._bars.update(self._task, completed=self._done, description=self._counts())
        if self._is_plain_due(is_last=self._done == self._num_cases):
            self._say(f"{self._done}/{self._num_cases} cases: {self._counts()}{self._eta()}")

    def _say_problem(self, text: str) -> None:
        if not self._as_json:
            self._say(cell(text, "yellow"))

    def _counts(self) -> str:
        found = [f"{self._statuses[name]} {name}" for name in ("ok", "undefined", "failed")]
        return f"scores {', '.join(found)}"

    def _eta(self) -> str:
        """A forecast from the cases that were measured, not read from the store."""
        left = self._num_cases - self._done
        if not left or not self._measured:
            return ""
        case_s = (time.monotonic() - self._began_s) / self._measured
        return f", about {case_s * left:.0f} s to go"
