"""Procedural sounds by family: they have the shape of the thing, and fool nobody."""

from typing import ClassVar

import numpy as np

from avipipe.audio_agent.embedded.words import families
from avipipe.audio_agent.procedural import sound
from avipipe.audio_agent.procedural.voice import VOICES, Voice, speak
from avipipe.audio_agent.schema import Kind
from avipipe.audio_agent.tools import Sound
from avipipe.errors import AnnotatorError

_SYLLABLES_PER_WORD = 1.5
"""About as in English."""
_MIN_WORDS_S = 0.6
"""Shortest speech; a choice."""
_FADE_S = 0.03
"""Of the ends of a sound, which then do not click; a choice."""


class ProceduralSounds:
    """Generates barks, knocks, horns, engines, water, noise and music by rule.

    It knows the families of `words.SOUNDS`, not more; a prompt is the first of them that it names.
    """

    name = "procedural (rules)"
    cost_usd: float | None = 0.0
    kinds: ClassVar[frozenset[Kind]] = frozenset({"sfx", "music"})

    def setup(self) -> None:
        """Nothing to load."""

    def generate(self, prompt: str, *, duration_s: float, seed: int) -> Sound:
        """Generate a mono sound at 48 kHz of `duration_s`; barks and knocks end when they end.

        Raises:
            AnnotatorError: the prompt names no sound that it knows.
        """
        named = [name for name in families(prompt) if name != "speech"]
        if not named:
            raise AnnotatorError(
                message=f"there is no procedural sound for {prompt!r}; known are barks, knocks, "
                "horns, engines, water, noise and music. Choose a model with --sounds"
            )
        wave_N = _wave(named[0], np.random.default_rng(seed), duration_s)
        return Sound(wave_N[None], sound.SAMPLE_RATE_HZ)


def _wave(name: str, rng: np.random.Generator, duration_s: float) -> sound.Wave:
    # They want at least a block of samples.
    length_s = max(duration_s, 0.1)
    size = sound.num_samples(length_s)
    if name == "bark":
        return sound.bark(rng, pitch_hz=rng.uniform(350, 600))
    if name == "knock":
        return sound.impact(rng, pitch_hz=rng.uniform(150, 350))
    if name == "horn":
        pitch_hz = rng.uniform(330, 440)
        wave = sound.bowed(rng, np.ones(size), np.full(size, pitch_hz))
        wave = wave + sound.bowed(rng, np.ones(size), np.full(size, pitch_hz * 1.26))
        return _faded(sound.normalise(wave))
    if name == "engine":
        return _faded(sound.motor(rng, np.full(size, rng.uniform(0.5, 0.8))))
    if name == "water":
        return _faded(sound.water(rng, length_s))
    if name == "noise":
        return _faded(sound.noise(rng, length_s, -20.0))
    return _faded(sound.music(rng, length_s))


class ProceduralVoice:
    """A speech-like voice that says syllables, as many as the words have; nobody understands it.

    `voice` may say woman, girl, man or boy; `reference` is not used.
    """

    name = "babble (rules)"
    cost_usd: float | None = 0.0

    def setup(self) -> None:
        """Nothing to load."""

    def speak(
        self,
        words: str,
        *,
        voice: str | None,
        reference: Sound | None,
        duration_s: float,
        seed: int,
    ) -> Sound:
        """Speak, mono, 48 kHz, at the voice's own rate, whatever `duration_s` is."""
        who = _who(voice or "")
        num_syllables = max(2.0, _SYLLABLES_PER_WORD * len(words.split()))
        length_s = max(_MIN_WORDS_S, num_syllables / who.syllables_hz + 0.2)
        spoken = speak(
            who,
            np.random.default_rng(seed),
            duration_s=length_s,
            turns_s=((0.0, length_s - 0.1),),
        )
        return Sound(spoken.wav_N[None], sound.SAMPLE_RATE_HZ)


def _who(voice: str) -> Voice:
    words = set(voice.lower().replace("-", " ").split())
    if words & {"woman", "female", "she", "her"}:
        return VOICES[0]
    if words & {"girl", "boy", "child", "kid"}:
        return VOICES[2]
    if words & {"old", "deep"}:
        return VOICES[1]
    return VOICES[3]


def _faded(wave_N: sound.Wave) -> sound.Wave:
    ramp = min(sound.num_samples(_FADE_S), wave_N.size // 2)
    shape_N = np.ones(wave_N.size, np.float32)
    shape_N[:ramp] = np.linspace(0, 1, ramp)
    shape_N[wave_N.size - ramp :] = np.linspace(1, 0, ramp)
    return wave_N * shape_N
