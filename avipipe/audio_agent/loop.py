"""The self-feedback loop: plan, separate, generate, mix, judge, and again until it is good.

The loop knows its tools by their protocols only. Whatever fails on the way has a fallback that the
trace shows, and the best mix so far is what is returned:

* a tool fails or its answer is broken or silent: once more with a new seed, then the next tool;
* it takes too long or is not set up: the next tool;
* no separator works: the spans are ducked by 12 dB; nothing is found: nothing is removed;
* no generator works: the original stays as it is;
* no judge works: the objective checks decide;
* a plan that was tried comes back: new seeds and the next tools;
* the budget ends: the best mix so far, or the original.

Source: AVI-Edit (CVPR 2026), self-feedback audio agent; the paper gives neither the number of
iterations nor the threshold, and its released code has no loop.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from avipipe.audio_agent.checks import measure
from avipipe.audio_agent.render import PlanRenderer, RenderedMix
from avipipe.audio_agent.runner import Budget, OutOfBudgetError, ToolRunner
from avipipe.audio_agent.schema import (
    AgentTrace,
    AudioCaption,
    Checks,
    EditPlan,
    Fallback,
    Iteration,
    Removal,
    Stop,
    ToolCall,
    Verdict,
)
from avipipe.audio_agent.tools import Sound, Task, Toolbox
from avipipe.errors import AnnotatorError

BLOCKING = frozenset({"nothing_found", "nothing_generated", "silent", "clipped"})
"""Codes of measured issues with which no mix is accepted, whatever its score."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """Result of a run: the best mix (or the original), the trace, and every rendered mix."""

    audio: Sound
    trace: AgentTrace
    takes: tuple[RenderedMix, ...]


def edit_audio(
    task: Task,
    tools: Toolbox,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> AgentResult:
    """Edit audio as the instruction says.

    Returns:
        audio of the rate, channels and length of the original, to the sample.
    Raises:
        ConfigError, WeightsError: the first tool of a role cannot be set up.
        AnnotatorError: no planner can make a plan of the instruction; the message says why.
    """
    runner = ToolRunner(budget or Budget(), clock)
    for route in tools.roles().values():
        if route:
            runner.set_up(route[0])
    return _Run(task, tools, runner, seed).run()


class _Run:
    """The state of one run."""

    def __init__(self, task: Task, tools: Toolbox, runner: ToolRunner, seed: int) -> None:
        self.task, self.tools, self.runner, self.seed = task, tools, runner, seed
        self.renderer = PlanRenderer(task, tools, runner, seed)
        self.caption: AudioCaption | None = None
        self.opening: tuple[tuple[ToolCall, ...], tuple[Fallback, ...]] = ((), ())
        self.iterations: list[Iteration] = []
        self.takes: list[RenderedMix] = []
        self.tried: set[EditPlan] = set()

    def run(self) -> AgentResult:
        try:
            stop = self._loop()
        except OutOfBudgetError as error:
            stop = error.stop
            what = "the best mix so far" if self.iterations else "the original"
            self.runner.fall_back("budget", stop, f"the budget of {stop} is spent: {what} it is")
        return self._result(stop)

    def _loop(self) -> Stop:
        plan = self._open()
        for index in range(self.runner.budget.iterations):
            self.tried.add(plan)
            iteration = self._iterate(index, plan)
            self.iterations.append(iteration)
            if iteration.accepted:
                return "accepted"
            if index + 1 == self.runner.budget.iterations:
                break
            again = self._next_plan(plan, iteration)
            calls, fallbacks = self.runner.take_calls()
            self.iterations[-1] = iteration.model_copy(
                update={
                    "calls": iteration.calls + calls,
                    "fallbacks": iteration.fallbacks + fallbacks,
                    "why_again": _why(iteration, self.runner.budget.threshold) if again else "",
                }
            )
            if again is None:
                return "no_new_plan"
            plan = again
        return "iterations"

    def _open(self) -> EditPlan:
        try:
            self.caption = self.runner.run(
                "caption", self.tools.captioners, lambda tool, _: tool.caption(self.task)
            )
            if self.caption is None:
                self.runner.fall_back("caption", "no_caption", "planning without a caption")
            plan = self.runner.run(
                "plan", self.tools.planners, lambda tool, _: tool.plan(self.task, self.caption)
            )
        finally:
            self.opening = calls, _ = self.runner.take_calls()
        if plan is None:
            reasons = [f"{call.tool}: {call.message}" for call in calls if call.role == "plan"]
            raise AnnotatorError(
                message="no plan could be made. " + "\n".join(dict.fromkeys(reasons))
            )
        return plan

    def _iterate(self, index: int, plan: EditPlan) -> Iteration:
        began_s = self.runner.seconds
        take, similarity = self.renderer.render(plan)
        checks = measure(
            self.task.original,
            take.mixed,
            plan,
            removed_spans=take.removed_spans,
            generated_spans=take.generated_spans,
            similarity=similarity,
        )
        verdict = self.runner.run(
            "judge",
            self.tools.judges,
            lambda tool, _: tool.judge(self.task, plan, take.mixed, checks),
        )
        if verdict is None:
            self.runner.fall_back("judge", "no_judge", "the objective checks decide alone")
            verdict = Verdict(aspects=checks.objective, issues=checks.issues)
        q = _score(verdict, checks)
        codes = {issue.code for issue in checks.issues}
        accepted = q > self.runner.budget.threshold and not codes & BLOCKING
        calls, fallbacks = self.runner.take_calls()
        self.takes.append(take)
        return Iteration(
            index=index,
            plan=plan,
            calls=calls,
            fallbacks=fallbacks,
            checks=checks,
            verdict=verdict,
            q=q,
            accepted=accepted,
            stems=("kept", "removed", "generated", "mix"),
            seconds=round(self.runner.seconds - began_s, 4),
        )

    def _next_plan(self, plan: EditPlan, iteration: Iteration) -> EditPlan | None:
        """The judge's revision, or the planner's; if that was tried, other seeds and tools."""
        verdict = iteration.verdict
        if verdict.revise is not None:
            again: EditPlan | None = plan.revised(verdict.revise)
        else:
            again = self.runner.run(
                "plan",
                self.tools.planners,
                lambda tool, _: tool.plan(self.task, self.caption, previous=plan, verdict=verdict),
            )
        if again is not None and again not in self.tried:
            return again if self._differs(plan, again) else None
        self.runner.fall_back("plan", "retake", "no new plan: the same with other seeds and tools")
        again = plan.retaken()
        return again if self._differs(plan, again) else None

    def _differs(self, plan: EditPlan, again: EditPlan) -> bool:
        """Whether anything but the number of the take of lone tools has changed."""

        def core(p: EditPlan) -> object:
            return (
                tuple((*r.model_copy(update={"take": 0}), self._turn(r)) for r in p.c_sep),
                p.c_gen,
                p.mode,
            )

        return core(plan) != core(again)

    def _turn(self, removal: Removal) -> int:
        able = [tool for tool in self.tools.separators if removal.kind in tool.kinds]
        return removal.take % len(able) if able else 0

    def _result(self, stop: Stop) -> AgentResult:
        original = self.task.original
        best = max(self.iterations, key=lambda it: (it.q, -it.index), default=None)
        if best is not None and best.q <= 0:
            best = None
        audio = original if best is None else self.takes[best.index].mixed.mix
        calls, fallbacks = self.runner.take_calls()
        trace = AgentTrace(
            instruction=self.task.instruction,
            sample_rate_hz=original.sample_rate_hz,
            num_samples=original.wav_CN.shape[1],
            num_channels=original.wav_CN.shape[0],
            seed=self.seed,
            threshold=self.runner.budget.threshold,
            tools={
                role: tuple(tool.name for tool in route)
                for role, route in self.tools.roles().items()
            },
            caption=self.caption,
            opening=self.opening[0],
            opening_fallbacks=self.opening[1],
            iterations=tuple(self.iterations),
            unfinished=calls,
            closing_fallbacks=fallbacks,
            best=None if best is None else best.index,
            stopped=stop,
            seconds=round(self.runner.seconds, 4),
            cost_usd=self.runner.cost_usd,
        )
        return AgentResult(audio, trace, tuple(self.takes[: len(self.iterations)]))


def _score(verdict: Verdict, checks: Checks) -> float:
    """Half the judge's, half the objective one; a judge alone is noisy, and checks are deaf."""
    known = [score for score in (verdict.q, checks.objective.score()) if score is not None]
    return sum(known) / len(known) if known else 0.0


def _why(iteration: Iteration, threshold: float) -> str:
    issues = "; ".join(issue.message for issue in iteration.verdict.issues)
    score = f"q {iteration.q:.2f} is {'over' if iteration.q > threshold else 'not over'}"
    return f"{score} {threshold:g}: {issues or 'no issue named'}"
