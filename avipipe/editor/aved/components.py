"""The models of AvED: Stable Diffusion and AudioLDM 2, loaded, placed, and asked in turn.

Shapes: K frames (K, H, W, 3), latents (K, C, h, w) of them and (1, C, h, w) of a sound.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers as typed_diffusers
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel

from avipipe import weights
from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.loading import read_pipeline
from avipipe.annotators.reading import pull_again
from avipipe.editor.aved.config import AvedModelsConfig, AvedSettings
from avipipe.editor.aved.denoise import Denoiser, NoiseLaw, Reading, Readings
from avipipe.editor.aved.memory import checkpoint_blocks, plan_joint_memory
from avipipe.editor.aved.relevance import Words, transformers_of
from avipipe.editor.aved.sound import MelForm
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.placement import Placement
from avipipe.editor.common.pretrained import identity_of
from avipipe.editor.common.text import clean
from avipipe.editor.common.words import Span, marked_tokens
from avipipe.errors import ConfigError, WeightsError

diffusers: Any = typed_diffusers
"""Its pipelines are built in ways that a type checker cannot follow."""

SOUND_WEIGHTS = "audioldm2_large"

EXACT = ("vae", "vocoder")
"""Parts that make pictures and waves: small, and rounding there would be seen and heard."""

SOUND_READERS = ("text_encoder", "text_encoder_2", "projection_model", "language_model")
"""What reads prompts for AudioLDM 2."""


@dataclass(frozen=True, slots=True)
class AvedModels:
    """The models, and what is asked of them. All tensors come and go on the CPU.

    Attributes:
        pictures: diffusers' `StableDiffusionPipeline`.
        sounds: diffusers' `AudioLDM2Pipeline`.
        identity: what the models are: part -> hash of its weights and settings.
    """

    pictures: Any
    sounds: Any
    placement: Placement
    identity: Mapping[str, str]

    @property
    def stride_px(self) -> int:
        """Pixels along a side of a latent cell of pictures."""
        return 2 ** (len(self.pictures.vae.config.block_out_channels) - 1)

    @property
    def mel_form(self) -> MelForm:
        """How spectra lie in time; all levels of the network halve them evenly."""
        vocoder, halvings = (
            self.sounds.vocoder.config,
            len(self.sounds.vae.config.block_out_channels),
        )
        halvings += len(self.sounds.unet.config.block_out_channels) - 2
        hop = int(np.prod(vocoder.upsample_rates))
        return MelForm(hop, vocoder.model_in_dim, vocoder.sampling_rate, 2**halvings)

    @torch.no_grad()
    def encode_frames(self, frames_KHWC: Frames) -> Tensor:
        """Latents (K, C, h, w) as the network knows them, of each frame by itself."""
        vae = self.pictures.vae
        frames_KCHW = torch.from_numpy(np.ascontiguousarray(frames_KHWC)).permute(0, 3, 1, 2)
        with self._at_work(vae):
            found = [
                vae.encode(frame.to(vae.device).float() / 127.5 - 1).latent_dist.mode().cpu()
                for frame in frames_KCHW.split(1)
            ]
        return torch.cat(found) * vae.config.scaling_factor

    @torch.no_grad()
    def decode_frames(self, latents_KChw: Tensor) -> npt.NDArray[np.float32]:
        """Frames (K, H, W, 3), from 0 to 255 but for what overshoots, float32."""
        vae = self.pictures.vae
        with self._at_work(vae):
            found = [
                vae.decode(latents.to(vae.device) / vae.config.scaling_factor).sample.cpu()
                for latents in latents_KChw.split(1)
            ]
        return ((torch.cat(found) + 1) * 127.5).permute(0, 2, 3, 1).contiguous().numpy()

    @torch.no_grad()
    def encode_sound(self, spectra_TM: Tensor) -> Tensor:
        """Latents (1, C, h, w) of logarithmic mel spectra: h by time, w by frequency."""
        vae = self.sounds.vae
        with self._at_work(vae):
            found: Tensor = vae.encode(spectra_TM[None, None].to(vae.device)).latent_dist.mode()
        return found.cpu() * vae.config.scaling_factor

    @torch.no_grad()
    def decode_sound(self, latents: Tensor) -> Wave:
        """A wave (N,), about as long as the spectra were."""
        vae, vocoder = self.sounds.vae, self.sounds.vocoder
        with self._at_work(vae, vocoder):
            spectra = vae.decode(latents.to(vae.device) / vae.config.scaling_factor).sample
            wave: Tensor = self.sounds.mel_spectrogram_to_waveform(spectra)
        return wave[0].numpy()

    @torch.no_grad()
    def read_for_pictures(self, prompt: str) -> Reading:
        """A prompt as Stable Diffusion reads it."""
        pipeline = self.pictures
        with self._at_work(pipeline.text_encoder):
            device = pipeline.text_encoder.device
            states = pipeline.encode_prompt(clean(prompt), device, 1, False)[0]
        return Reading({"encoder_hidden_states": states.cpu()})

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
            }
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
                NoiseLaw.of(self.pictures.scheduler),
                placed(pictures, device, "encoder_hidden_states"),
                guidance=settings.picture_guidance,
                block=settings.picture_block,
                side=settings.grid_side,
            ),
            Denoiser(
                self.sounds.unet,
                NoiseLaw.of(self.sounds.scheduler),
                placed(padded(sounds), device, "encoder_hidden_states_1"),
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
        return Reading({**reading.arguments, **longer}, reading.words)

    return Readings(*(fit(reading) for reading in every))


def placed(readings: Readings, device: torch.device, states: str) -> Readings:
    """Prompts on a device; the words of each are looked for in the argument that holds them."""

    def place(reading: Reading) -> Reading:
        arguments = {name: value.to(device) for name, value in reading.arguments.items()}
        if reading.words is None:
            return Reading(arguments)
        return Reading(arguments, Words(reading.words.marks_L.to(device), arguments[states]))

    return Readings(place(readings.source), place(readings.target), place(readings.away))


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
        ConfigError: there is no such device or block, or the network cannot take such pictures.
        RunError: too little memory; what would help.
    """
    placement = Placement.of(config)
    needed = [] if config.picture else [config.picture_weights]
    weights.require([*needed, *([] if config.sound else [SOUND_WEIGHTS])])
    folders = {
        "picture": config.picture or weights.locate(config.picture_weights),
        "sound": config.sound or weights.locate(SOUND_WEIGHTS),
    }
    remedies = {
        "picture": "Name the folder of a whole StableDiffusionPipeline"
        if config.picture
        else pull_again(config.picture_weights),
        "sound": "Name the folder of a whole AudioLDM2Pipeline"
        if config.sound
        else pull_again(SOUND_WEIGHTS),
    }
    largest = max(sizes, key=lambda size: size[0] * size[1])
    plan = plan_joint_memory(config, settings, folders, remedies, largest, num_frames)
    plan.check()
    dtype = DTYPES[config.precision]

    def read(kind: Any, part: str, instead: Mapping[str, Any], without: Sequence[str]) -> Any:
        return read_pipeline(
            kind,
            folders[part],
            remedy=remedies[part],
            dtype_of=lambda name: torch.float32 if name in EXACT else dtype,
            instead=instead,
            without=without,
        )

    pictures = read(
        diffusers.StableDiffusionPipeline,
        "picture",
        {},
        ("safety_checker", "feature_extractor", "image_encoder"),
    )
    # Its index names a class of GPT-2 that can no longer generate.
    gpt2 = {"language_model": GPT2LMHeadModel}
    sounds = read(diffusers.AudioLDM2Pipeline, "sound", gpt2, ())
    models = AvedModels(
        pictures,
        sounds,
        placement,
        {part: identity_of(config.precision, *_parts(folder)) for part, folder in folders.items()},
    )
    _check(models, settings, sizes, remedies)
    for model in _models(pictures, sounds):
        model.requires_grad_(False).to(placement.home)
    for network in (pictures.unet, sounds.unet):
        checkpoint_blocks(network)
    if config.tiled_vae:
        pictures.vae.enable_tiling()
    return models


def _models(*pipelines: Any) -> list[Any]:
    parts = [part for pipeline in pipelines for part in pipeline.components.values()]
    return [part for part in parts if isinstance(part, torch.nn.Module)]


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _check(
    models: AvedModels,
    settings: AvedSettings,
    sizes: Sequence[tuple[int, int]],
    remedies: Mapping[str, str],
) -> None:
    """Refuse models that make other things of other inputs, and what they cannot take.

    Raises:
        WeightsError: a network or a tokenizer is of another kind.
        ConfigError: there is no such block, or no such size.
    """
    pipelines = {"picture": models.pictures, "sound": models.sounds}
    for part, pipeline in pipelines.items():
        network, latent = pipeline.unet.config, pipeline.vae.config.latent_channels
        if not network.in_channels == network.out_channels == latent:
            raise WeightsError(
                f"models.{part}: expected a network that makes latents of text alone, found one "
                f"that takes {network.in_channels} and gives {network.out_channels} channels, for "
                f"latents of {latent}. {remedies[part]}"
            )
        block = getattr(settings, f"{part}_block")
        able = [
            index
            for index, each in enumerate(pipeline.unet.up_blocks)
            if next(transformers_of(each), None) is not None
        ]
        if block not in able:
            raise ConfigError(
                f"aved.{part}_block: expected a block with attention, one of "
                f"{', '.join(map(str, able))}, got {block}"
            )
    for part, tokenizer in (
        ("picture", models.pictures.tokenizer),
        ("sound", models.sounds.tokenizer_2),
    ):
        if not tokenizer.is_fast:
            raise WeightsError(
                f"models.{part}: expected a tokenizer that tells where its tokens stand, with a "
                f"tokenizer.json, found none. {remedies[part]}"
            )
    cell_px = cell_of(models)
    for width, height in sizes:
        if width % cell_px or height % cell_px:
            raise ConfigError(
                f"expected frames with sides that {cell_px} divides, got {width}x{height}; change "
                "output.size or aved.sizes"
            )


def cell_of(models: AvedModels) -> int:
    """Pixels along a side of the coarsest token that is looked at: frames hold whole ones."""
    blocks = list(models.pictures.unet.up_blocks)
    coarsest = next(i for i, block in enumerate(blocks) if next(transformers_of(block), None))
    return models.stride_px * 2 ** (len(blocks) - 1 - coarsest)
