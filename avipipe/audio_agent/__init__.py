"""The self-feedback audio agent: edits a sound track as an instruction says.

It captions, plans, separates, generates, mixes, judges, and works over what is not good enough:

    result = edit_audio(Task(sound, "replace the barking with a car horn"), toolbox())

Nothing here needs torch unless a tool that does is chosen.
"""

from avipipe.audio_agent.choose import toolbox
from avipipe.audio_agent.loop import AgentResult, edit_audio
from avipipe.audio_agent.render import RenderedMix
from avipipe.audio_agent.runner import Budget
from avipipe.audio_agent.schema import AgentTrace, AudioSpan, EditPlan, Generation, Removal, Verdict
from avipipe.audio_agent.tools import Mixed, Sound, Task, Toolbox

__all__ = [
    "AgentResult",
    "AgentTrace",
    "AudioSpan",
    "Budget",
    "EditPlan",
    "Generation",
    "Mixed",
    "Removal",
    "RenderedMix",
    "Sound",
    "Task",
    "Toolbox",
    "Verdict",
    "edit_audio",
    "toolbox",
]
