"""Which tools there are for each role of the audio agent, and how a toolbox is put together."""

import difflib
import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from avipipe import weights
from avipipe.audio_agent.tools import Toolbox
from avipipe.errors import ConfigError

_EMBEDDED = "avipipe.audio_agent.embedded"
_BACKENDS = "avipipe.audio_agent.backends"

TOOLS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "captioner": {"rules": f"{_EMBEDDED}.judge:RuleCaptioner"},
        "planner": {"rules": f"{_EMBEDDED}.plan:RulePlanner"},
        "separator": {
            "gated": f"{_EMBEDDED}.separate:GatedSeparator",
            "pe_a_frame": f"{_BACKENDS}.frames:QueriedSeparator",
            "htdemucs": f"{_BACKENDS}.demucs:HtDemucs",
        },
        "speech": {
            "babble": f"{_EMBEDDED}.sounds:ProceduralVoice",
            "mms": f"{_BACKENDS}.speech:MmsSpeech",
            "bark": f"{_BACKENDS}.speech:BarkSpeech",
            "elevenlabs": f"{_BACKENDS}.elevenlabs:ElevenLabsSpeech",
        },
        "sounds": {
            "procedural": f"{_EMBEDDED}.sounds:ProceduralSounds",
            "stable_audio": f"{_BACKENDS}.diffusion:StableAudio",
            "audioldm2": f"{_BACKENDS}.diffusion:AudioLdm2",
            "elevenlabs": f"{_BACKENDS}.elevenlabs:ElevenLabsSounds",
        },
        "judge": {"rules": f"{_EMBEDDED}.judge:RuleJudge"},
    }
)
"""Role -> name -> `module:Class`; the first of a role needs nothing."""

TALKERS: Mapping[str, str] = MappingProxyType(
    {
        "endpoint": f"{_BACKENDS}.endpoint:Endpoint",
        "qwen2_5_omni": f"{_BACKENDS}.audio_lm:Qwen25Omni",
        "qwen2_audio": f"{_BACKENDS}.audio_lm:Qwen2Audio",
    }
)
"""Models that caption, plan and judge; one is loaded once for all the roles that it plays."""

_CHATS: Mapping[str, str] = MappingProxyType(
    {
        "captioner": f"{_BACKENDS}.chat:ChatCaptioner",
        "planner": f"{_BACKENDS}.chat:ChatPlanner",
        "judge": f"{_BACKENDS}.chat:ChatJudge",
    }
)


def names(role: str) -> list[str]:
    """What can be chosen for a role, what needs nothing first."""
    return [*TOOLS[role], *(TALKERS if role in _CHATS else ())]


def toolbox(**chosen: str) -> Toolbox:
    """The chosen tool of each role, and behind it the one that needs nothing.

    CLAP measures likeness where its weight lies here.

    Args:
        chosen: role -> name, as in `names`, or `module:Class` of a tool of one's own, which is
            made without arguments; a role that is not named takes what needs nothing.
    Raises:
        ConfigError: there is no such role or tool.
    """
    for role in chosen:
        _check_known("role of the audio agent", role, list(TOOLS))
    talkers: dict[str, Any] = {}
    routes = {role: _route(role, chosen.get(role), talkers) for role in TOOLS}
    return Toolbox(
        captioners=routes["captioner"],
        planners=routes["planner"],
        separators=routes["separator"],
        speech=routes["speech"],
        sounds=routes["sounds"],
        judges=routes["judge"],
        likeness=[_find(f"{_BACKENDS}.clap:ClapLikeness")()] if _has_clap() else [],
    )


def _route(role: str, name: str | None, talkers: dict[str, Any]) -> Sequence[Any]:
    basic = next(iter(TOOLS[role]))
    if name is None or name == basic:
        return [_find(TOOLS[role][basic])()]
    return [_make(role, name, talkers), _find(TOOLS[role][basic])()]


def _make(role: str, name: str, talkers: dict[str, Any]) -> Any:
    if ":" in name:
        return _find(name)()
    _check_known(role, name, names(role))
    if name in TOOLS[role]:
        return _find(TOOLS[role][name])()
    if name not in talkers:
        talkers[name] = _find(TALKERS[name])()
    return _find(_CHATS[role])(talkers[name])


def _find(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"the tool {reference!r} cannot be imported: {error}; expected `module:Class` of a "
            "module on the Python path"
        ) from error


def _has_clap() -> bool:
    return weights.find(weights.entry("clap")) is not None


def _check_known(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise ConfigError(
            f"there is no {kind} {name!r}; did you mean {nearest[0]!r}? (known: {', '.join(known)})"
        )
