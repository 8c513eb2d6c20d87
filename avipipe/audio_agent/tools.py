"""What the audio agent works with: six small protocols, and the task that they share.

A tool knows arrays, words and the schema, nothing of the loop. A tool that fails raises an
`AvipipeError`; the loop then tries again, asks the next tool of the role, or degrades, and writes
down which. Sounds are float32 (C, N), about [-1, 1], at a rate of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.signal import check_wave
from avipipe.audio_agent.schema import (
    AudioCaption,
    Checks,
    EditPlan,
    Kind,
    Removal,
    Verdict,
)
from avipipe.errors import AnnotatorError, ConfigError


class TooLongError(AnnotatorError):
    """Speech that does not fit its place, even spoken faster."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Audio (C, N) at a rate; mono and stereo are both (C, N)."""

    wav_CN: Wave
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.wav_CN.ndim != 2:
            raise AnnotatorError(
                message=f"expected audio of shape (channels, samples), got {self.wav_CN.shape}"
            )
        check_wave(self.wav_CN, sample_rate_hz=self.sample_rate_hz)

    @property
    def duration_s(self) -> float:
        return float(self.wav_CN.shape[1] / self.sample_rate_hz)

    def mono(self) -> Wave:
        """The mean of the channels, (N,)."""
        return np.asarray(self.wav_CN.mean(axis=0), dtype=np.float32)

    def like(self, wav_CN: Wave) -> "Sound":
        """Another wave at the same rate."""
        return Sound(np.asarray(wav_CN, dtype=np.float32), self.sample_rate_hz)


@dataclass(frozen=True, slots=True)
class Task:
    """An editing task: audio, instruction, and what the picture shows.

    Attributes:
        original: the audio to edit.
        instruction: in words.
        scene: what the picture shows, in words; may be empty.
        frames: of the video, a few, in order (H, W, 3); may be none.
    """

    original: Sound
    instruction: str
    scene: str = ""
    frames: Sequence[Frames] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise ConfigError(
                "the instruction is empty; say what to remove, add or replace, "
                'such as "replace the dog barking with a car horn"'
            )


@dataclass(frozen=True, slots=True)
class Mixed:
    """One mix and what it is made of, all (C, N) at the rate of the original.

    `kept + removed` is the original to the last bit of float32 rounding.
    """

    kept: Sound
    removed: Sound
    generated: Sound
    mix: Sound


class Tool(Protocol):
    """A tool of the agent; `cost_usd` is what one call costs, None where nobody knows.

    `setup` loads weights or looks for keys, once, before the first call.

    Raises (setup):
        ConfigError, WeightsError: this tool cannot work here; the message says what to do.
    """

    name: str
    cost_usd: float | None

    def setup(self) -> None: ...


class AudioCaptioner(Tool, Protocol):
    """Captions audio: says what it holds."""

    def caption(self, task: Task) -> AudioCaption: ...


class Planner(Tool, Protocol):
    """Turns the instruction into a plan; given a plan that fell short and why, into another."""

    def plan(
        self,
        task: Task,
        caption: AudioCaption | None,
        *,
        previous: EditPlan | None = None,
        verdict: Verdict | None = None,
    ) -> EditPlan: ...


class TargetSeparator(Tool, Protocol):
    """Takes one sound out of a mixture; the loop makes the residual by subtraction.

    Returns (separate):
        the sound that `removal` names: (C, N), of the shape of the mixture.
    """

    kinds: ClassVar[frozenset[Kind]]

    def separate(self, mixture: Sound, removal: Removal) -> Sound: ...


class SpeechSynth(Tool, Protocol):
    """Speaks words, in about `duration_s` if it can; `reference` is a voice to be like."""

    def speak(
        self,
        words: str,
        *,
        voice: str | None,
        reference: Sound | None,
        duration_s: float,
        seed: int,
    ) -> Sound: ...


class SoundGenerator(Tool, Protocol):
    """Makes a sound that a prompt describes, about `duration_s` long."""

    kinds: ClassVar[frozenset[Kind]]

    def generate(self, prompt: str, *, duration_s: float, seed: int) -> Sound: ...


class AudioJudge(Tool, Protocol):
    """Listens to a mix and says how good it is, and what to do otherwise."""

    def judge(self, task: Task, plan: EditPlan, mixed: Mixed, checks: Checks) -> Verdict: ...


class Likeness(Tool, Protocol):
    """Measures how well a sound fits words: cosine in [-1, 1], None if it cannot tell."""

    def similarity(self, sound: Sound, prompt: str) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of each role, in the order in which they are asked.

    The first of a role is what was chosen: if it cannot be set up, that is an error. The others
    stand in where it fails on the way.
    """

    captioners: Sequence[AudioCaptioner]
    planners: Sequence[Planner]
    separators: Sequence[TargetSeparator]
    speech: Sequence[SpeechSynth]
    sounds: Sequence[SoundGenerator]
    judges: Sequence[AudioJudge]
    likeness: Sequence[Likeness] = ()

    def roles(self) -> dict[str, Sequence[Tool]]:
        """The tools by role, in the order in which they are asked."""
        return {
            "caption": self.captioners,
            "plan": self.planners,
            "separate": self.separators,
            "speech": self.speech,
            "sound": self.sounds,
            "judge": self.judges,
            "likeness": self.likeness,
        }
