"""A judge that hears nothing but the objective checks, and a captioner that names no things."""

from avipipe.annotators.embedded.tag import RuleTagger
from avipipe.audio_agent.activity import active_spans, find_speech
from avipipe.audio_agent.mix import is_silent
from avipipe.audio_agent.schema import (
    AudioCaption,
    AudioSpan,
    Checks,
    EditPlan,
    Generation,
    Removal,
    Revision,
    SoundEvent,
    Verdict,
)
from avipipe.audio_agent.tools import Mixed, Task

_MAX_STRENGTH = 8.0
"""Most, and one over the least, strength of a removal, in three doublings; a choice."""
_GAIN_STEP_DB = 6.0
"""Twice or half the amplitude; a choice."""
_MIN_TAG = 0.3
"""Score from which a group of sounds is told; a choice."""


class RuleJudge:
    """Judges by the objective checks: turns each issue into a revision; has no score of its own.

    A leak is taken out twice as hard; a hole half as hard; what is buried or too loud moves by
    6 dB; what is missing or unlike its prompt is made again by the next tool.
    """

    name = "checks (rules)"
    cost_usd: float | None = 0.0

    def setup(self) -> None:
        """Nothing to load."""

    def judge(self, task: Task, plan: EditPlan, mixed: Mixed, checks: Checks) -> Verdict:
        """The verdict that follows from the checks alone."""
        codes = {issue.code for issue in checks.issues}
        c_sep = tuple(_harder(removal, codes) for removal in plan.c_sep)
        c_gen = tuple(_otherwise(new, codes) for new in plan.c_gen)
        changed = (c_sep, c_gen) != (plan.c_sep, plan.c_gen)
        return Verdict(
            aspects=checks.objective,
            issues=checks.issues,
            revise=Revision(c_sep=c_sep, c_gen=c_gen) if changed else None,
        )


def _harder(removal: Removal, codes: set[str]) -> Removal:
    if "nothing_found" in codes:
        return removal.model_copy(update={"take": removal.take + 1})
    if "leak" in codes and removal.strength < _MAX_STRENGTH:
        return removal.model_copy(update={"strength": min(_MAX_STRENGTH, 2 * removal.strength)})
    if "hole" in codes and removal.strength > 1 / _MAX_STRENGTH:
        return removal.model_copy(update={"strength": removal.strength / 2})
    return removal


def _otherwise(new: Generation, codes: set[str]) -> Generation:
    if codes & {"nothing_generated", "unlike_prompt"}:
        return new.model_copy(update={"take": new.take + 1})
    if "inaudible" in codes and new.gain_db <= 24 - _GAIN_STEP_DB:
        return new.model_copy(update={"gain_db": new.gain_db + _GAIN_STEP_DB})
    if "too_loud" in codes and new.gain_db >= _GAIN_STEP_DB - 40:
        return new.model_copy(update={"gain_db": new.gain_db - _GAIN_STEP_DB})
    return new


class RuleCaptioner:
    """Captions speech, and whatever else rises above the background, with its times."""

    name = "rules"
    cost_usd: float | None = 0.0

    def setup(self) -> None:
        """Nothing to load."""

    def caption(self, task: Task) -> AudioCaption:
        """The caption: groups of sounds by rule; confidence None."""
        sound = task.original
        if is_silent(sound):
            return AudioCaption(text="Silence.")
        speech = find_speech(sound)
        tags = RuleTagger().tag(sound.mono(), sample_rate_hz=sound.sample_rate_hz, speech=speech)
        events = [SoundEvent(label="sound", kind="sfx", span=span) for span in active_spans(sound)]
        events += [
            SoundEvent(
                label="speech",
                kind="speech",
                span=AudioSpan(start_s=turn.start_s, end_s=turn.end_s),
            )
            for turn in speech.turns
        ]
        heard = [name for name, score in tags.scores.items() if score >= _MIN_TAG]
        return AudioCaption(
            text=f"Sounds like {', '.join(heard)}." if heard else "Something sounds.",
            events=tuple(sorted(events, key=lambda event: event.span.start_s)),
        )
