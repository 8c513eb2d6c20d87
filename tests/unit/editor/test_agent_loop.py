"""The loop of the audio agent: rework, best of all, and what it does when tools fail.

The tools that fail here are plugged in as any tool is; the rest are those by rules.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from avipipe.audio_agent import AgentResult, Budget, Sound, Task, Toolbox, edit_audio, toolbox
from avipipe.audio_agent.procedural import sound
from avipipe.audio_agent.schema import (
    AgentTrace,
    AudioCaption,
    Checks,
    EditPlan,
    Issue,
    Kind,
    Removal,
    Verdict,
)
from avipipe.audio_agent.tools import Mixed
from avipipe.errors import AnnotatorError, ConfigError
from avipipe.services.reply import BrokenReplyError

RATE_HZ = sound.SAMPLE_RATE_HZ
BUDGET = Budget(iterations=3, seconds=60, tool_seconds=20)


def scene() -> Sound:
    """Two seconds of noise with a bark at 0.8 s."""
    rng = np.random.default_rng(5)
    wave_N = sound.noise(rng, 2.0, -45.0).copy()
    bark_N = sound.bark(rng, pitch_hz=450)
    start = sound.num_samples(0.8)
    wave_N[start : start + bark_N.size] += 0.4 * bark_N[: wave_N.size - start]
    return Sound(wave_N[None].astype(np.float32), RATE_HZ)


TASK = Task(scene(), "replace the barking with a knock")


class Sounds:
    """Answers one after the other: an error is raised, a sound is returned; the last one stays."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"sfx", "music"})
    cost_usd: float | None = 0.0

    def __init__(self, name: str, *answers: Exception | Sound, cost_usd: float = 0.0) -> None:
        self.name, self.answers, self.cost_usd = name, list(answers), cost_usd
        self.seeds: list[int] = []

    def setup(self) -> None:
        """Nothing to load."""

    def generate(self, prompt: str, *, duration_s: float, seed: int) -> Sound:
        self.seeds.append(seed)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Judge:
    """Says one score after the other."""

    name = "scores"
    cost_usd: float | None = 0.0

    def __init__(self, *scores: float | Exception, issues: tuple[Issue, ...] = ()) -> None:
        self.scores, self.issues = list(scores), issues

    def setup(self) -> None:
        """Nothing to load."""

    def judge(self, task: Task, plan: EditPlan, mixed: Mixed, checks: Checks) -> Verdict:
        score = self.scores.pop(0)
        if isinstance(score, Exception):
            raise score
        return Verdict(q=score, issues=self.issues)


class Separators:
    """Fails, or finds nothing."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"speech", "music", "sfx"})
    cost_usd: float | None = 0.0

    def __init__(self, error: Exception | None) -> None:
        self.name, self.error = "own", error

    def setup(self) -> None:
        """Nothing to load."""

    def separate(self, mixture: Sound, removal: Removal) -> Sound:
        if self.error is not None:
            raise self.error
        return mixture.like(np.zeros_like(mixture.wav_CN))


class Likeness:
    """Finds everything as like, and keeps what it was compared with."""

    name = "same"
    cost_usd: float | None = 0.0

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def setup(self) -> None:
        """Nothing to load."""

    def similarity(self, sound: Sound, prompt: str) -> float | None:
        self.prompts.append(prompt)
        return 0.5


def knock(seed: int = 1, *, gain: float = 1.0) -> Sound:
    wave_N = sound.impact(np.random.default_rng(seed), pitch_hz=220)
    return Sound((gain * wave_N)[None].astype(np.float32), RATE_HZ)


SILENCE = Sound(np.zeros((1, RATE_HZ), np.float32), RATE_HZ)


def run(
    tools: Toolbox | None = None, budget: Budget = BUDGET, task: Task = TASK, seed: int = 0
) -> AgentResult:
    result = edit_audio(task, tools or toolbox(), budget, seed=seed)
    assert result.audio.wav_CN.shape == task.original.wav_CN.shape
    assert result.audio.sample_rate_hz == task.original.sample_rate_hz
    assert np.isfinite(result.audio.wav_CN).all()
    assert AgentTrace.model_validate_json(result.trace.model_dump_json()) == result.trace
    return result


def outcomes(result: AgentResult, role: str) -> list[tuple[str, str]]:
    calls = [call for iteration in result.trace.iterations for call in iteration.calls]
    return [(call.tool, call.outcome) for call in calls if call.role == role]


def fallbacks(result: AgentResult) -> list[str]:
    trace = result.trace
    every = [*trace.opening_fallbacks, *trace.closing_fallbacks]
    every += [fallback for iteration in trace.iterations for fallback in iteration.fallbacks]
    return [fallback.code for fallback in every]


def with_sounds(*tools: Sounds) -> Toolbox:
    return replace(toolbox(), sounds=tools)


def test_a_good_mix_is_accepted_at_once() -> None:
    result = run()
    assert result.trace.stopped == "accepted"
    assert result.trace.accepted
    assert len(result.trace.iterations) == 1
    assert fallbacks(result) == []


def test_the_same_seed_gives_the_same_samples_and_another_does_not() -> None:
    first, again, other = run(), run(), run(seed=1)
    assert np.array_equal(first.audio.wav_CN, again.audio.wav_CN)
    assert not np.array_equal(first.audio.wav_CN, other.audio.wav_CN)


def test_what_is_reworked_is_accepted_when_it_is_good_enough() -> None:
    judge = Judge(0.1, 0.9)
    result = run(replace(toolbox(), judges=[judge]))
    trace = result.trace
    assert trace.stopped == "accepted"
    assert [iteration.accepted for iteration in trace.iterations] == [False, True]
    assert trace.iterations[0].plan != trace.iterations[1].plan
    assert "not over" in trace.iterations[0].why_again
    assert trace.best == 1
    assert np.array_equal(result.audio.wav_CN, result.takes[1].mixed.mix.wav_CN)


def test_a_new_sound_that_is_too_loud_is_turned_down_and_accepted() -> None:
    quiet = Task(scene(), "add a knock at 1.5 s")
    planner = toolbox().planners[0]

    class Loud:
        name = "loud"
        cost_usd: float | None = 0.0

        def setup(self) -> None:
            """Nothing to load."""

        def plan(
            self,
            task: Task,
            caption: AudioCaption | None,
            *,
            previous: EditPlan | None = None,
            verdict: Verdict | None = None,
        ) -> EditPlan:
            made = planner.plan(task, caption)
            louder = tuple(new.model_copy(update={"gain_db": 20.0}) for new in made.c_gen)
            return made.model_copy(update={"c_gen": louder})

    result = run(replace(toolbox(), planners=[Loud()]), Budget(threshold=0.9), task=quiet)
    gains_db = [iteration.plan.c_gen[0].gain_db for iteration in result.trace.iterations]
    assert gains_db[:2] == [20.0, 14.0]
    assert result.trace.accepted
    issues = [issue.code for issue in result.trace.iterations[0].checks.issues]
    assert issues == ["too_loud"]


def test_when_none_is_good_enough_the_best_is_returned() -> None:
    result = run(replace(toolbox(), judges=[Judge(0.1, 0.3, 0.2)]))
    assert result.trace.stopped == "iterations"
    assert not result.trace.accepted
    assert result.trace.best == 1
    assert np.array_equal(result.audio.wav_CN, result.takes[1].mixed.mix.wav_CN)


def test_a_tool_that_fails_is_asked_again_and_then_the_next_one() -> None:
    broken = Sounds("broken", AnnotatorError(message="no luck"))
    good = Sounds("good", knock())
    result = run(with_sounds(broken, good))
    assert outcomes(result, "sound") == [("broken", "error"), ("broken", "error"), ("good", "ok")]
    assert len(set(broken.seeds)) == 2
    assert result.trace.accepted


def test_silence_is_no_answer() -> None:
    tool = Sounds("shy", SILENCE, knock())
    result = run(with_sounds(tool))
    assert outcomes(result, "sound") == [("shy", "silent"), ("shy", "ok")]
    assert result.trace.accepted


def test_where_nothing_can_be_made_the_original_stays() -> None:
    result = run(with_sounds(Sounds("broken", AnnotatorError(message="no luck"))))
    assert {"not_generated", "original"} <= set(fallbacks(result))
    assert result.trace.best is None
    assert np.array_equal(result.audio.wav_CN, TASK.original.wav_CN)


def test_a_tool_that_takes_too_long_is_passed_over() -> None:
    gate = threading.Event()

    class Slow(Sounds):
        def generate(self, prompt: str, *, duration_s: float, seed: int) -> Sound:
            gate.wait(20)
            return knock()

    result = run(
        with_sounds(Slow("slow", knock()), Sounds("quick", knock())),
        replace(BUDGET, tool_seconds=2.0),
    )
    gate.set()
    assert outcomes(result, "sound") == [("slow", "timeout"), ("quick", "ok")]
    assert result.trace.accepted


def test_a_broken_reply_of_the_judge_leaves_the_decision_to_the_checks() -> None:
    judge = Judge(BrokenReplyError(message="not JSON"), BrokenReplyError(message="not JSON"))
    result = run(replace(toolbox(), judges=[judge]))
    assert outcomes(result, "judge") == [("scores", "broken"), ("scores", "broken")]
    assert "no_judge" in fallbacks(result)
    assert result.trace.accepted


def test_a_broken_planner_is_an_error_that_names_it() -> None:
    class Mute:
        name = "mute"
        cost_usd: float | None = 0.0

        def setup(self) -> None:
            """Nothing to load."""

        def plan(
            self,
            task: Task,
            caption: AudioCaption | None,
            *,
            previous: EditPlan | None = None,
            verdict: Verdict | None = None,
        ) -> EditPlan:
            raise BrokenReplyError(message="it said nothing")

    with pytest.raises(AnnotatorError, match="mute: it said nothing"):
        run(replace(toolbox(), planners=[Mute()]))


def test_without_a_separator_the_spans_are_turned_down() -> None:
    task = Task(scene(), "remove the barking from 0.8 to 1.3 s")
    broken = Separators(AnnotatorError(message="no luck"))
    result = run(replace(toolbox(), separators=[broken]), task=task)
    assert "ducked" in fallbacks(result)
    inside = slice(round(0.85 * RATE_HZ), round(1.25 * RATE_HZ))
    kept = result.takes[0].mixed.kept.wav_CN[0, inside]
    ratio = np.abs(kept).sum() / np.abs(task.original.wav_CN[0, inside]).sum()
    assert ratio == pytest.approx(10 ** (-12 / 20), abs=1e-3)


def test_what_is_not_heard_is_not_removed_and_not_accepted() -> None:
    task = Task(scene(), "remove the barking")
    result = run(replace(toolbox(), separators=[Separators(None)]), task=task)
    assert "nothing_found" in fallbacks(result)
    assert not result.trace.accepted
    assert np.array_equal(result.audio.wav_CN, task.original.wav_CN)


@pytest.mark.parametrize("spent", ["seconds", "cost"])
def test_when_the_budget_ends_the_best_so_far_is_returned(spent: str) -> None:
    ticks_s = iter(np.arange(0, 1000, 0.5))
    paid = Sounds("paid", knock(1), knock(2), knock(3), cost_usd=0.4)
    tools: Sequence[Sounds] = [paid]
    budget = Budget(9, seconds=14.0) if spent == "seconds" else Budget(9, cost_usd=0.5)
    judges = [Judge(*[0.1] * 9)]
    result = edit_audio(
        TASK,
        replace(toolbox(), sounds=tools, judges=judges),
        budget,
        clock=(lambda: float(next(ticks_s))) if spent == "seconds" else lambda: 0.0,
    )
    assert result.trace.stopped == spent
    assert 1 <= len(result.trace.iterations) < 9
    assert result.trace.best is not None
    assert fallbacks(result)[-1] == spent
    assert result.audio.wav_CN.shape == TASK.original.wav_CN.shape


def test_a_chosen_tool_that_cannot_be_set_up_is_an_error_before_anything_runs() -> None:
    class Keyless(Sounds):
        def setup(self) -> None:
            raise ConfigError("set EXAMPLE_KEY")

    first = Keyless("keyless", knock())
    with pytest.raises(ConfigError, match="EXAMPLE_KEY"):
        run(with_sounds(first, Sounds("good", knock())))
    result = run(with_sounds(Sounds("broken", AnnotatorError(message="no luck")), first))
    assert ("keyless", "unavailable") in outcomes(result, "sound")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": 0}, "iterations"),
        ({"seconds": 0.0}, "seconds"),
        ({"cost_usd": 0.0}, "cost_usd"),
        ({"threshold": 1.5}, "threshold"),
    ],
)
def test_a_budget_without_sense_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Budget(**values)  # type: ignore[arg-type]


def test_unknown_tools_and_roles_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="htdemucs"):
        toolbox(separator="htdemuks")
    with pytest.raises(ConfigError, match="speech"):
        toolbox(speach="babble")


@pytest.mark.parametrize(
    ("instruction", "prompt"),
    [
        ("add a car horn at 1 s", "car horn"),
        ('add an old man saying "good morning"', "old man speaking"),
        ('add the words "good morning"', "person speaking"),
    ],
)
def test_speech_is_likened_to_its_speaker_and_not_to_its_words(
    instruction: str, prompt: str
) -> None:
    likeness = Likeness()
    tools = replace(toolbox(), likeness=[likeness])
    result = run(tools, replace(BUDGET, iterations=1), Task(scene(), instruction))
    assert likeness.prompts == [prompt]
    assert result.trace.iterations[0].checks.similarity == 0.5


def test_a_tool_of_ones_own_is_asked_first() -> None:
    tools = toolbox(sounds="avipipe.audio_agent.embedded.sounds:ProceduralSounds")
    assert [tool.name for tool in tools.sounds] == 2 * ["procedural (rules)"]
    for wrong in ("no_such_module:Tool", "avipipe.audio_agent.schema:Missing", ":", "a:"):
        with pytest.raises(ConfigError, match="expected `module:Class`"):
            toolbox(sounds=wrong)


def test_what_a_judge_calls_by_a_name_of_the_checks_blocks_nothing() -> None:
    issue = Issue(target="mix", code="clipped", message="it seems to clip")
    tools = replace(toolbox(), judges=[Judge(0.9, issues=(issue,))])
    assert run(tools).trace.accepted
