"""AvED as a method: from frames, sound and two prompts to latents of both, and back."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from avipipe.annotators.base import Frames, Mask
from avipipe.audio_agent.files import read_sound
from avipipe.editor.aved.carry import KeyChange, carried
from avipipe.editor.aved.components import AvedModels, load_aved, plan_aved
from avipipe.editor.aved.config import NATIVE_FPS, AvedModelsConfig, AvedSettings
from avipipe.editor.aved.denoise import Reading, Readings
from avipipe.editor.aved.grids import resize_maps
from avipipe.editor.aved.kinds import pulled_of
from avipipe.editor.aved.optimise import (
    JointEdit,
    JointEditing,
    JointLatents,
    joint_edit,
    timestep_of,
)
from avipipe.editor.aved.relevance import min_max
from avipipe.editor.aved.sound import fitted
from avipipe.editor.common.canvas import choose_size
from avipipe.editor.common.cells import pool_mask
from avipipe.editor.common.flow import sample_generator
from avipipe.editor.common.image_codec import to_uint8
from avipipe.editor.common.memory import too_little_told
from avipipe.editor.common.state import EditStep
from avipipe.editor.common.text import clean
from avipipe.editor.common.words import Span, anchor_spans
from avipipe.editor.edit.method import (
    Canvas,
    EditConfig,
    EditSpec,
    Listener,
    MemoryPlan,
    Method,
    Part,
    Result,
    Scene,
    StepTrace,
    missing_prompts,
    of_no_use,
    refuse,
)
from avipipe.errors import ConfigError
from avipipe.manifests.samples import FPS

STRIDE = FPS // NATIVE_FPS
"""Frames of the video for each of these: its middle one is edited."""

MOST_GRIDS = 10
"""That are edited at once: the paper's, with 2 x 2 frames each; 10 s, as long as AudioLDM 2 knows.
"""

ADVICE = (
    "--offload models, with which it goes on from here; or, with another --out, --set "
    "models.precision=bf16, fewer frames at once (--set output.chunk_frames=121), or smaller ones "
    "(--set output.size=[192,192])"
)
"""What needs less memory."""


class AvedConfig(EditConfig):
    """What edits by AvED can be told beside the job."""

    options: ClassVar = {
        **EditConfig.options,
        "--model": "models.picture",
        "--offload": "models.offload",
        "--tile-vae": "models.tiled_vae",
        "--steps": "aved.num_steps",
    }
    not_decisive: ClassVar = frozenset({"picture_weights", "picture", "sound", "device", "offload"})

    method: str = "aved"
    models: AvedModelsConfig = AvedModelsConfig()
    aved: AvedSettings = AvedSettings()


class Aved(Method):
    """The models of AvED, ready to edit picture and sound together, where the prompts differ."""

    name = "aved"
    settings = AvedConfig
    reads_source = True
    keeps_sound = False
    needs_mask = False
    native_fps = NATIVE_FPS

    def __init__(self, components: AvedModels, config: AvedConfig) -> None:
        self.components = components
        self.config: AvedConfig = config
        self._for_pictures = lru_cache(maxsize=8)(components.read_for_pictures)
        self._for_sounds = lru_cache(maxsize=8)(components.read_for_sounds)

    @classmethod
    def load(cls, config: AvedConfig) -> Self:
        """Load Stable Diffusion and AudioLDM 2.

        Raises:
            WeightsError: weights are missing, not whole, or of another kind.
            ConfigError: there is no such device or block, or they cannot take such pictures.
            RunError: too little memory.
        """
        return cls(load_aved(config.models, config.aved, *_most(config)), config)

    @classmethod
    def pulled(cls, config: AvedConfig) -> list[str]:
        """Of either model for which no folder is named."""
        return pulled_of(config.models)

    @classmethod
    def plan(cls, config: AvedConfig) -> MemoryPlan:
        """For the largest of the sizes."""
        return plan_aved(config.models, config.aved, *_most(config))

    @property
    def num_steps(self) -> int:
        """Steps that are made for a part."""
        return self.config.aved.num_steps

    @property
    def identity(self) -> dict[str, Any]:
        """What the models are."""
        return dict(self.components.identity)

    def canvas(self, shape: tuple[float, float]) -> Canvas:
        """The size that suits a picture best, and parts that fill whole grids."""
        aved, cell_px = self.config.aved, self.components.cell_px
        size = self.config.output.size or choose_size(shape, aved.sizes, cell_px)
        return Canvas(*size, _most_frames(self.config), _frame_step(aved))

    def check(self, spec: EditSpec) -> None:
        """Refuse an edit without two prompts that differ, or with what is not looked at.

        Raises:
            ConfigError: there is something.
        """
        wrong = missing_prompts(spec)
        unread = {
            "--control": spec.controls,
            "--reference": spec.references,
            "--audio, as it edits the sound itself,": spec.audio != "keep",
        }
        wrong += of_no_use(unread)
        if spec.prompt and spec.source_prompt:
            wrong += self._wrong_words(spec.source_prompt, spec.prompt, spec.anchor_words)
        refuse(self.name, wrong)

    def fit(self, scene: Scene, folder: Path, listener: Listener, *, seed: int) -> None:
        """Refuse a video without sound; nothing is prepared.

        Raises:
            ConfigError: it has none, or none but zeros.
        """
        if not scene.has_sound or not read_sound(scene.sound).wav_CN.any():
            refuse(self.name, ["it edits picture and sound together, and the video has no sound"])

    def edit(self, part: Part, state: Path, listener: Listener) -> Result:
        """Edit picture and sound of a part by the difference of its prompts.

        Raises:
            ConfigError: the video is of one frame.
            RunError: too little memory, or a network answers with what is no number.
        """
        if len(part.frames_FHWC) < STRIDE:  # all other parts fill a grid
            refuse(self.name, ["it edits videos of two frames or more, and this one has one"])
        with too_little_told(part.frames_FHWC, ADVICE):
            return self._edit(part, state, listener)

    def _edit(self, part: Part, state: Path, listener: Listener) -> Result:
        models, settings = self.components, self.config.aved
        assert part.wave_N is not None, "a video without sound was refused"
        edit, gain = self._joint_edit(part)
        seconds: dict[int, float] = {}

        def on_step(step: EditStep[JointEditing]) -> None:
            seconds[step.index] = round(step.seconds, 4)
            step.editing.save(state)
            listener.stepped()

        def draw(step: int, purpose: str) -> torch.Generator:
            return sample_generator(part.seed, self.name, step, purpose)

        device = models.placement.device
        start = JointEditing.load(state).to(device) if state.exists() else None
        if start is not None:
            listener.skipped(start.step)
        for_pictures, for_sounds = self._readings(part)
        denoisers = models.denoisers(for_pictures, for_sounds, settings)
        with models.denoising():
            done = joint_edit(
                *denoisers, edit.to(device), settings, draw, on_step=on_step, start=start
            ).to("cpu")
        schedule = denoisers[0].schedule
        steps = tuple(
            StepTrace(
                step=index,
                sigma=schedule.shares(timestep_of(settings, draw(index, "timestep")))[1],
                seconds=seconds.get(index),
            )
            for index in range(settings.num_steps)
        )
        native, frames_FHWC, shown_FHW = self._pictures(part, edit.source.picture, done)
        wave_N = fitted(models.decode_sound(done.target.sound), len(part.wave_N), gain)
        return Result(frames_FHWC, shown_FHW, shown_FHW, steps, wave_N, native)

    def _joint_edit(self, part: Part) -> tuple[JointEdit, float]:
        """What is edited, and the gain that its sound has been given."""
        models = self.components
        assert part.wave_N is not None
        numbers = native_frames(len(part.frames_FHWC))
        spectra_TM, gain = models.mel_form.spectra(part.wave_N)
        source = JointLatents(
            models.encode_frames(part.frames_FHWC[numbers]), models.encode_sound(spectra_TM)
        )
        mask_K1HW = torch.from_numpy(part.mask_FHW[numbers])[:, None].float()
        edit = JointEdit(
            source,
            pool_mask(mask_K1HW[:, :, None], 1, models.stride_px)[:, :, 0] > 0,
            [number / FPS for number in numbers],
            models.mel_form.duration_s(len(part.wave_N)),
        )
        return edit, gain

    def _pictures(
        self, part: Part, source: Tensor, done: JointEditing
    ) -> tuple[Frames, Frames, Mask]:
        """The frames that were edited, all frames, and where the new picture is to be seen."""
        models, settings = self.components, self.config.aved
        before, after = (models.decode_frames(each) for each in (source, done.target.picture))
        relevance_Khw = min_max(done.relevance_Khw)
        height, width = part.mask_FHW.shape[1:]
        relevance_KHW = resize_maps(relevance_Khw, (height, width)).numpy()
        layers_KHWC = np.concatenate([after - before, relevance_KHW[..., None]], axis=-1)
        keys = [
            KeyChange(number, layers_HWC)
            for number, layers_HWC in zip(
                native_frames(len(part.frames_FHWC)), layers_KHWC, strict=True
            )
        ]
        if part.first_HWC is not None:
            keys.insert(0, _join(part, keys[0]))
        frames_FHWC, shown_FHW = np.empty_like(part.frames_FHWC), np.empty_like(part.mask_FHW)
        for frame, layers_HWC in enumerate(carried(part.frames_FHWC, keys)):
            frames_FHWC[frame] = to_uint8(part.frames_FHWC[frame] + layers_HWC[..., :3])
            shown_FHW[frame] = layers_HWC[..., 3] > settings.shown_above
        return to_uint8(after), frames_FHWC, shown_FHW & part.mask_FHW

    def _readings(self, part: Part) -> tuple[Readings, Readings]:
        """The prompts as both models read them, with the words of the edit."""
        models = self.components
        return (
            self._read(part, self._for_pictures, models.marks_for_pictures),
            self._read(part, self._for_sounds, models.marks_for_sounds),
        )

    def _read(
        self,
        part: Part,
        read: Callable[[str], Reading],
        marks_of: Callable[[str, Sequence[Span]], Tensor],
    ) -> Readings:
        """The prompts as one model reads them."""

        def reading(text: str, spans: Sequence[Span]) -> Reading:
            marks_L = marks_of(clean(text), spans)
            return replace(read(text), marks_L=marks_L if marks_L.any() else None)

        assert part.source_prompt is not None
        before, after = word_spans(part.source_prompt, part.prompt, part.anchor_words)
        return Readings(
            reading(part.source_prompt, before),
            reading(part.prompt, after),
            read(self.config.aved.negative_prompt),
        )

    def _wrong_words(self, source: str, prompt: str, words: Sequence[str]) -> list[str]:
        """What is wrong with the difference of two prompts."""
        models = self.components
        try:
            spans = word_spans(source, prompt, words)
        except ConfigError as error:
            return [str(error)]
        if not any(spans):
            return ["the prompts say the same; say with --prompt what shall be otherwise"]
        texts = (clean(source), clean(prompt))
        for marks_of in (models.marks_for_pictures, models.marks_for_sounds):
            if not any(marks_of(text, each).any() for text, each in zip(texts, spans, strict=True)):
                return ["the prompts differ only beyond what a model reads of them; shorten them"]
        return []


def word_spans(source: str, prompt: str, words: Sequence[str]) -> tuple[list[Span], list[Span]]:
    """Where the words of the edit stand in two prompts: in each, what the other has not.

    Args:
        words: of the prompt, given instead; then none of the source.
    Raises:
        ConfigError: a given word is not in the prompt.
    """
    source, prompt = clean(source), clean(prompt)
    return ([] if words else anchor_spans(prompt, source)), anchor_spans(source, prompt, words)


def native_frames(num_frames: int) -> list[int]:
    """Which frames of a part are edited: the middle one of each quarter of a second.

    So none of them is the frame that two parts share.
    """
    return list(itertools.islice(range(STRIDE // 2, num_frames, STRIDE), num_frames // STRIDE))


def _join(part: Part, following: KeyChange) -> KeyChange:
    """What the part before has changed in the first frame; relevance is that of the next key."""
    assert part.first_HWC is not None
    change_HWC = part.first_HWC.astype(np.float32) - part.frames_FHWC[0]
    layers_HWC = np.concatenate([change_HWC, following.layers_HWC[..., 3:]], axis=-1)
    return KeyChange(0, layers_HWC)


def _frame_step(settings: AvedSettings) -> int:
    """Frames of the video that fill a grid."""
    return STRIDE * settings.grid_side**2


def _most(config: AvedConfig) -> tuple[Sequence[tuple[int, int]], int]:
    """Sizes of frames that may be edited, and the most of them at once."""
    sizes = (config.output.size,) if config.output.size else config.aved.sizes
    return sizes, (_most_frames(config) - 1) // STRIDE


def _most_frames(config: AvedConfig) -> int:
    """Frames of a part: as many grids as are asked for, and the frame that parts share."""
    step = _frame_step(config.aved)
    if config.output.chunk_frames is None:
        return step * max(1, MOST_GRIDS * 4 // config.aved.grid_side**2) + 1
    return config.output.chunk_frames
