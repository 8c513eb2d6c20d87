"""What the audio agent says and keeps: captions, plans, verdicts, and the trace of a run.

All of it goes to JSON and back unchanged. Times are seconds from the start of the audio, spans are
half-open `[start_s, end_s)`.
"""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["speech", "music", "sfx"]
Mode = Literal["remove", "keep"]


class FrozenModel(BaseModel):
    """A pydantic model that is frozen, and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AudioSpan(FrozenModel):
    """A half-open interval of the audio."""

    start_s: float = Field(ge=0)
    end_s: float

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end_s <= self.start_s:
            raise ValueError(f"a span must end after it starts, got {self.start_s}-{self.end_s}")
        return self

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class SoundEvent(FrozenModel):
    """A sound event: what is heard, and when."""

    label: str
    kind: Kind
    span: AudioSpan


class AudioCaption(FrozenModel):
    """Caption of the audio; `confidence` None is an honest unknown."""

    text: str
    events: tuple[SoundEvent, ...] = ()
    transcript: str | None = None
    language: str | None = None
    confidence: float | None = None


class Removal(FrozenModel):
    """One sound to take out of the mixture (or, in a plan of mode `keep`, to leave in).

    Attributes:
        query: names it, such as "dog barking".
        spans: where it is heard; empty leaves that to the separator.
        strength: how hard to take it out; separators that have no such knob ignore it.
        take: 0 at first; each further take asks the next separator.
    """

    query: str = Field(min_length=1)
    kind: Kind
    spans: tuple[AudioSpan, ...] = ()
    strength: float = Field(1.0, gt=0, le=8)
    take: int = Field(0, ge=0)


class Generation(FrozenModel):
    """One sound to make and mix in.

    Attributes:
        prompt: what is to be heard; for speech the words to say.
        voice: how a voice should be, such as "old man"; None takes any.
        same_voice: speak like the speech that was removed, where the tool can.
        spans: when it sounds, once in each; empty means wherever the removed sound was, or
            throughout if nothing was removed.
        gain_db: above (or below) the loudness of the removed sound, or of what is kept.
        take: 0 at first; each further take draws another seed and asks the next tool.
    """

    kind: Kind
    prompt: str = Field(min_length=1)
    voice: str | None = None
    same_voice: bool = False
    spans: tuple[AudioSpan, ...] = ()
    gain_db: float = Field(0.0, ge=-40, le=24)
    take: int = Field(0, ge=0)


class EditPlan(FrozenModel):
    """An edit plan: what to separate and what to generate; at least one of them.

    `mode` says whether `c_sep` names what to remove, or all that is to be kept (the paper's
    reading), whichever is easier to name.
    """

    c_sep: tuple[Removal, ...] = ()
    c_gen: tuple[Generation, ...] = ()
    mode: Mode = "remove"
    rationale: str = ""

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if not self.c_sep and not self.c_gen:
            raise ValueError("a plan must name something to separate or to generate")
        return self

    def revised(self, revision: "Revision") -> "EditPlan":
        """This plan with the parts that a verdict replaces."""
        return EditPlan(
            c_sep=self.c_sep if revision.c_sep is None else revision.c_sep,
            c_gen=self.c_gen if revision.c_gen is None else revision.c_gen,
            mode=self.mode,
            rationale=revision.rationale or self.rationale,
        )

    def retaken(self) -> "EditPlan":
        """The same plan with new seeds and the next tools."""
        return self.model_copy(
            update={
                "c_sep": tuple(r.model_copy(update={"take": r.take + 1}) for r in self.c_sep),
                "c_gen": tuple(g.model_copy(update={"take": g.take + 1}) for g in self.c_gen),
            }
        )


class Revision(FrozenModel):
    """A revision of a plan; None leaves a part as it is."""

    c_sep: tuple[Removal, ...] | None = None
    c_gen: tuple[Generation, ...] | None = None
    rationale: str = ""


class Issue(FrozenModel):
    """A defect of a mix: `code` for machines, `message` for people."""

    target: Literal["sep", "gen", "mix"]
    code: str
    message: str


class Aspects(FrozenModel):
    """Scores of a mix by aspect, in [0, 1]; None where unknown.

    Attributes:
        fidelity: the edit that was asked for is heard.
        background: all else is as it was.
        consistency: what is new goes with time, picture and words.
        naturalness: no clicks, jumps, clipping.
    """

    fidelity: float | None = Field(None, ge=0, le=1)
    background: float | None = Field(None, ge=0, le=1)
    consistency: float | None = Field(None, ge=0, le=1)
    naturalness: float | None = Field(None, ge=0, le=1)

    def score(self) -> float | None:
        """Geometric mean of the aspects that are known, so no aspect makes up for a failed one.

        None where nothing is known.
        """
        known = [value for value in self.model_dump().values() if value is not None]
        return float(math.prod(known) ** (1 / len(known))) if known else None


class Verdict(FrozenModel):
    """A judge's verdict on one mix.

    Attributes:
        q: its own score in [0, 1]; None for a judge that has nothing but the objective checks.
        revise: what it would do otherwise; None leaves that to the planner.
    """

    q: float | None = Field(None, ge=0, le=1)
    aspects: Aspects = Aspects()
    issues: tuple[Issue, ...] = ()
    revise: Revision | None = None


class Checks(FrozenModel):
    """Objective measurements of one mix; None where they mean nothing.

    Attributes:
        leak_db: what is left of the removed sound's energy above the background.
        untouched_db: signal-to-noise ratio of the mix against the original outside all edits.
        edited_share: share of the time that edits cover.
        background_db: loudness of the kept sound under the edits against beside them; 0 is even.
        generated_db: loudness of what was generated above what is kept in its place.
        generated_over_db: the same above what the original had in its place.
        loudness_change_db: loudness of the mix less that of the original.
        loudness_lufs: of the mix; None for silence.
        true_peak_db: of the mix, 4 times oversampled, in dBTP.
        clipped_share: share of samples at full scale.
        similarity: of the generated sound with its prompt, by CLAP, in [-1, 1].
        objective: scores made of all this.
        issues: what these measurements find wrong.
    """

    leak_db: float | None = None
    untouched_db: float | None = None
    edited_share: float = 0.0
    background_db: float | None = None
    generated_db: float | None = None
    generated_over_db: float | None = None
    loudness_change_db: float | None = None
    loudness_lufs: float | None = None
    true_peak_db: float | None = None
    clipped_share: float = 0.0
    similarity: float | None = None
    objective: Aspects = Aspects()
    issues: tuple[Issue, ...] = ()


Outcome = Literal["ok", "cached", "unavailable", "error", "timeout", "broken", "silent", "too_long"]


class ToolCall(FrozenModel):
    """One call of a tool, or one attempt at it."""

    role: str
    tool: str
    attempt: int
    outcome: Outcome
    seconds: float
    cost_usd: float | None = None
    message: str = ""


class Fallback(FrozenModel):
    """A fallback: what was done instead of what had been planned."""

    role: str
    code: str
    message: str


class Iteration(FrozenModel):
    """One iteration of the loop: a plan, how it was carried out, and what came of it.

    Attributes:
        q: half the judge's score and half the objective one, in [0, 1].
        accepted: `q` passes the threshold and no issue forbids it.
        stems: names of the sounds that were kept of it.
        why_again: why another iteration followed; empty for the last.
    """

    index: int
    plan: EditPlan
    calls: tuple[ToolCall, ...]
    fallbacks: tuple[Fallback, ...]
    checks: Checks
    verdict: Verdict
    q: float
    accepted: bool
    stems: tuple[str, ...]
    seconds: float
    why_again: str = ""


Stop = Literal["accepted", "iterations", "seconds", "cost", "no_new_plan"]


class AgentTrace(FrozenModel):
    """The trace of a run: its setting, every iteration, and what came of it.

    Attributes:
        tools: role -> names of the tools, in the order in which they are asked.
        opening: calls before the first iteration: captioning and planning.
        best: index of the iteration whose mix is returned; None where the original is.
        stopped: why the loop ended.
        unfinished: calls of an iteration that the budget cut off.
    """

    instruction: str
    sample_rate_hz: int
    num_samples: int
    num_channels: int
    seed: int
    threshold: float
    tools: dict[str, tuple[str, ...]]
    caption: AudioCaption | None
    opening: tuple[ToolCall, ...]
    opening_fallbacks: tuple[Fallback, ...] = ()
    iterations: tuple[Iteration, ...]
    unfinished: tuple[ToolCall, ...] = ()
    closing_fallbacks: tuple[Fallback, ...] = ()
    best: int | None
    stopped: Stop
    seconds: float
    cost_usd: float

    @property
    def accepted(self) -> bool:
        return self.best is not None and self.iterations[self.best].accepted
