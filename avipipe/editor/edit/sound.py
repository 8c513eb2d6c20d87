"""The sound of an edit: kept, from a file, or edited by the audio agent."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from avipipe.annotators.base import Wave
from avipipe.audio_agent import Budget, Task, edit_audio, toolbox
from avipipe.audio_agent.files import read_sound, write_sound
from avipipe.audio_agent.trace_html import write_trace
from avipipe.editor.edit.video import fit_sound
from avipipe.manifests.rle import write_json
from avipipe.manifests.samples import FPS

TRACE_FOLDER = "trace"


@dataclass(frozen=True, slots=True)
class NewSound:
    """What sounds after an edit.

    Attributes:
        path: FLAC, 48 kHz, as long as the video.
        details: for the trace.
        fallbacks: in words.
        trace: folder with what the agent did.
    """

    path: Path
    details: dict[str, Any]
    fallbacks: tuple[str, ...] = ()
    trace: Path | None = None


def make_sound(
    way: str,
    original: Path,
    folder: Path,
    *,
    instruction: str,
    scene: str,
    seed: int,
    tools: dict[str, str],
    note: Callable[[str], None] = lambda text: None,
) -> NewSound:
    """The sound of an edit, in a folder; what is there already is used.

    Args:
        way: `keep` or `agent`.
        original: FLAC of the video before the edit.
        scene: what the picture shall show, for the agent.
        tools: of the agent, role -> name.
    Raises:
        ConfigError, WeightsError: a tool of the agent cannot be set up.
        AnnotatorError: the agent cannot make a plan of the instruction.
    """
    if way == "keep":
        return NewSound(original, {"way": "keep"})
    folder.mkdir(parents=True, exist_ok=True)
    return _by_agent(original, folder, instruction, scene, seed, tools, note)


def given_sound(path: Path, folder: Path, num_frames: int) -> NewSound:
    """The sound of a file as long as so many frames, in a folder; what is there already is used.

    Raises:
        MediaError: the file has no sound.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out, fallbacks = folder / "given.flac", []
    given_s = read_sound(path).duration_s
    if abs(given_s - num_frames / FPS) > Fraction(1, FPS):
        done = "silence follows it" if given_s < num_frames / FPS else "its end is cut off"
        fallbacks.append(
            f"the sound of {path} lasts {given_s:.3f} s, the video {num_frames / FPS:.3f} s: {done}"
        )
    if not out.exists():
        fit_sound(path, num_frames, out)
    details = {"way": "file", "file": str(path), "duration_s": given_s}
    return NewSound(out, details, tuple(fallbacks))


def join_waves(parts: Sequence[Wave], starts: Sequence[int]) -> Wave:
    """Waves (N,) that begin at some samples as one; where two overlap, one fades into the other.

    Args:
        parts: none ends before the next one begins.
    """
    joined_N = parts[0]
    for part_N, start in zip(parts[1:], starts[1:], strict=True):
        common = len(joined_N) - start
        share_N = np.linspace(0, 1, common, dtype=np.float32)
        faded_N = (1 - share_N) * joined_N[start:] + share_N * part_N[:common]
        joined_N = np.concatenate([joined_N[:start], faded_N, part_N[common:]])
    return joined_N


def _by_agent(
    original: Path,
    folder: Path,
    instruction: str,
    scene: str,
    seed: int,
    tools: dict[str, str],
    note: Callable[[str], None],
) -> NewSound:
    out, record = folder / "edited.flac", folder / "result.json"
    if not record.exists():
        note("the agent edits the sound")
        task = Task(read_sound(original), instruction, scene)
        result = edit_audio(task, toolbox(**tools), Budget(), seed=seed)
        shutil.rmtree(folder / TRACE_FOLDER, ignore_errors=True)
        write_trace(folder / TRACE_FOLDER, task, result)
        write_sound(out, result.audio)
        trace = result.trace
        details = {
            "way": "agent",
            "tools": trace.tools,
            "accepted": trace.accepted,
            "iterations": len(trace.iterations),
            "best": trace.best,
            "seconds": trace.seconds,
            "cost_usd": trace.cost_usd,
        }
        write_json(record, details)
    details = json.loads(record.read_bytes())
    if details["best"] is None:
        told = "the agent made no edit of the sound: it stays as it was"
    elif not details["accepted"]:
        told = "the agent's own judge did not accept its best edit of the sound"
    else:
        return NewSound(out, details, trace=folder / TRACE_FOLDER)
    return NewSound(out, details, (told,), folder / TRACE_FOLDER)
