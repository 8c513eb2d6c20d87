"""The models of AvED: Stable Diffusion and AudioLDM 2, loaded, placed, and asked in turn.

Shapes: K frames (K, H, W, 3), latents (K, C, h, w) of them and (1, C, h, w) of a sound.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel

from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.loading import read_pipeline
from avipipe.editor.aved.config import AvedModelsConfig, AvedSettings
from avipipe.editor.aved.denoise import Denoiser, Reading, Readings
from avipipe.editor.aved.kinds import PIPELINES, ModelKind, ModelPart, check_kinds, read_kinds
from avipipe.editor.aved.memory import checkpoint_blocks, plan_joint_memory
from avipipe.editor.aved.sound import MelForm
from avipipe.editor.common.diffusion import Schedule, schedule_of
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.image_codec import (
    ImageCodec,
    from_latents,
    read_image_codec,
    to_latents,
)
from avipipe.editor.common.memory import MemoryPlan
from avipipe.editor.common.placement import Placement
from avipipe.editor.common.pretrained import identity_of
from avipipe.editor.common.text import clean
from avipipe.editor.common.words import Span, check_offsets, marked_tokens

EXACT = "vocoder"
"""The part that, as VAEs do, computes in float32: it is small, and rounding would be heard."""

SOUND_READERS = ("text_encoder", "text_encoder_2", "projection_model", "language_model")
"""What reads prompts for AudioLDM 2."""

WORD_TOKENIZERS: dict[ModelPart, str] = {"picture": "tokenizer", "sound": "tokenizer_2"}
"""Whose tokens the networks look at word by word."""

INSTEAD: dict[ModelPart, dict[str, Any]] = {
    "picture": {},
    "sound": {"language_model": GPT2LMHeadModel},
}
"""Classes of parts: the hub's index of AudioLDM 2 names one that can no longer generate."""

WITHOUT: dict[ModelPart, tuple[str, ...]] = {
    "picture": ("safety_checker", "feature_extractor", "image_encoder"),
    "sound": (),
}
"""Parts that edit nothing."""


@dataclass(frozen=True, slots=True)
class AvedModels:
    """The models, and what is asked of them. All tensors come and go on the CPU.

    Attributes:
        pictures: diffusers' `StableDiffusionPipeline`.
        sounds: diffusers' `AudioLDM2Pipeline`.
        kinds: their configurations.
        schedules: their timesteps.
        identity: what the models are: part -> hash of its weights and settings.
    """

    pictures: Any
    sounds: Any
    kinds: Mapping[ModelPart, ModelKind]
    schedules: Mapping[ModelPart, Schedule]
    placement: Placement
    identity: Mapping[str, str]

    @property
    def stride_px(self) -> int:
        """Pixels along a side of a latent cell of pictures."""
        return self.kinds["picture"].stride

    @property
    def cell_px(self) -> int:
        """Pixels along a side of the coarsest token that is looked at; frames hold whole ones."""
        return int(self.stride_px * 2 ** self.kinds["picture"].coarsest)

    @property
    def mel_form(self) -> MelForm:
        """How spectra lie in time; all levels of the network halve them evenly."""
        vocoder, kind = self.sounds.vocoder.config, self.kinds["sound"]
        halvings = len(kind.network["block_out_channels"]) - 1
        hop = math.prod(vocoder.upsample_rates)
        multiple = kind.stride * 2**halvings
        return MelForm(hop, vocoder.model_in_dim, vocoder.sampling_rate, multiple)

    def encode_frames(self, frames_KHWC: Frames) -> Tensor:
        """Latents (K, C, h, w) as the network knows them, of each frame by itself."""
        with self._at_work(self.pictures.vae):
            return ImageCodec(self.pictures.vae).encode(frames_KHWC)

    def decode_frames(self, latents_KChw: Tensor) -> npt.NDArray[np.float32]:
        """Frames (K, H, W, 3), from 0 to 255 but for what overshoots, float32."""
        with self._at_work(self.pictures.vae):
            return ImageCodec(self.pictures.vae).decode(latents_KChw)

    def encode_sound(self, spectra_TM: Tensor) -> Tensor:
        """Latents (1, C, h, w) of logarithmic mel spectra: h by time, w by frequency."""
        vae = self.sounds.vae
        with self._at_work(vae):
            return to_latents(vae, spectra_TM[None, None]).contiguous()

    @torch.no_grad()
    def decode_sound(self, latents: Tensor) -> Wave:
        """A wave (N,), about as long as the spectra were."""
        vae, vocoder = self.sounds.vae, self.sounds.vocoder
        with self._at_work(vae, vocoder):
            spectra = from_latents(vae, latents)
            wave: Tensor = self.sounds.mel_spectrogram_to_waveform(spectra)
        return wave[0].numpy()

    @torch.no_grad()
    def read_for_pictures(self, prompt: str) -> Reading:
        """A prompt as Stable Diffusion reads it."""
        pipeline = self.pictures
        with self._at_work(pipeline.text_encoder):
            device = pipeline.text_encoder.device
            states = pipeline.encode_prompt(clean(prompt), device, 1, False)[0]
        return Reading({"encoder_hidden_states": states.cpu()}, "encoder_hidden_states")

    @torch.no_grad()
    def read_for_sounds(self, prompt: str) -> Reading:
        """A prompt as AudioLDM 2 reads it: its words by T5, and what GPT-2 makes of it."""
        pipeline = self.sounds
        with self._at_work(*(getattr(pipeline, name) for name in SOUND_READERS)):
            device = pipeline.text_encoder_2.device
            words, mask, generated = pipeline.encode_prompt(clean(prompt), device, 1, False)
        return Reading(
            {
                "encoder_hidden_states": generated.cpu(),
                "encoder_hidden_states_1": words.cpu(),
                "encoder_attention_mask_1": mask.cpu(),
            },
            "encoder_hidden_states_1",
        )

    def marks_for_pictures(self, prompt: str, spans: Sequence[Span]) -> Tensor:
        """Which tokens of a cleaned prompt are of the edit, as Stable Diffusion reads them."""
        tokenizer = self.pictures.tokenizer
        return marked_tokens(tokenizer, prompt, spans, tokenizer.model_max_length)

    def marks_for_sounds(self, prompt: str, spans: Sequence[Span]) -> Tensor:
        """Which tokens of a cleaned prompt are of the edit, as AudioLDM 2 reads them."""
        tokenizer = self.sounds.tokenizer_2
        return marked_tokens(tokenizer, prompt, spans, tokenizer.model_max_length)

    def denoisers(
        self, pictures: Readings, sounds: Readings, settings: AvedSettings
    ) -> tuple[Denoiser, Denoiser]:
        """Both networks with their prompts; `denoising` keeps them on the device."""
        device = self.placement.device
        return (
            Denoiser(
                self.pictures.unet,
                self.schedules["picture"],
                placed(pictures, device),
                guidance=settings.picture_guidance,
                block=settings.picture_block,
                side=settings.grid_side,
            ),
            Denoiser(
                self.sounds.unet,
                self.schedules["sound"],
                placed(padded(sounds), device),
                guidance=settings.sound_guidance,
                block=settings.sound_block,
                side=1,
            ),
        )

    @contextmanager
    def denoising(self) -> Iterator[None]:
        """Keep both networks on the device meanwhile."""
        with self._at_work(self.pictures.unet, self.sounds.unet):
            yield

    @contextmanager
    def _at_work(self, *models: Any) -> Iterator[None]:
        with ExitStack() as stack:
            for model in models:
                stack.enter_context(self.placement.at_work(model))
            yield


def padded(readings: Readings) -> Readings:
    """Prompts of AudioLDM 2, with masked zeros after the end of shorter ones."""
    names = ("encoder_hidden_states_1", "encoder_attention_mask_1")
    every = (readings.source, readings.target, readings.away)
    longest = max(reading.arguments[names[1]].shape[1] for reading in every)

    def fit(reading: Reading) -> Reading:
        states, mask = (reading.arguments[name] for name in names)
        more = longest - mask.shape[1]
        longer = {
            names[0]: functional.pad(states, (0, 0, 0, more)),
            names[1]: functional.pad(mask, (0, more)),
        }
        return replace(reading, arguments={**reading.arguments, **longer})

    return Readings(*(fit(reading) for reading in every))


def placed(readings: Readings, device: torch.device) -> Readings:
    """Prompts on a device."""

    def place(reading: Reading) -> Reading:
        arguments = {name: value.to(device) for name, value in reading.arguments.items()}
        marks_L = None if reading.marks_L is None else reading.marks_L.to(device)
        return replace(reading, arguments=arguments, marks_L=marks_L)

    return Readings(place(readings.source), place(readings.target), place(readings.away))


def plan_aved(
    config: AvedModelsConfig,
    settings: AvedSettings,
    sizes: Sequence[tuple[int, int]],
    num_frames: int,
) -> MemoryPlan:
    """What an edit will hold, before anything but configurations is read.

    Args:
        sizes, num_frames: as of `load_aved`.
    Raises:
        WeightsError: weights are missing, or of another kind.
        ConfigError: there is no such device or block, or the network cannot take such frames.
    """
    kinds = read_kinds(config)
    check_kinds(kinds, settings, sizes)
    largest = max(sizes, key=lambda size: size[0] * size[1])
    return plan_joint_memory(config, settings, kinds, largest, num_frames)


def load_aved(
    config: AvedModelsConfig,
    settings: AvedSettings,
    sizes: Sequence[tuple[int, int]],
    num_frames: int,
) -> AvedModels:
    """Load everything; nothing is ever downloaded.

    Args:
        sizes: widths and heights of frames.
        num_frames: most, at the method's own rate, that will be edited at once.
    Raises:
        WeightsError: weights are missing, not whole, or of another kind.
        ConfigError: there is no such device or block, or the network cannot take such frames.
        RunError: too little memory; what would help.
    """
    placement = Placement.of(config)
    plan_aved(config, settings, sizes, num_frames).check()
    kinds = read_kinds(config)
    pipelines = {part: _read(kind, DTYPES[config.precision]) for part, kind in kinds.items()}
    schedules = {
        part: schedule_of(pipelines[part].scheduler, kind.folder / "scheduler", kind.remedy)
        for part, kind in kinds.items()
    }
    identity: dict[str, str] = {
        part: identity_of(config.precision, *_parts(kind.folder)) for part, kind in kinds.items()
    }
    for pipeline in pipelines.values():
        for model in pipeline.components.values():
            if isinstance(model, torch.nn.Module):
                model.requires_grad_(False).to(placement.home)
        checkpoint_blocks(pipeline.unet)
    if config.tiled_vae:
        pipelines["picture"].vae.enable_tiling()
    return AvedModels(
        pipelines["picture"], pipelines["sound"], kinds, schedules, placement, identity
    )


def _read(kind: ModelKind, dtype: torch.dtype) -> Any:
    """A pipeline on the CPU.

    Raises:
        WeightsError: it is not whole, or its tokenizer does not say where tokens stand.
    """
    pipeline = read_pipeline(
        PIPELINES[kind.part],
        kind.folder,
        remedy=kind.remedy,
        dtype_of=lambda name: torch.float32 if name == EXACT else dtype,
        instead=INSTEAD[kind.part],
        without=(*WITHOUT[kind.part], "vae"),
    )
    pipeline.register_modules(vae=read_image_codec(kind.folder / "vae", kind.remedy, torch.float32))
    name = WORD_TOKENIZERS[kind.part]
    check_offsets(getattr(pipeline, name), kind.folder / name, kind.remedy)
    return pipeline


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())
