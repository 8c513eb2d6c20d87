"""Runs tools: tries again, goes to the next one, gives up in time, and writes all of it down."""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from avipipe.audio_agent.schema import Fallback, Outcome, Stop, ToolCall
from avipipe.audio_agent.tools import Tool, TooLongError
from avipipe.errors import AvipipeError, ConfigError, FailKind, ItemError, WeightsError
from avipipe.services.reply import BrokenReplyError

logger = logging.getLogger(__name__)

T = TypeVar("T")
ToolT = TypeVar("ToolT", bound=Tool)

ATTEMPTS = 2
"""Tries of a tool before the next one; a choice."""
_NO_SECOND_TRY = frozenset({"unavailable", "timeout", "too_long"})


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a run: iterations, time, cost, and the score that is good enough.

    Attributes:
        iterations: at most; the paper gives no number.
        seconds: of the whole run. No tool is asked after that, and none is waited for longer.
        tool_seconds: for one call.
        cost_usd: of the calls whose price is known; None sets no limit.
        threshold: of q, above which a mix is accepted; the paper gives no number.
    """

    iterations: int = 3
    seconds: float = 600.0
    tool_seconds: float = 120.0
    cost_usd: float | None = None
    threshold: float = 0.7

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ConfigError(f"iterations: expected 1 or more, got {self.iterations}")
        for name in ("seconds", "tool_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if self.cost_usd is not None and not self.cost_usd > 0:
            raise ConfigError(f"cost_usd: expected more than 0 or none, got {self.cost_usd}")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold: expected 0 to 1, got {self.threshold}")


class OutOfBudgetError(Exception):
    """The time or the money of a run is spent: no tool may be called any more."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop)
        self.stop = stop


@dataclass(slots=True)
class ToolRunner:
    """Asks the tools of one run, and remembers what they answered.

    A tool that is given up for its time goes on in a thread of its own, as Python cannot stop it;
    it is not asked again until it has come to its end.
    """

    budget: Budget
    clock: Callable[[], float] = time.monotonic
    calls: list[ToolCall] = field(default_factory=list)
    fallbacks: list[Fallback] = field(default_factory=list)
    cost_usd: float = 0.0
    _start_s: float = field(init=False)
    _ready: set[int] = field(default_factory=set)
    _busy: dict[int, threading.Thread] = field(default_factory=dict)
    _known: dict[Hashable, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._start_s = self.clock()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._start_s

    def take_calls(self) -> tuple[tuple[ToolCall, ...], tuple[Fallback, ...]]:
        """Take out the calls and fallbacks that were written down since the last time."""
        taken = tuple(self.calls), tuple(self.fallbacks)
        self.calls, self.fallbacks = [], []
        return taken

    def fall_back(self, role: str, code: str, message: str) -> None:
        """Write down a fallback: what is done instead of what was planned."""
        logger.warning("%s: %s", role, message)
        self.fallbacks.append(Fallback(role=role, code=code, message=message))

    def set_up(self, tool: Tool) -> None:
        """Call a tool's `setup` if that has not been done in this run."""
        if id(tool) not in self._ready:
            tool.setup()
            self._ready.add(id(tool))

    def run(
        self,
        role: str,
        tools: Sequence[ToolT],
        call: Callable[[ToolT, int], T],
        *,
        key: Hashable = None,
        take: int = 0,
        is_silent: Callable[[T], bool] | None = None,
    ) -> T | None:
        """Ask the tools of a role in turn; return the first good answer, None if there is none.

        Args:
            call: asks a tool; gets the number of the attempt, from 0 on over all tools.
            key: what makes the question; one that was answered is not asked again.
            take: how many tools to pass over, in a ring.
            is_silent: says that an answer holds no sound, and is none.
        """
        start = take % len(tools) if tools else 0
        number = 0
        for tool in [*tools[start:], *tools[:start]]:
            question = (role, tool.name, take, key)
            if key is not None and question in self._known:
                self._write(role, tool, 0, "cached", 0.0, "")
                return self._known[question]  # type: ignore[return-value]
            for attempt in range(ATTEMPTS):
                answers: list[T] = []
                outcome = self._try(role, tool, call, number, attempt, is_silent, answers)
                number += 1
                if outcome == "ok":
                    self._known[question] = answers[0]
                    return answers[0]
                if outcome in _NO_SECOND_TRY:
                    break
        return None

    def _try(
        self,
        role: str,
        tool: ToolT,
        call: Callable[[ToolT, int], T],
        number: int,
        attempt: int,
        is_silent: Callable[[T], bool] | None,
        answers: list[T],
    ) -> Outcome:
        self._check_budget()
        began_s = self.clock()
        message = ""
        try:
            answers.append(self._in_time(tool, lambda: call(tool, number)))
            silent = is_silent is not None and is_silent(answers[0])
            outcome: Outcome = "silent" if silent else "ok"
        except Exception as error:  # noqa: BLE001  the per-tool boundary
            outcome, message = _outcome_of(error), _words_of(error)
            logger.info("%s: %s: %s", role, tool.name, message)
        self._write(role, tool, attempt, outcome, self.clock() - began_s, message)
        return outcome

    def _check_budget(self) -> None:
        if self.seconds >= self.budget.seconds:
            raise OutOfBudgetError("seconds")
        if self.budget.cost_usd is not None and self.cost_usd >= self.budget.cost_usd:
            raise OutOfBudgetError("cost")

    def _in_time(self, tool: Tool, call: Callable[[], T]) -> T:
        """The answer of a call that ends in time.

        Raises:
            TimeoutError: it does not, or the tool is still busy with an earlier one.
        """
        busy = self._busy.get(id(tool))
        if busy is not None and busy.is_alive():
            raise TimeoutError("it is still busy with a call that was given up")
        answers: list[T] = []
        errors: list[Exception] = []

        def work() -> None:
            try:
                self.set_up(tool)
                answers.append(call())
            except Exception as error:  # noqa: BLE001  raised again by whoever waits
                errors.append(error)

        limit_s = min(self.budget.tool_seconds, self.budget.seconds - self.seconds)
        thread = threading.Thread(target=work, name=f"tool {tool.name}", daemon=True)
        thread.start()
        thread.join(max(0.0, limit_s))
        if thread.is_alive():
            self._busy[id(tool)] = thread
            raise TimeoutError(f"no answer in {limit_s:.3g} s")
        if errors:
            raise errors[0]
        return answers[0]

    def _write(
        self, role: str, tool: Tool, attempt: int, outcome: Outcome, seconds: float, message: str
    ) -> None:
        asked = outcome not in ("cached", "unavailable")
        cost_usd = tool.cost_usd if asked else 0.0
        self.cost_usd += cost_usd or 0.0
        self.calls.append(
            ToolCall(
                role=role,
                tool=tool.name,
                attempt=attempt,
                outcome=outcome,
                seconds=round(seconds, 4),
                cost_usd=cost_usd,
                message=message,
            )
        )


def _outcome_of(error: Exception) -> Outcome:
    if isinstance(error, (ConfigError, WeightsError, ModuleNotFoundError)):
        return "unavailable"
    if isinstance(error, TooLongError):
        return "too_long"
    if isinstance(error, (BrokenReplyError, ValidationError)):
        return "broken"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ItemError) and error.kind is FailKind.TIMEOUT:
        return "timeout"
    return "error"


def _words_of(error: Exception) -> str:
    text = str(error) if isinstance(error, (AvipipeError, TimeoutError)) else repr(error)
    return text[:1000]
