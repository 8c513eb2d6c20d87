"""Which tools there are for each role of the audio agent, and how a toolbox is put together."""

import difflib
import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from avipipe import weights
from avipipe.editor.agent.tools import Toolbox
from avipipe.errors import ConfigError

_EMBEDDED = "avipipe.editor.agent.embedded"
_BACKENDS = "avipipe.editor.agent.backends"

TOOLS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "captioner": {
            "rules": f"{_EMBEDDED}.judge:RuleCaptioner",
            "endpoint": f"{_BACKENDS}.chat:ChatCaptioner",
        },
        "planner": {
            "rules": f"{_EMBEDDED}.plan:RulePlanner",
            "endpoint": f"{_BACKENDS}.chat:ChatPlanner",
        },
        "separator": {
            "gated": f"{_EMBEDDED}.separate:GatedSeparator",
            "htdemucs": f"{_BACKENDS}.demucs:DemucsTool",
        },
        "speech": {
            "babble": f"{_EMBEDDED}.sounds:ProceduralVoice",
            "elevenlabs": f"{_BACKENDS}.elevenlabs:ElevenLabsSpeech",
        },
        "sounds": {
            "procedural": f"{_EMBEDDED}.sounds:ProceduralSounds",
            "elevenlabs": f"{_BACKENDS}.elevenlabs:ElevenLabsSounds",
            "stable_audio": f"{_BACKENDS}.diffusion:StableAudio",
            "audioldm2": f"{_BACKENDS}.diffusion:AudioLdm2",
        },
        "judge": {
            "rules": f"{_EMBEDDED}.judge:RuleJudge",
            "endpoint": f"{_BACKENDS}.chat:ChatJudge",
        },
    }
)
"""Role -> name -> `module:Class`; the first of a role needs nothing."""


def toolbox(**chosen: str) -> Toolbox:
    """The chosen tool of each role, and behind it the one that needs nothing.

    CLAP measures likeness where its weight lies here.

    Args:
        chosen: role -> name, as in `TOOLS`; a role that is not named takes what needs nothing.
    Raises:
        ConfigError: there is no such role or tool.
    """
    for role in chosen:
        _check_known("role of the audio agent", role, TOOLS)
    routes = {role: _route(role, chosen.get(role)) for role in TOOLS}
    return Toolbox(
        captioners=routes["captioner"],
        planners=routes["planner"],
        separators=routes["separator"],
        speech=routes["speech"],
        sounds=routes["sounds"],
        judges=routes["judge"],
        likeness=[_make(f"{_BACKENDS}.clap:ClapLikeness")] if _has_clap() else [],
    )


def _route(role: str, name: str | None) -> Sequence[Any]:
    tools = TOOLS[role]
    basic = next(iter(tools))
    if name is not None:
        _check_known(role, name, tools)
    names = dict.fromkeys([name or basic, basic])
    return [_make(tools[known]) for known in names]


def _make(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)()


def _has_clap() -> bool:
    return weights.find(weights.entry("clap")) is not None


def _check_known(kind: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise ConfigError(
            f"there is no {kind} {name!r}; did you mean {nearest[0]!r}? (known: {', '.join(known)})"
        )
