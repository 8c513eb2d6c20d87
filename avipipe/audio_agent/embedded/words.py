"""The few words for sounds that the rules know."""

import re
from collections.abc import Iterator, Mapping

from avipipe.audio_agent.schema import Kind

SOUNDS: Mapping[str, tuple[Kind, str]] = {
    "bark": ("sfx", r"bark\w*|dogs?|puppy|puppies|woof\w*|howl\w*|yap\w*"),
    "knock": ("sfx", r"knock\w*|thud\w*|bang\w*|hits?|impacts?|claps?|clapping|hammer\w*|doors?"
              r"|footsteps?|drop\w*|tap\w*|clicks?"),
    "horn": ("sfx", r"horns?|honk\w*|beep\w*|sirens?|alarms?|whistl\w*|tones?|bells?|buzzer\w*"),
    "engine": ("sfx", r"engines?|motors?|motorbikes?|cars?|trucks?|traffic|hums?|humming|fans?"
               r"|drill\w*|machines?|mowers?|rumbl\w*"),
    "water": ("sfx", r"water|rain\w*|streams?|rivers?|waves?|waterfalls?|sea|ocean"),
    "noise": ("sfx", r"noise|hiss\w*|wind|static|background"),
    "speech": ("speech", r"speech|speak\w*|voices?|talk\w*|wom[ae]n|m[ae]n|girls?|boys?|people"
               r"|persons?|narrat\w*|dialogue?|says?|saying|words?|singers?|vocals?"),
    "music": ("music", r"music|songs?|guitars?|pianos?|violins?|drums?|melod\w*|bands?|strings"),
}  # fmt: skip
"""Family of sounds -> kind, and the words for it; an earlier family wins ("car horn" is a horn)."""

_STEADY = frozenset({"engine", "water", "noise"})
_PATTERNS = {name: re.compile(rf"\b({words})\b", re.I) for name, (_, words) in SOUNDS.items()}


def families(text: str) -> Iterator[str]:
    """The families that a text names, the likeliest first."""
    return (name for name, pattern in _PATTERNS.items() if pattern.search(text))


def family(text: str) -> str | None:
    """The family of the sound that a phrase names; None for one that the rules do not know."""
    return next(families(text), None)


def kind_of(text: str) -> Kind:
    """The kind of sound that a phrase names: speech, music, or any other."""
    name = family(text)
    return SOUNDS[name][0] if name else "sfx"


def is_steady(text: str) -> bool:
    """Whether a phrase names something that sounds all the time, such as an engine."""
    return family(text) in _STEADY
