"""One edit of a video: its mask, its sound, and its chunks one after the other."""

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import HEARING_HZ, Frames, Mask, Wave
from avipipe.audio_agent.files import read_sound
from avipipe.editor.avi_edit.data.batch import Task
from avipipe.editor.avi_edit.method import Engine, Part
from avipipe.editor.common.media import decode_sound
from avipipe.editor.edit.chunks import Chunk
from avipipe.editor.edit.compose import composite, to_cells, to_pixels
from avipipe.editor.edit.config import EditConfig
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.ground import ground
from avipipe.editor.edit.job import AUDIO_WAYS, EditSpec
from avipipe.editor.edit.kept import Kept
from avipipe.editor.edit.listener import Listener
from avipipe.editor.edit.masks_in import UserMask, check_not_empty, read_mask
from avipipe.editor.edit.pictures_in import control_order, read_control, read_image, read_reference
from avipipe.editor.edit.sound import NewSound, make_sound
from avipipe.editor.edit.trace import ChunkTrace, EditTrace, MaskTrace, StepTrace
from avipipe.editor.edit.video import Source
from avipipe.files import sha256_of
from avipipe.manifests import rle
from avipipe.manifests.rle import MaskTrack, write_json
from avipipe.manifests.samples import FPS

MASK_NAME = "mask.json"

_SEED_STEP = 1 << 32
"""Chunks of one edit draw other noise than those of any edit with a seed nearby."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A video as an edit finds it: frames, sound, and whether there is anything to hear."""

    footage: Footage
    sound: Path
    has_sound: bool


@dataclass(frozen=True, slots=True)
class Edited:
    """A video as an edit leaves it."""

    before: Footage
    after: Scene
    given: MaskTrack
    refined: MaskTrack
    sound: NewSound
    trace: EditTrace


def check_files(spec: EditSpec, source: Source, engine: Engine) -> None:
    """Read what an edit is given, before others cost time.

    Raises:
        ConfigError: a mask, a control or a reference is not what it must be.
        MediaError: the sound cannot be read.
    """
    if spec.mask.is_drawn:
        read_mask(spec.mask, source.take, source.shape, max_precision=engine.max_precision)
    for path in spec.controls.values():
        control_order(path, source.take)
    for path in spec.references:
        read_image(path)
    if spec.audio not in AUDIO_WAYS:
        read_sound(Path(spec.audio))


class SingleEdit:
    """An edit on its way. What is in its folder already is used and not made again."""

    def __init__(
        self,
        spec: EditSpec,
        source: Source,
        scene: Scene,
        folder: Path,
        engine: Engine,
        config: EditConfig,
        listener: Listener,
        kept: Kept,
    ) -> None:
        self.spec, self.source, self.scene, self.folder = spec, source, scene, folder
        self.engine, self.config, self.listener, self.kept = engine, config, listener, kept
        self.footage = Footage(folder / "frames")
        self.fallbacks: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        take = source.take
        self.controls = {
            kind: read_control(path, take, source.shape, folder / f"control-{kind}")
            for kind, path in spec.controls.items()
        }
        self.references = [read_reference(path, take) for path in spec.references]

    def make(self) -> Edited:
        """Make it.

        Raises:
            ConfigError: mask, instruction or sound are not what they must be.
            RunError: too little memory.
        """
        task, words = self.spec.asked()
        prompt = self._prompt(task)
        mask = self._mask(words)
        self.fallbacks += mask.fallbacks
        sound = self._sound(prompt)
        self.fallbacks += sound.fallbacks
        self.kept.note_new()
        has_sound = self.scene.has_sound or sound.path != self.scene.sound
        hears = has_sound and task != "deletion"
        chunks = self.engine.chunks(len(mask.track.frames))
        traces = [
            self._chunk(chunk, mask, prompt, sound.path if hears else None) for chunk in chunks
        ]
        refined = self._refined(chunks)
        trace = EditTrace(
            instruction=self.spec.instruction,
            prompt=prompt,
            task=task,
            seed=self.spec.seed,
            mask=MaskTrace(
                kind=mask.kind,
                precision=mask.precision,
                given_share=_share(mask.track),
                refined_share=_share(refined),
                details=mask.details,
            ),
            sound=sound.details,
            controls=tuple(self.spec.controls),
            num_references=len(self.spec.references),
            files={str(path): sha256_of(path) for path in self.spec.files},
            chunks=tuple(traces),
            fallbacks=tuple(self.fallbacks),
        )
        after = Scene(self.footage, sound.path, has_sound)
        return Edited(self.scene.footage, after, mask.track, refined, sound, trace)

    def _prompt(self, task: Task) -> str:
        if self.spec.prompt is not None:
            return self.spec.prompt
        if task == "deletion":
            return self.config.deletion_prompt
        self.fallbacks.append(
            "no prompt was given: the network reads the instruction itself; it was trained on "
            "captions, so say with --prompt how the scene shall be"
        )
        return self.spec.instruction

    def _mask(self, words: str) -> UserMask:
        spec, take = self.spec.mask, self.source.take
        if spec.is_drawn:
            return read_mask(spec, take, self.source.shape, max_precision=self.engine.max_precision)
        path = self.folder / MASK_NAME
        if not path.exists():
            self.listener.said(f"looking for {words!r}")
            heard_N = self._heard(self.scene.sound, range(take.num_frames))
            found = ground(
                words, self.scene.footage, heard_N, self.config.profile, precision=spec.precision
            )
            write_json(path, found.to_json())
            self.kept.note_new()
        mask = UserMask.from_json(json.loads(path.read_bytes()))
        check_not_empty(mask.track, mask.kind)
        return mask

    def _sound(self, prompt: str) -> NewSound:
        return make_sound(
            self.spec.audio,
            self.scene.sound,
            self.folder / "sound",
            num_frames=self.source.take.num_frames,
            instruction=self.spec.instruction,
            scene=prompt,
            seed=self.spec.seed,
            tools=self.config.audio_tools,
            note=self.listener.said,
        )

    def _chunk(self, chunk: Chunk, mask: UserMask, prompt: str, sound: Path | None) -> ChunkTrace:
        """Edit a chunk, or say what came of it before."""
        record = self.folder / f"chunk-{chunk.index:04d}.json"
        if not self.footage.has(chunk.own.start):
            began_s = time.monotonic()
            own, cells, steps, skipped = self._edited(chunk, mask, prompt, sound)
            trace = ChunkTrace(
                index=chunk.index,
                start=chunk.start,
                num_frames=len(chunk.frames),
                seconds=round(time.monotonic() - began_s, 3),
                skipped=skipped,
                steps=steps,
            )
            counts = [rle.encode(mask_HW) for mask_HW in cells]
            write_json(record, {"trace": trace.model_dump(mode="json"), "masks": counts})
            self.footage.write(chunk.own.start, own)
            self.kept.note_new()
            self._state(chunk).unlink(missing_ok=True)
        else:
            self.listener.skipped(self.engine.num_steps)
        return ChunkTrace.model_validate(json.loads(record.read_bytes())["trace"])

    def _edited(
        self, chunk: Chunk, mask: UserMask, prompt: str, sound: Path | None
    ) -> tuple[Frames, Mask, tuple[StepTrace, ...], str]:
        """The frames that a chunk writes, their refined masks, and how they came about."""
        own = slice(chunk.own.start - chunk.start, len(chunk.frames))
        source = _padded(self.scene.footage.read(chunk.frames), chunk)
        given = _padded(np.stack([mask.track.mask(frame) for frame in chunk.frames]), chunk)
        if not given[own].any():
            self.listener.skipped(self.engine.num_steps)
            return source[own], given[own], (), "the mask is empty here: nothing is edited"
        part = Part(
            frames_FHWC=source,
            cells_Thw=to_cells(given),
            precision=mask.precision,
            prompt=prompt,
            wave_N=None if sound is None else self._heard(sound, chunk.frames, chunk.num_frames),
            first_HWC=self.footage.read(chunk.frames[:1])[0] if chunk.index else None,
            controls={
                kind: _padded(footage.read(chunk.frames), chunk)
                for kind, footage in self.controls.items()
            },
            references=self.references,
            seed=self.spec.seed + chunk.index * _SEED_STEP,
        )
        edited, cells, steps = self.engine.edit(part, self._state(chunk), self.listener)
        refined = to_pixels(cells) & given
        if self.config.output.composite:
            # The released loop edits in the user's mask to the end.
            is_released = self.config.solver.gamr_feedback == "released"
            within = given if is_released else refined
            edited = composite(edited, source, within, margin_px=self.config.output.margin_px)
        return edited[own], refined[own], steps, ""

    def _state(self, chunk: Chunk) -> Path:
        return self.folder / f"chunk-{chunk.index:04d}.pt"

    def _heard(self, sound: Path, frames: range, num_frames: int | None = None) -> Wave:
        """The sound of some frames as the network hears it, with silence after its end."""
        take = dataclasses.replace(self.source.take, start=frames.start, num_frames=len(frames))
        wave_N = decode_sound(sound.read_bytes(), take, where=str(sound))
        wanted = math.ceil(HEARING_HZ * (num_frames or len(frames)) / FPS)
        return np.pad(wave_N, (0, wanted - len(wave_N)))

    def _refined(self, chunks: Sequence[Chunk]) -> MaskTrack:
        counts: list[str] = []
        for chunk in chunks:
            record = self.folder / f"chunk-{chunk.index:04d}.json"
            counts += json.loads(record.read_bytes())["masks"]
        take = self.source.take
        return MaskTrack((take.height_px, take.width_px), FPS, tuple(counts))


Array = TypeVar("Array", bound=npt.NDArray[Any])


def _padded(frames: Array, chunk: Chunk) -> Array:
    """Frames of a chunk, the last one repeated to its end."""
    widths = ((0, chunk.num_padding), *((0, 0),) * (frames.ndim - 1))
    return cast(Array, np.pad(frames, widths, mode="edge"))


def _share(track: MaskTrack) -> float:
    """Of all pixels."""
    height, width = track.size
    pixels = sum(rle.area(counts, track.size) for counts in track.frames)
    return round(pixels / (height * width * len(track.frames)), 6)
