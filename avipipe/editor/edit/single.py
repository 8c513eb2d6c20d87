"""One edit of a video: its mask, its sound, and its chunks one after the other."""

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import HEARING_HZ, Wave
from avipipe.audio_agent.files import read_sound, write_sound
from avipipe.audio_agent.tools import Sound
from avipipe.editor.common.media import decode_sound
from avipipe.editor.common.tasks import Task
from avipipe.editor.edit.chunks import Chunk
from avipipe.editor.edit.compose import composite
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.ground import ground
from avipipe.editor.edit.inputs import Inputs
from avipipe.editor.edit.job import EditSpec
from avipipe.editor.edit.kept import Kept
from avipipe.editor.edit.listener import Listener
from avipipe.editor.edit.masks_in import UserMask, check_not_empty, turned, whole_mask
from avipipe.editor.edit.method import Method, Part, Result, Scene
from avipipe.editor.edit.sound import NewSound, join_waves, make_sound
from avipipe.editor.edit.trace import ChunkTrace, EditTrace, MaskTrace
from avipipe.editor.edit.video import Source, fit_sound
from avipipe.manifests import rle
from avipipe.manifests.rle import MaskTrack, write_json
from avipipe.manifests.samples import FPS

MASK_NAME = "mask.json"

_NOTHING = {
    "edit": "the mask is empty here: nothing is edited",
    "stay": "the mask covers all here: nothing is edited",
}
"""Why a chunk is left as it is, by what the user's mask shows."""

_SEED_STEP = 1 << 32
"""Chunks of one edit draw other noise than those of any edit with a seed nearby."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A video as an edit leaves it; `native` is empty but of methods with a rate of their own."""

    before: Footage
    after: Scene
    given: MaskTrack
    refined: MaskTrack
    sound: NewSound
    trace: EditTrace
    native: Footage


class Words(NamedTuple):
    """What all parts of an edit read and hear."""

    task: Task
    prompt: str
    sound: Path | None


class SingleEdit:
    """An edit on its way. What is in its folder already is used and not made again."""

    def __init__(
        self,
        spec: EditSpec,
        source: Source,
        scene: Scene,
        folder: Path,
        inputs: Inputs,
        method: Method,
        listener: Listener,
        kept: Kept,
    ) -> None:
        self.spec, self.source, self.scene, self.folder = spec, source, scene, folder
        self.inputs, self.method, self.listener, self.kept = inputs, method, listener, kept
        self.config = method.config
        self.footage, self.native = Footage(folder / "frames"), Footage(folder / "native")
        self.fallbacks: list[str] = []

    def make(self) -> Edited:
        """Make the edit, or what of it is not made yet.

        Raises:
            ConfigError: mask, instruction or sound are not what they must be.
            RunError: too little memory.
        """
        task, target = self.spec.asked(names_target=self.method.looks_for_target())
        self.fallbacks += self.method.fallbacks(self.spec)
        prompt = self._prompt(task)
        given = self._mask(target)
        self.fallbacks += given.fallbacks
        # From here on, masks say where to edit.
        mask = turned(given) if self.method.mask_tells == "stay" else given
        sound = self._sound(prompt)
        self.fallbacks += sound.fallbacks
        self.kept.note_new()
        has_sound = self.scene.has_sound or sound.path != self.scene.sound
        words = Words(task, prompt, sound.path if has_sound else None)
        chunks = self.source.chunks()
        if not all(self.footage.has(chunk.own.start) for chunk in chunks):
            self.method.fit(self.scene, self.folder / "fit", self.listener, seed=self.spec.seed)
            self.kept.note_new()
        traces = [self._chunk(chunk, mask, words) for chunk in chunks]
        refined = self._refined(chunks)
        if self._heard_now(chunks[0]).exists():
            sound, has_sound = self._joined(chunks), True
            self.kept.note_new()
        trace = EditTrace(
            instruction=self.spec.instruction,
            prompt=prompt,
            source_prompt=self.spec.source_prompt,
            task=task,
            seed=self.spec.seed,
            mask=MaskTrace(
                tells=self.method.mask_tells,
                kind=given.kind,
                precision=given.precision,
                given_share=_share(given.track),
                refined_share=_share(refined),
                details=given.details,
            ),
            sound=sound.details,
            controls=tuple(self.spec.controls),
            num_references=len(self.spec.references),
            files=dict(self.inputs.files),
            chunks=tuple(traces),
            fallbacks=tuple(self.fallbacks),
        )
        after = Scene(self.footage, sound.path, has_sound)
        return Edited(self.scene.footage, after, given.track, refined, sound, trace, self.native)

    def _prompt(self, task: Task) -> str:
        if self.spec.prompt is not None:
            return self.spec.prompt
        if (usual := self.method.prompt_for(task)) is not None:
            return usual
        self.fallbacks.append(
            "no prompt was given: the instruction itself is read in its place; say with --prompt "
            "how the scene shall be, like a caption"
        )
        return self.spec.instruction

    def _mask(self, target: str) -> UserMask:
        if self.inputs.mask is not None:
            return self.inputs.mask
        if not target:
            take = self.source.take
            return whole_mask((take.height_px, take.width_px), take.num_frames)
        path = self.folder / MASK_NAME
        if not path.exists():
            self.listener.said(f"looking for {target!r}")
            heard_N = self._heard(self.scene.sound, range(self.source.take.num_frames))
            precision = self.spec.mask.precision
            found = ground(
                target, self.scene.footage, heard_N, self.config.profile, precision=precision
            )
            write_json(path, found.to_json())
            self.kept.note_new()
        mask = UserMask.from_json(json.loads(path.read_bytes()))
        check_not_empty(mask.track, mask.kind)
        return mask

    def _sound(self, prompt: str) -> NewSound:
        if self.inputs.sound is not None:
            return self.inputs.sound
        return make_sound(
            self.spec.audio,
            self.scene.sound,
            self.folder / "sound",
            instruction=self.spec.sound_instruction or self.spec.instruction,
            scene=prompt,
            seed=self.spec.seed,
            tools=self.config.audio_tools,
            note=self.listener.said,
        )

    def _chunk(self, chunk: Chunk, mask: UserMask, words: Words) -> ChunkTrace:
        """Edit a chunk, or say what came of it before."""
        record = self.folder / f"chunk-{chunk.index:04d}.json"
        if not self.footage.has(chunk.own.start):
            began_s = time.monotonic()
            result, skipped = self._edited(chunk, mask, words)
            trace = ChunkTrace(
                index=chunk.index,
                start=chunk.start,
                num_frames=len(chunk.frames),
                seconds=round(time.monotonic() - began_s, 3),
                skipped=skipped,
                steps=result.steps,
            )
            counts = [rle.encode(mask_HW) for mask_HW in result.refined_FHW]
            write_json(record, {"trace": trace.model_dump(mode="json"), "masks": counts})
            if result.sound_N is not None:
                write_sound(self._heard_now(chunk), Sound(result.sound_N[None], HEARING_HZ))
            if result.native_FHWC is not None:
                self.native.write(chunk.own.start, result.native_FHWC)
            self.footage.write(chunk.own.start, result.frames_FHWC)
            self.kept.note_new()
            self._state(chunk).unlink(missing_ok=True)
        else:
            self.listener.skipped(self.method.num_steps)
        return ChunkTrace.model_validate(json.loads(record.read_bytes())["trace"])

    def _edited(self, chunk: Chunk, mask: UserMask, words: Words) -> tuple[Result, str]:
        """What a chunk writes, and why nothing of it was edited, if so."""
        own = slice(chunk.own.start - chunk.start, len(chunk.frames))
        source = _padded(self.scene.footage.read(chunk.frames), chunk)
        given = _padded(np.stack([mask.track.mask(frame) for frame in chunk.frames]), chunk)
        if self.method.needs_mask and not given[own].any():
            self.listener.skipped(self.method.num_steps)
            why = _NOTHING[self.method.mask_tells]
            return Result(source[own], given[own], given[own], ()), why
        wave_N = None
        if words.sound is not None:
            wave_N = self._heard(words.sound, chunk.frames, chunk.num_frames)
        part = Part(
            frames_FHWC=source,
            mask_FHW=given,
            precision=mask.precision,
            task=words.task,
            prompt=words.prompt,
            source_prompt=self.spec.source_prompt,
            anchor_words=self.spec.anchor_words,
            wave_N=wave_N,
            first_HWC=self.footage.read(chunk.frames[:1])[0] if chunk.index else None,
            controls={
                kind: _padded(footage.read(chunk.frames), chunk)
                for kind, footage in self.inputs.controls.items()
            },
            references=self.inputs.references,
            seed=self.spec.seed + chunk.index * _SEED_STEP,
        )
        result = self.method.edit(part, self._state(chunk), self.listener)
        frames = result.frames_FHWC
        if self.config.output.composite:
            frames = composite(
                frames,
                source,
                result.shown_FHW,
                margin_px=self.config.output.margin_px,
                is_seam_within=self.method.mask_tells == "stay",
            )
        native_FHWC = result.native_FHWC
        if native_FHWC is not None:
            assert self.method.native_fps is not None, "frames of its own have a rate"
            native_FHWC = native_FHWC[: math.ceil(len(chunk.frames) * self.method.native_fps / FPS)]
        return dataclasses.replace(
            result,
            frames_FHWC=frames[own],
            refined_FHW=result.refined_FHW[own],
            shown_FHW=given[own],
            native_FHWC=native_FHWC,
        ), ""

    def _heard_now(self, chunk: Chunk) -> Path:
        """What a chunk sounds like, where the method makes that."""
        return self.folder / f"chunk-{chunk.index:04d}.wav"

    def _joined(self, chunks: Sequence[Chunk]) -> NewSound:
        """The sound that the method made of all chunks, as long as the video."""
        folder = self.folder / "sound"
        out, draft = folder / "method.flac", folder / "method.wav"
        if not out.exists():
            folder.mkdir(parents=True, exist_ok=True)
            parts = [read_sound(self._heard_now(chunk)).mono() for chunk in chunks]
            starts = [round(chunk.start * HEARING_HZ / FPS) for chunk in chunks]
            write_sound(draft, Sound(join_waves(parts, starts)[None], HEARING_HZ))
            fit_sound(draft, self.source.take.num_frames, out)
        return NewSound(out, {"way": "edited by the method"})

    def _state(self, chunk: Chunk) -> Path:
        return self.folder / f"chunk-{chunk.index:04d}.pt"

    def _heard(self, sound: Path, frames: range, num_frames: int | None = None) -> Wave:
        """The sound of some frames as the network hears it, with silence after its end."""
        wave_N = decode_sound(sound.read_bytes(), frames, where=str(sound))
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
