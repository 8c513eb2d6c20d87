"""Runs a job: prepares the video, makes its edits one after the other, and leaves a folder.

What takes long is kept as it comes, in `OUT.partial/work`, so that a run that was stopped, however
it was, goes on where it stood; `OUT` appears at the end, whole.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from avipipe import __version__
from avipipe.annotators.base import Frames, Mask
from avipipe.config_file import difference
from avipipe.editor.edit.inputs import read_inputs
from avipipe.editor.edit.job import Job
from avipipe.editor.edit.kept import NAME as KEPT_NAME
from avipipe.editor.edit.kept import Kept, damaged
from avipipe.editor.edit.listener import Listener
from avipipe.editor.edit.method import EditConfig, Method, Scene
from avipipe.editor.edit.preview import jpeg_uri, side_by_side
from avipipe.editor.edit.single import Edited, SingleEdit
from avipipe.editor.edit.trace import (
    JSON_NAME,
    EditTrace,
    Still,
    Trace,
    VideoTrace,
    write_trace,
)
from avipipe.editor.edit.video import Source, prepare, write_video
from avipipe.errors import ConfigError, RunError
from avipipe.files import locked, sha256_of
from avipipe.manifests.rle import MaskTrack, write_json
from avipipe.manifests.samples import FPS
from avipipe.media.lossless import write_lossless

JOB_NAME = "job.json"
WORK_NAME = "work"
VIDEO_NAME = "edited.mp4"
PREVIEW_NAME = "preview.mp4"
NATIVE_NAME = "native.mp4"
NUM_STILLS = 4
"""Pairs of pictures in the record of an edit; a choice."""

_PREVIEW_CRF = 23
"""x264's own default: a preview need not be exact."""


def edit(
    job: Job,
    out: Path,
    method: Method,
    listener: Listener,
    *,
    keep_work: bool = False,
) -> Trace:
    """Make the edits of a job; one that is done already is left as it is.

    Args:
        out: folder, which gets `edited.mp4`, the refined masks, `preview.mp4`, the trace, and
            `native.mp4` where the method works at a rate of its own.
        keep_work: leave the folder `work`, which holds all frames without loss.
    Raises:
        ConfigError: something in the job is wrong, or `out` holds another one.
        MediaError: the video cannot be read.
        RunError: too little memory, another run is at work in `out`, or what is in it is damaged.
    """
    job, out = job.below(Path.cwd()), out.absolute()
    job.check(names_target=method.looks_for_target())
    for spec in job.edits:
        method.check(spec)
    identity = _identity(job, method)
    partial = out.with_name(f"{out.name}.partial")
    if out.exists() and not _is_empty(out):
        Kept(out)
        _check_same(out, identity)
    else:
        with _alone(partial):
            kept = _begin(partial, identity)
            # What tells of the whole run is noted last: where it is, all is, and stays as it is.
            if JSON_NAME not in kept:
                _make(job, partial, method, listener, identity["files"], kept)
                kept.note_new()
            kept.forget(WORK_NAME)
            partial.rename(out)
        if not keep_work:
            shutil.rmtree(out / WORK_NAME)
    return _read_trace(out)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a folder, and hold it for one run at a time; a dead run holds nothing."""
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(folder, patience_s=0))
        except BlockingIOError as error:
            raise RunError(
                f"another run is at work in {folder}; wait for it, or use another --out"
            ) from error
        except OSError as error:
            raise RunError(
                f"cannot write to {folder}: {error.strerror}; choose another --out, or change its "
                "permissions"
            ) from error
        yield


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _begin(folder: Path, identity: dict[str, Any]) -> Kept:
    """Go on in a folder, or start it; one of another job in which nothing is edited is cleared."""
    is_begun = any(folder.glob(f"{WORK_NAME}/edit-*/chunk-*"))
    if not is_begun and not _is_same(folder, identity):
        shutil.rmtree(folder / WORK_NAME, ignore_errors=True)
        (folder / KEPT_NAME).unlink(missing_ok=True)
    kept = Kept(folder)
    if is_begun:
        _check_same(folder, identity)
    if JOB_NAME not in kept:  # else it stays as it was noted, be it of an earlier version
        write_json(folder / JOB_NAME, identity)
    kept.drop_others(WORK_NAME)
    return kept


def _make(
    job: Job,
    folder: Path,
    method: Method,
    listener: Listener,
    files: dict[str, str],
    kept: Kept,
) -> None:
    began_s = time.monotonic()
    work = folder / WORK_NAME
    listener.said("preparing the video")
    source = prepare(job.video, work / "source", method.canvas)
    kept.note_new()
    listener.planned(len(job.edits) * len(source.chunks()) * method.num_steps)
    places = [work / f"edit-{number:02d}" for number in range(1, len(job.edits) + 1)]
    inputs = [  # what is wrong with those of the last shall not cost the time of the first
        read_inputs(spec, source, place, files, max_precision=method.max_precision)
        for spec, place in zip(job.edits, places, strict=True)
    ]
    scene = Scene(source.footage, source.sound, source.has_sound)
    edits = list[Edited]()
    for spec, place, given in zip(job.edits, places, inputs, strict=True):
        single = SingleEdit(spec, source, scene, place, given, method, listener, kept)
        edits.append(single.make())
        scene = edits[-1].after
    listener.said("writing the videos")
    _write_videos(folder, source, edits, method.config)
    names = [VIDEO_NAME, PREVIEW_NAME, *_write_masks(folder, edits)]
    names += _write_native(folder, edits[-1], method)
    trace = Trace(
        video=_video_trace(job, source, files),
        edits=_with_audio_traces(folder, edits),
        models=dict(method.identity),
        settings=method.config.model_dump(mode="json"),
        seconds=round(time.monotonic() - began_s, 3),
        outputs={name: sha256_of(folder / name) for name in names},
    )
    write_trace(folder, trace, [_stills(edited, method.config) for edited in edits])


def _identity(job: Job, method: Method) -> dict[str, Any]:
    """What the result depends on."""
    paths = [job.video, *(path for edit in job.edits for path in edit.files)]
    return {
        "version": __version__,
        "job": job.model_dump(mode="json"),
        "files": {str(path): sha256_of(path) for path in paths},
        "config": method.config.decisive(),
        "models": dict(method.identity),
    }


def _told_before(path: Path) -> dict[str, Any]:
    """What a folder was begun with; what earlier versions did not say is as it is by default."""
    found = _read_object(path)
    if isinstance(config := found.get("config"), dict):
        config.setdefault("method", "avi_edit")
    with suppress(ValidationError):  # one of another kind will differ
        found["job"] = Job.model_validate(found.get("job")).model_dump(mode="json")
    return found


def _is_same(folder: Path, identity: dict[str, Any]) -> bool:
    path = folder / JOB_NAME
    try:
        return path.is_file() and not difference(_told_before(path), identity)
    except RunError:
        return False


def _check_same(folder: Path, identity: dict[str, Any]) -> None:
    path = folder / JOB_NAME
    if not path.is_file():
        raise ConfigError(
            f"{folder}: expected no such folder, or one that `avipipe edit` made; choose another "
            "--out"
        )
    if differing := difference(_told_before(path), identity):
        raise ConfigError(
            f"{folder} is of another edit; choose another --out, or delete it. What differs:\n"
            + "\n".join(differing)
        )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged(path.parent, f"{path.name} ({error})") from error
    if not isinstance(found, dict):
        raise damaged(path.parent, path.name)
    return found


def _read_trace(out: Path) -> Trace:
    try:
        return Trace.model_validate_json((out / JSON_NAME).read_bytes())
    except (OSError, ValidationError) as error:
        raise damaged(out, JSON_NAME) from error


def _write_videos(
    folder: Path, source: Source, edits: Sequence[Edited], config: EditConfig
) -> None:
    last = edits[-1].after
    frames = (frame_HWC for _, part in last.footage.segments() for frame_HWC in part)
    write_video(folder / VIDEO_NAME, frames, last.sound, crf=config.output.crf)
    both = _pairs(source, edits, config.output.preview_height_px)
    write_video(folder / PREVIEW_NAME, both, last.sound, crf=_PREVIEW_CRF)


def _write_native(folder: Path, last: Edited, method: Method) -> list[str]:
    """What the last edit made at the rate of its method, where that is another one."""
    if method.native_fps is None:
        return []
    frames = (frame_HWC for _, part in last.native.segments() for frame_HWC in part)
    sound, crf = last.after.sound, method.config.output.crf
    write_video(folder / NATIVE_NAME, frames, sound, crf=crf, fps=method.native_fps)
    return [NATIVE_NAME]


def _pairs(source: Source, edits: Sequence[Edited], height_px: int) -> Iterator[Frames]:
    """The frames of the preview, with the masks of all edits."""
    for start, before in source.footage.segments():
        frames = range(start, start + len(before))
        yield from side_by_side(
            before,
            _union([edited.given for edited in edits], frames),
            _union([edited.refined for edited in edits], frames),
            edits[-1].after.footage.read(frames),
            height_px=height_px,
        )


def _union(tracks: Sequence[MaskTrack], frames: range) -> Mask:
    masks = [np.stack([track.mask(frame) for frame in frames]) for track in tracks]
    return np.asarray(np.any(masks, axis=0))


def _write_masks(folder: Path, edits: Sequence[Edited]) -> list[str]:
    names = []
    for number, edited in enumerate(edits, start=1):
        names.append("mask.mkv" if len(edits) == 1 else f"mask-{number}.mkv")
        track = edited.refined
        masks = (
            np.where(track.mask(frame), 255, 0).astype(np.uint8)
            for frame in range(len(track.frames))
        )
        write_lossless(folder / names[-1], masks, "gray")
    return names


def _with_audio_traces(folder: Path, edits: Sequence[Edited]) -> tuple[EditTrace, ...]:
    """The traces of the edits; those of the audio agent are put beside them."""
    traces = []
    for number, edited in enumerate(edits, start=1):
        trace = edited.trace
        if edited.sound.trace is not None:
            name = "audio" if len(edits) == 1 else f"audio-{number}"
            shutil.copytree(edited.sound.trace, folder / name, dirs_exist_ok=True)
            sound = {**trace.sound, "trace": f"{name}/trace.html"}
            trace = trace.model_copy(update={"sound": sound})
        traces.append(trace)
    return tuple(traces)


def _video_trace(job: Job, source: Source, files: dict[str, str]) -> VideoTrace:
    take = source.take
    return VideoTrace(
        path=str(job.video),
        sha256=files[str(job.video)],
        size=source.shape,
        fps=float(source.info.video.fps),
        duration_s=take.num_frames / FPS,
        has_sound=source.has_sound,
        scaled_size=take.scaled_px[::-1],
        edited_size=(take.width_px, take.height_px),
        cut_left_px=take.left_px,
        cut_top_px=take.top_px,
        num_frames=take.num_frames,
    )


def _stills(edited: Edited, config: EditConfig) -> list[Still]:
    num_frames = len(edited.given.frames)
    stills = []
    for index in range(NUM_STILLS):
        frame = (2 * index + 1) * num_frames // (2 * NUM_STILLS)
        frames = range(frame, frame + 1)
        pair = side_by_side(
            edited.before.read(frames),
            _union([edited.given], frames),
            _union([edited.refined], frames),
            edited.after.footage.read(frames),
            height_px=config.output.preview_height_px,
        )
        stills.append(Still(jpeg_uri(next(pair)), f"{frame / FPS:.2f} s"))
    return stills
