"""`avipipe edit`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from avipipe.cli.options import json_option, needs_editor
from avipipe.cli.output import echo, echo_json
from avipipe.errors import ConfigError, RunError

if TYPE_CHECKING:
    from avipipe.cli.edit_progress import EditProgress
    from avipipe.editor.edit.batch import Entry
    from avipipe.editor.edit.job import EditSpec, Job
    from avipipe.editor.edit.method import Method
    from avipipe.editor.edit.trace import MaskTrace, Trace

FILE = click.Path(path_type=Path)


def edit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What tells a lone edit."""
    options = [
        click.option("--instruction", help="What to do, in words."),
        click.option("--prompt", help="How the scene shall be, like a caption."),
        click.option(
            "--source-prompt",
            help="How the scene is, for methods that compare (flow_anchor, aved).",
        ),
        click.option(
            "--anchor-words",
            multiple=True,
            metavar="WORDS",
            help="Words of the prompt that the edit is about, for these; else those that are "
            "new; may be repeated.",
        ),
        click.option(
            "--task",
            type=click.Choice(["edit", "insertion", "deletion"]),
            help="Else told from the instruction.",
        ),
        click.option(
            "--mask-box", metavar="X,Y,W,H", help="Box: pixels, or shares of the picture."
        ),
        click.option("--mask-polygon", metavar="'X,Y X,Y …'", help="Corners, in the same units."),
        click.option(
            "--mask",
            "mask_file",
            type=FILE,
            help="Image, video, or masks.json, of what to edit; for audio_scenic, of what stays.",
        ),
        click.option("--mask-words", help="What it is; looked for with the models of --profile."),
        click.option(
            "--precision",
            type=click.IntRange(min=0),
            help="Of the mask: 0 exact … 4 box; else told from its kind.",
        ),
        click.option(
            "--audio",
            default="keep",
            show_default=True,
            metavar="keep|agent|FILE",
            help="The sound: as it is, edited as the instruction says, or from a file; it changes "
            "the scene (audio_scenic).",
        ),
        click.option(
            "--control",
            "controls",
            multiple=True,
            metavar="KIND=FILE",
            help="Video or image of a kind: scribble or pose; may be repeated.",
        ),
        click.option(
            "--reference",
            "references",
            multiple=True,
            type=FILE,
            help="Image of what shall be seen; may be repeated.",
        ),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0)),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("edit")
@click.argument("video", required=False, type=FILE)
@click.option("--out", required=True, type=FILE, help="Folder; it appears when all is done.")
@edit_options
@click.option("--edit", "spec_file", type=FILE, help="YAML or JSON with several edits.")
@click.option("--batch", metavar="JSONL|DATASET", help="Many jobs, or all clips of a dataset.")
@click.option("--split", default="test", show_default=True, help="Of the dataset.")
@click.option(
    "--pairs",
    is_flag=False,
    flag_value="",
    metavar="[JSONL]",
    help="Make the edit pairs of the dataset's clips, as they were built, or as people corrected "
    "them (`avipipe review`); in place of --instruction, --prompt, --precision.",
)
@click.option("--method", help="avi_edit (default), flow_anchor, aved or audio_scenic: what edits.")
@click.option("--profile", help="embedded (default), light or full: what looks for words.")
@click.option(
    "--model",
    help="Folder of a training run, or AVI-Edit's file; of a Wan (flow_anchor); of a Stable "
    "Diffusion (aved, audio_scenic); else pulled.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Else 50, flow_anchor 25, aved 200.")
@click.option("--offload", help="none (default), models or blocks: what waits in main memory.")
@click.option(
    "--tile-vae",
    is_flag=True,
    help="Pictures go through the VAE in tiles: slower, in little memory.",
)
@click.option("--config", "config_path", type=FILE, help="YAML file with settings.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one setting, such as output.crf=14; may be repeated.",
)
@click.option("--keep-work", is_flag=True, help="Leave all frames, without loss, in OUT/work.")
@json_option
def command(
    video: Path | None,
    out: Path,
    spec_file: Path | None,
    batch: str | None,
    split: str,
    pairs: str | None,
    method: str | None,
    profile: str | None,
    model: str | None,
    steps: int | None,
    offload: str | None,
    tile_vae: bool,
    config_path: Path | None,
    overrides: tuple[str, ...],
    keep_work: bool,
    as_json: bool,
    **told: Any,
) -> None:
    """Edit an instance of a video, in sync with its sound.

    OUT gets edited.mp4, the refined mask, preview.mp4 and a trace. A run that was stopped, however
    it was, goes on where it stood when the same command is run again. docs/edit.md tells of masks,
    models, memory, long videos and batches.

    \b
    Examples:
      avipipe edit dog.mp4 --instruction "replace the dog with a cat" --mask-words dog --out cat
      avipipe edit band.mp4 --instruction "remove the drum" --mask-box 0.1,0.4,0.3,0.5 --out quiet
      avipipe edit a.mp4 --instruction "make him a robot" --mask m.png --audio agent --out robot
      avipipe edit a.mp4 --method flow_anchor --instruction "make the car blue" --mask m.png
        --source-prompt "A red car." --prompt "A blue car." --out blue
      avipipe edit a.mp4 --method aved --instruction "make the dog a lion" --out lion
        --source-prompt "A dog barks." --prompt "A lion roars."
      avipipe edit a.mp4 --method audio_scenic --instruction "let it rain" --mask car.png
        --audio rain.wav --out rain
      avipipe edit --batch jobs.jsonl --out results
      avipipe edit --batch my-dataset --pairs --audio agent --out results
      avipipe edit --batch my-dataset --pairs edits.jsonl --out results
    """
    with needs_editor("editing"):
        from avipipe.editor.edit.methods import find_method, load_config, load_method
        from avipipe.editor.edit.run import edit

        given = {
            "--profile": profile,
            "--model": model,
            "--offload": offload,
            "--tile-vae": "true" if tile_vae else None,
            "--steps": None if steps is None else str(steps),
        }
        if method is not None:
            overrides = (*overrides, f"method={method}")
        config = load_config(config_path, overrides, given)
        kind = find_method(config.method)
    from avipipe.cli.edit_progress import EditProgress

    if batch is not None:
        _refuse("--batch", "video", "spec_file")
        entries = _entries(batch, split, pairs, told, out, kind)
    else:
        if pairs is not None:
            raise ConfigError("expected --batch DATASET with --pairs, got none; say which dataset")
        job = _job(video, spec_file, told)
        job.check(names_target=kind.looks_for_target())
    editor = load_method(config)
    with EditProgress(as_json=as_json) as progress:
        if batch is None:
            _show(edit(job, out, editor, progress, keep_work=keep_work), out, as_json)
            return

        def run(job: "Job", folder: Path) -> None:
            edit(job, folder, editor, progress, keep_work=keep_work)

        _run_batch(entries, out, run, progress)


def _job(video: Path | None, spec_file: Path | None, told: Mapping[str, Any]) -> "Job":
    from avipipe.editor.edit.job import Job, read_job

    if spec_file is not None:
        _refuse("--edit", *told)
        return read_job(spec_file, video)
    if video is None:
        raise ConfigError("expected a VIDEO, --edit FILE that names one, or --batch; got none")
    return Job(video=video, edits=(_spec(told),))


def _entries(
    batch: str,
    split: str,
    pairs: str | None,
    told: Mapping[str, Any],
    out: Path,
    kind: "type[Method]",
) -> "list[Entry]":
    from avipipe.editor.edit.batch import read_jobs
    from avipipe.editor.edit.clips import read_clips

    if batch.endswith((".jsonl", ".ndjson")):
        _refuse("--batch JSONL", "pairs", *told)
        return read_jobs(Path(batch))
    folder = out / ".clips"
    if pairs is not None:
        return _pair_entries(batch, split, pairs, told, folder, kind)
    _refuse("--batch DATASET", "mask_box", "mask_polygon", "mask_file", "mask_words")
    return read_clips(batch, split, _spec(told), folder, kind)


def _pair_entries(
    dataset: str,
    split: str,
    pairs: str,
    told: Mapping[str, Any],
    folder: Path,
    kind: "type[Method]",
) -> "list[Entry]":
    from avipipe.editor.edit.clips import read_pairs
    from avipipe.manifests.corrections import read_corrections_of

    _refuse("--pairs", *(name for name in told if name not in ("audio", "seed")))
    audio = told["audio"]
    if audio not in ("keep", "agent"):
        raise ConfigError(f"--audio {audio}: expected keep or agent with --pairs; leave it out")
    found = read_pairs(
        dataset,
        split,
        folder,
        kind,
        audio=audio,
        seed=told["seed"],
        corrections=read_corrections_of(Path(pairs), dataset) if pairs else {},
    )
    echo(f"{len(found.entries)} edits of {found.num_clips} clips", err=True)
    if found.num_bare:
        echo(f"{found.num_bare} of the clips have no edit pairs", err=True)
    if found.num_rejected:
        echo(f"{found.num_rejected} edit pairs were rejected, and are left out", err=True)
    if found.num_sounds and audio == "keep" and kind.keeps_sound:
        echo(
            f"{found.num_sounds} edits ask for another sound, which stays as it is: --audio agent "
            "edits it",
            err=True,
        )
    return found.entries


def _refuse(way: str, *names: str) -> None:
    """Refuse options that one way of telling edits has no use for."""
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is ParameterSource.COMMANDLINE:
            other = "VIDEO" if parameter.name == "video" else parameter.opts[-1]
            raise ConfigError(f"expected {way} or {other}, got both; leave one out")


def _spec(told: Mapping[str, Any]) -> "EditSpec":
    from avipipe.config_file import validated
    from avipipe.editor.edit.job import EditSpec

    if told["instruction"] is None:
        raise ConfigError('say with --instruction what to do, such as "replace the dog with a cat"')
    mask = {
        "box": told["mask_box"] and _numbers(told["mask_box"], "--mask-box"),
        "polygon": told["mask_polygon"]
        and [_numbers(corner, "--mask-polygon") for corner in told["mask_polygon"].split()],
        "file": told["mask_file"],
        "words": told["mask_words"],
        "precision": told["precision"],
    }
    same = (
        *("instruction", "prompt", "source_prompt", "anchor_words"),
        *("task", "audio", "references", "seed"),
    )
    controls = dict(_pair(text) for text in told["controls"])
    return validated(
        EditSpec, {"mask": mask, "controls": controls, **{key: told[key] for key in same}}
    )


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"{option} {text}: expected numbers with commas, such as 40,20,320,240"
        ) from None


def _pair(text: str) -> tuple[str, str]:
    kind, equals, path = text.partition("=")
    if not equals:
        raise ConfigError(f"--control {text}: expected KIND=FILE, such as pose=dance.mp4")
    return kind, path


def _run_batch(
    entries: "list[Entry]", out: Path, run: "Callable[[Job, Path], None]", progress: "EditProgress"
) -> None:
    from avipipe.editor.edit.batch import run_jobs

    progress.jobs(len(entries))
    outcomes = run_jobs(entries, out, run, progress.ended)
    failed = [outcome for outcome in outcomes if outcome.error]
    progress.summed_up(outcomes)
    if failed:
        raise RunError(
            f"{len(failed)} of {len(outcomes)} jobs failed: "
            + ", ".join(outcome.name for outcome in failed)
            + "; mend them and run the same command again: what is done is not done again"
        )


def _told_mask(mask: "MaskTrace") -> str:
    given, edited = f"{100 * mask.given_share:.1f} %", f"{100 * mask.refined_share:.1f} %"
    if mask.tells == "stay":
        return f"what stays ({mask.kind}) is {given} of the picture, {edited} is edited"
    return f"mask ({mask.kind}, p = {mask.precision}) from {given} of the picture to {edited}"


def _show(trace: "Trace", out: Path, as_json: bool) -> None:
    if as_json:
        echo_json({"event": "end", "out": str(out), **trace.model_dump(mode="json")}, indent=None)
        return
    for text in trace.fallbacks:
        echo(f"Note: {text}")
    for edit in trace.edits:
        echo(f"{edit.instruction}: {_told_mask(edit.mask)}")
    echo(f"Video: {out / 'edited.mp4'}")
    echo(f"Trace: {out / 'trace.html'}")
