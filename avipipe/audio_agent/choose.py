"""Which tools there are for each role of the audio agent, and how a toolbox is put together."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from avipipe import plugins, weights
from avipipe.audio_agent.tools import Toolbox

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

CHAT_MODELS: Mapping[str, str] = MappingProxyType(
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


_LIKENESS = {"clap": f"{_BACKENDS}.clap:ClapLikeness"}


def names(role: str) -> list[str]:
    """Names of the tools of a role; the first needs neither weights nor keys."""
    return list(_table(role))


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
        plugins.check_known("role of the audio agent", role, TOOLS)
    chat_models: dict[str, Any] = {}
    routes = {role: _route(role, chosen.get(role), chat_models) for role in TOOLS}
    return Toolbox(
        captioners=routes["captioner"],
        planners=routes["planner"],
        separators=routes["separator"],
        speech=routes["speech"],
        sounds=routes["sounds"],
        judges=routes["judge"],
        likeness=[plugins.load("likeness", "clap", _LIKENESS)()] if _has_clap() else [],
    )


def _table(role: str) -> Mapping[str, str]:
    return {**TOOLS[role], **(CHAT_MODELS if role in _CHATS else {})}


def _route(role: str, name: str | None, chat_models: dict[str, Any]) -> Sequence[Any]:
    basic = next(iter(TOOLS[role]))
    chosen = [basic] if name is None or name == basic else [name, basic]
    return [_make(role, each, chat_models) for each in chosen]


def _make(role: str, name: str, chat_models: dict[str, Any]) -> Any:
    tool = plugins.load(role, name, _table(role))
    if name not in CHAT_MODELS:
        return tool()
    if name not in chat_models:
        chat_models[name] = tool()
    return plugins.load("role", role, _CHATS)(chat_models[name])


def _has_clap() -> bool:
    return weights.find(weights.entry("clap")) is not None
