"""Carries out a plan: separates, generates, levels, places and mixes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avipipe.audio_agent.activity import heard_spans
from avipipe.audio_agent.mix import (
    DEFAULT_LUFS,
    cut,
    duck,
    faster,
    from_onset,
    is_silent,
    levelled,
    loudness_lufs,
    mix,
    place,
)
from avipipe.audio_agent.runner import ToolRunner
from avipipe.audio_agent.schema import AudioSpan, EditPlan, Generation, Removal
from avipipe.audio_agent.tools import Mixed, Sound, Task, Toolbox
from avipipe.errors import AnnotatorError

DUCK_DB = 12.0
"""By which a sound is turned down that nothing can separate: a quarter of the amplitude. A
choice."""

_SEED_STEP = 1009
"""From one take to the next: a prime larger than the number of sounds, so seeds do not meet."""


@dataclass(frozen=True, slots=True)
class RenderedMix:
    """A plan carried out: the mix with its parts, and where it was changed."""

    mixed: Mixed
    removed_spans: tuple[AudioSpan, ...]
    generated_spans: tuple[AudioSpan, ...]


class PlanRenderer:
    """Renders plans for one task; a tool's earlier answers are used again."""

    def __init__(self, task: Task, tools: Toolbox, runner: ToolRunner, seed: int) -> None:
        self.task, self.tools, self.runner, self.seed = task, tools, runner, seed

    def render(self, plan: EditPlan) -> tuple[RenderedMix, float | None]:
        original = self.task.original
        kept = self._separate(plan)
        removed = original.like(original.wav_CN - kept.wav_CN)
        removed_spans = heard_spans(removed)
        generated = original.like(np.zeros_like(original.wav_CN))
        spans: list[AudioSpan] = []
        similarities = []
        for new in plan.c_gen:
            made = self._generate(new, kept, removed, removed_spans)
            if made is not None:
                track, where, similarity = made
                generated = original.like(generated.wav_CN + track.wav_CN)
                spans += where
                similarities.append(similarity)
        if plan.c_gen and not spans:
            self.runner.fall_back("sound", "original", "nothing could be made: the original stays")
            kept, removed, removed_spans = original, generated, ()
        known = [value for value in similarities if value is not None]
        mixed = Mixed(kept, removed, generated, mix(kept, generated))
        return RenderedMix(mixed, removed_spans, tuple(spans)), min(known) if known else None

    def _separate(self, plan: EditPlan) -> Sound:
        """What is kept of the original."""
        left = self.task.original
        for removal in plan.c_sep:
            left = self._without(left, removal, keeping=plan.mode == "keep")
        if plan.mode == "keep" and plan.c_sep:
            return left.like(self.task.original.wav_CN - left.wav_CN)
        return left

    def _without(self, mixture: Sound, removal: Removal, *, keeping: bool) -> Sound:
        """The mixture less one sound."""
        target = self.runner.run(
            "separate",
            [tool for tool in self.tools.separators if removal.kind in tool.kinds],
            lambda tool, _: _checked(tool.separate(mixture, removal), mixture),
            key=(removal, _hash(mixture)),
            take=removal.take,
            is_silent=is_silent,
        )
        if target is not None:
            return mixture.like(mixture.wav_CN - target.wav_CN)
        if any(call.outcome == "silent" for call in self.runner.calls if call.role == "separate"):
            found = f"nothing is heard of {removal.query!r}"
            self.runner.fall_back("separate", "nothing_found", f"{found}: nothing is removed")
            return mixture
        if keeping:
            self.runner.fall_back("separate", "kept_all", "no separator works: all is kept")
            return mixture.like(np.zeros_like(mixture.wav_CN))
        self.runner.fall_back(
            "separate", "ducked", f"no separator works: turned down by {DUCK_DB:g} dB instead"
        )
        return duck(mixture, removal.spans, by_db=DUCK_DB)

    def _generate(
        self, new: Generation, kept: Sound, removed: Sound, removed_spans: Sequence[AudioSpan]
    ) -> tuple[Sound, list[AudioSpan], float | None] | None:
        """A levelled track, the spans it sounds in, and its likeness to the prompt."""
        whole = AudioSpan(start_s=0.0, end_s=self.task.original.duration_s)
        spans = list(new.spans or removed_spans or (whole,))
        reference = cut(removed, spans) if removed_spans else None
        if new.kind == "speech":
            made = self._speak(new, spans[0].start_s, spans[-1].end_s, reference)
            if made is not None:
                end_s = min(spans[0].start_s + made.duration_s, whole.end_s)
                spans = [AudioSpan(start_s=spans[0].start_s, end_s=end_s)]
        else:
            made = self._sound(new, max(span.duration_s for span in spans))
        if made is None:
            self.runner.fall_back(
                "speech" if new.kind == "speech" else "sound",
                "not_generated",
                f"no tool could make {new.prompt!r}: it is left out",
            )
            return None
        around = cut(kept, spans)
        levels = [loudness_lufs(sound) for sound in (reference, around) if sound is not None]
        lufs = next((level for level in levels if level is not None), DEFAULT_LUFS)
        track = place(made, spans, like=self.task.original)
        # A model of sounds knows who speaks, not what is said.
        name = f"{new.voice or 'person'} speaking" if new.kind == "speech" else new.prompt
        similarity = self.runner.run(
            "likeness",
            self.tools.likeness,
            lambda tool, _: tool.similarity(made, name),
            key=(name, _hash(made)),
        )
        return levelled(track, spans, lufs=lufs + new.gain_db), spans, similarity

    def _speak(
        self, new: Generation, start_s: float, end_s: float, reference: Sound | None
    ) -> Sound | None:
        room_s = self.task.original.duration_s - start_s
        return self.runner.run(
            "speech",
            self.tools.speech,
            lambda tool, number: faster(
                from_onset(
                    tool.speak(
                        new.prompt,
                        voice=new.voice,
                        reference=reference if new.same_voice else None,
                        duration_s=end_s - start_s,
                        seed=self._seed(new, number),
                    )
                ),
                room_s,
            ),
            key=(new.prompt, new.voice, new.same_voice, start_s, end_s),
            take=new.take,
            is_silent=is_silent,
        )

    def _sound(self, new: Generation, duration_s: float) -> Sound | None:
        return self.runner.run(
            "sound",
            [tool for tool in self.tools.sounds if new.kind in tool.kinds],
            lambda tool, number: from_onset(
                tool.generate(new.prompt, duration_s=duration_s, seed=self._seed(new, number))
            ),
            key=(new.kind, new.prompt, round(duration_s, 3)),
            take=new.take,
            is_silent=is_silent,
        )

    def _seed(self, new: Generation, number: int) -> int:
        return self.seed + _SEED_STEP * new.take + number


def _checked(target: Sound, mixture: Sound) -> Sound:
    if (target.wav_CN.shape, target.sample_rate_hz) != (
        mixture.wav_CN.shape,
        mixture.sample_rate_hz,
    ):
        raise AnnotatorError(
            message=f"expected a separated sound of shape {mixture.wav_CN.shape} at "
            f"{mixture.sample_rate_hz} Hz, got {target.wav_CN.shape} at {target.sample_rate_hz} Hz"
        )
    return target


def _hash(sound: Sound) -> str:
    return hashlib.sha256(np.ascontiguousarray(sound.wav_CN).tobytes()).hexdigest()
