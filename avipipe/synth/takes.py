"""What a builder of scenes works with, and what it makes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avipipe.audio_agent.procedural import sound
from avipipe.audio_agent.procedural.sound import Wave
from avipipe.audio_agent.procedural.voice import VOICES, Utterance, Voice, speak
from avipipe.manifests.rle import Size
from avipipe.synth import actors, motion
from avipipe.synth.backdrops import PALETTES, Backdrop, handheld, room
from avipipe.synth.picture import Layer, Points, Shot, Sprite, still
from avipipe.synth.truth import VoiceSpan

FLOOR_Y = 0.9


@dataclass(frozen=True, slots=True)
class SceneParameters:
    """What a builder works with; everything random comes from `rng`."""

    rng: np.random.Generator
    duration_s: float
    size: Size

    @property
    def aspect(self) -> float:
        """Width of the picture in heights."""
        return self.size[1] / self.size[0]

    def across(self, low: float, high: float) -> float:
        """A random place in heights, given as shares of the width."""
        return float(self.rng.uniform(low, high)) * self.aspect

    def any_palette(self) -> int:
        return int(self.rng.integers(len(PALETTES)))

    def room(self, palette: int | None = None) -> Backdrop:
        chosen = PALETTES[self.any_palette() if palette is None else palette]
        return room(self.rng, self.size, chosen, floor_y=FLOOR_Y - 0.06)


@dataclass(frozen=True, slots=True)
class SyntheticScene:
    """What a builder makes: shots on one clock, and the sound track, float32 (2, N)."""

    shots: tuple[Shot, ...]
    wav_CN: npt.NDArray[np.float32]
    events_s: tuple[float, ...] = ()
    voices: tuple[VoiceSpan, ...] = ()


def one_shot(
    take: SceneParameters,
    sprites: Sequence[Sprite],
    sounds: Sequence[Wave],
    *,
    events_s: Sequence[float] = (),
    voices: Sequence[VoiceSpan] = (),
    backdrop: Backdrop | None = None,
    shaky: bool = False,
    noise_level: float = 2.0,
    floor_db: float = -50.0,
) -> SyntheticScene:
    """A scene without a cut, its sounds mixed over a noise floor."""
    shot = Shot(0.0, backdrop or take.room(), tuple(sprites), noise_level=noise_level)
    if shaky:
        shot = replace(shot, shake=handheld(take.rng))
    wav_CN = sound.master(sounds, take.rng, floor_db=floor_db)
    return SyntheticScene((shot,), wav_CN, tuple(events_s), tuple(voices))


def any_events(
    take: SceneParameters, gap_s: tuple[float, float] = (0.38, 0.85)
) -> tuple[float, ...]:
    return motion.event_times(take.rng, take.duration_s, gap_s=gap_s)


def impacts(take: SceneParameters, events_s: Sequence[float]) -> Wave:
    """One struck body, struck more or less hard at each event."""
    hit = sound.impact(
        take.rng, pitch_hz=take.rng.uniform(90, 350), decay_s=take.rng.uniform(0.025, 0.06)
    )
    strength = take.rng.uniform(0.6, 1.0, len(events_s)).astype(np.float32)
    hits = [(time_s, hit * hard) for time_s, hard in zip(events_s, strength, strict=True)]
    return sound.scatter(hits, duration_s=take.duration_s)


def any_speaker(take: SceneParameters) -> int:
    return int(take.rng.integers(len(VOICES)))


def talk(
    take: SceneParameters,
    speaker: int | Voice,
    turns_s: Sequence[tuple[float, float]] | None = None,
) -> Utterance:
    """A speaker talks in the given turns; None for the whole clip."""
    return speak(
        speaker if isinstance(speaker, Voice) else VOICES[speaker % len(VOICES)],
        take.rng,
        duration_s=take.duration_s,
        turns_s=turns_s or [(0.15, take.duration_s - 0.1)],
    )


def voices_of(utterance: Utterance, *, on_screen: bool) -> list[VoiceSpan]:
    return [
        VoiceSpan(utterance.speaker, start_s, end_s, on_screen)
        for start_s, end_s in utterance.phrases_s
    ]


def starts_of(utterance: Utterance) -> tuple[float, ...]:
    return tuple(start_s for start_s, _ in utterance.phrases_s)


def any_ball(
    take: SceneParameters,
    events_s: Sequence[float],
    *,
    x: float | None = None,
    radius: float | None = None,
    sounding: bool = True,
) -> Sprite:
    return actors.ball(
        take.rng,
        events_s,
        x=take.across(0.3, 0.7) if x is None else x,
        floor_y=FLOOR_Y,
        radius=float(take.rng.uniform(0.23, 0.28)) if radius is None else radius,
        sounding=sounding,
    )


def any_hammer(take: SceneParameters, events_s: Sequence[float]) -> Sprite:
    mirrored = bool(take.rng.integers(2))
    x = take.across(0.4, 0.65) if mirrored else take.across(0.35, 0.6)
    return actors.hammer(take.rng, events_s, x=x, floor_y=FLOOR_Y, mirrored=mirrored)


def two_drifters(take: SceneParameters) -> list[Sprite]:
    return [
        actors.drifter(
            take.rng, x=place * take.aspect, y=0.5, radius=float(take.rng.uniform(0.17, 0.25))
        )
        for place in (0.3, 0.68)
    ]


def frozen(sprite: Sprite, time_s: float = 0.0) -> Sprite:
    """A sprite held as it is at one time, and silent."""
    pose = sprite.motion(time_s)
    layers = [_held(layer.outline(time_s), layer) for layer in sprite.layers]
    return Sprite(sprite.label, tuple(layers), lambda _: pose)


def _held(points: Points, layer: Layer) -> Layer:
    return replace(layer, outline=still(points))
