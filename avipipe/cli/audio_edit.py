"""`avipipe audio-edit`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avipipe.cli.options import json_option, needs_editor
from avipipe.cli.output import echo, echo_json

if TYPE_CHECKING:
    from avipipe.audio_agent import AgentResult


@click.command("audio-edit")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--instruction", required=True, help="What to remove, add or replace, in words.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Edited sound: .wav or .flac."
)
@click.option("--scene", default="", help="What the picture shows, in words; for planners.")
@click.option(
    "--trace",
    "trace_folder",
    type=click.Path(path_type=Path),
    help="Folder for trace.html, trace.json and the stems of every iteration.",
)
@click.option("--captioner", help="rules (default), endpoint, qwen2_5_omni or qwen2_audio.")
@click.option("--planner", help="rules (default), endpoint, qwen2_5_omni or qwen2_audio.")
@click.option("--separator", help="gated (default), pe_a_frame or htdemucs.")
@click.option("--speech", help="babble (default), mms, bark or elevenlabs.")
@click.option("--sounds", help="procedural (default), stable_audio, audioldm2 or elevenlabs.")
@click.option("--judge", help="rules (default), endpoint, qwen2_5_omni or qwen2_audio.")
@click.option("--iterations", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--threshold", default=0.7, show_default=True, type=click.FloatRange(0, 1))
@click.option("--seconds", default=600.0, show_default=True, help="Time for the whole run.")
@click.option("--tool-seconds", default=120.0, show_default=True, help="Time for one call.")
@click.option("--cost-usd", type=float, help="Stop when calls of known price have cost this.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@json_option
def command(
    source: Path,
    instruction: str,
    out: Path,
    scene: str,
    trace_folder: Path | None,
    captioner: str | None,
    planner: str | None,
    separator: str | None,
    speech: str | None,
    sounds: str | None,
    judge: str | None,
    iterations: int,
    threshold: float,
    seconds: float,
    tool_seconds: float,
    cost_usd: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Edit a sound track as an instruction says; judge it, and try again.

    FILE is audio, or a video, of which the sound is taken. The result has its rate, channels and
    length, to the sample. Without any option, everything runs by rules and classical signal
    processing: it hears when something sounds, not what, and its new sounds fool nobody.
    docs/audio-edit.md tells of models; `module:Class` is a tool of your own.

    Exit code 0: there is a result, accepted or the best of all; the output says which.

    \b
    Examples:
      avipipe audio-edit dog.wav --instruction "replace the barking with a car horn" --out horn.wav
      avipipe audio-edit clip.mp4 --instruction "add a knock at 2 s" --out knock.flac --trace trace
      avipipe audio-edit clip.mp4 --instruction "remove the music" --out a.wav --separator htdemucs
    """
    from avipipe.audio_agent import Budget, Task, edit_audio, toolbox
    from avipipe.audio_agent.files import check_suffix, read_pictures, read_sound, write_sound
    from avipipe.audio_agent.trace_html import write_trace

    check_suffix(out)
    chosen = {
        "captioner": captioner,
        "planner": planner,
        "separator": separator,
        "speech": speech,
        "sounds": sounds,
        "judge": judge,
    }
    tools = toolbox(**{role: name for role, name in chosen.items() if name is not None})
    budget = Budget(iterations, seconds, tool_seconds, cost_usd, threshold)
    frames = read_pictures(source, count=8) if planner not in (None, "rules") else []
    task = Task(read_sound(source), instruction, scene, frames)
    with needs_editor("this choice of tools"):
        result = edit_audio(task, tools, budget, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_sound(out, result.audio)
    if trace_folder is not None:
        write_trace(trace_folder, task, result)
    if as_json:
        echo_json(result.trace.model_dump(mode="json"))
    else:
        _show(result, out, trace_folder)


def _show(result: "AgentResult", out: Path, trace_folder: Path | None) -> None:
    trace = result.trace
    for iteration in trace.iterations:
        mark = "accepted" if iteration.accepted else "not accepted"
        echo(f"{iteration.index + 1}. q {iteration.q:.2f}, {mark}")
        for issue in iteration.verdict.issues:
            echo(f"   {issue.target}: {issue.message}")
        for fallback in iteration.fallbacks:
            echo(f"   instead: {fallback.message}")
    if trace.best is None:
        echo("No edit came of it: the result is the original.")
    else:
        echo(
            f"Iteration {trace.best + 1} it is, "
            + ("accepted" if trace.accepted else "the best, though not accepted")
            + f", after {trace.seconds:.1f} s."
        )
    echo(f"Sound: {out}")
    if trace_folder is not None:
        echo(f"Trace: {trace_folder / 'trace.html'}")
