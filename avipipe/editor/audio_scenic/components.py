"""The models of AudioScenic: loaded, inflated, placed, and asked in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from avipipe import weights
from avipipe.annotators.base import Frames, Mask, Wave
from avipipe.annotators.loading import read_model
from avipipe.annotators.reading import pull_again
from avipipe.editor.audio_scenic.config import ScenicModelsConfig, ScenicSettings
from avipipe.editor.audio_scenic.frequency import LowPass
from avipipe.editor.audio_scenic.hearing import Heard, loudness, mel_bands, scene_cells
from avipipe.editor.audio_scenic.imagebind_reader import (
    ImageBindReader,
    imagebind_sizes,
    load_imagebind_reader,
)
from avipipe.editor.audio_scenic.inflate import inflate, tuned
from avipipe.editor.audio_scenic.memory import (
    CONTROLNET,
    UNET,
    ScenicSizes,
    clap_sizes,
    depth_bytes,
    measure,
    read_sizes,
)
from avipipe.editor.audio_scenic.network import SceneNetwork
from avipipe.editor.audio_scenic.readers import (
    DepthReader,
    SoundReader,
    load_depth_reader,
    load_sound_reader,
    read_blank,
)
from avipipe.editor.audio_scenic.trained import FOLDER as TRAINED
from avipipe.editor.audio_scenic.trained import load_trained
from avipipe.editor.common.canvas import check_sizes
from avipipe.editor.common.diffusion import Schedule, load_schedule
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.image_codec import (
    ImageCodec,
    channels_of,
    read_image_codec,
    stride_of,
    to_uint8,
)
from avipipe.editor.common.memory import MemoryPlan
from avipipe.editor.common.needs import plan_memory
from avipipe.editor.common.placement import Placement
from avipipe.editor.common.pretrained import identity_of, ready
from avipipe.errors import WeightsError
from avipipe.weights.digests import digest

PULLED = {
    "diffusion": "stable_diffusion_15",
    "controlnet": "controlnet_depth",
    "depth": "depth_anything_small",
    "clap": "clap",
}
"""Setting of `models` -> the weight that is used where it names no folder."""


@dataclass(frozen=True, slots=True)
class ScenicModels:
    """The models, and what is asked of them. All tensors come and go on the CPU.

    Attributes:
        untuned: values of what is tuned, as they were before.
        identity: what the models are: part -> hash of its weights and settings.
    """

    network: SceneNetwork
    schedule: Schedule
    codec: ImageCodec
    sound: SoundReader | ImageBindReader
    depth: DepthReader
    placement: Placement
    untuned: Sequence[Tensor]
    identity: Mapping[str, str]

    @property
    def stride_px(self) -> int:
        """Pixels along a side of a latent cell."""
        return stride_of(self.codec.model.config)

    @property
    def cell_px(self) -> int:
        """Pixels along a side of the coarsest cell of the network."""
        return self.stride_px * _halvings(self.network.unet.config)

    def encode(self, frames_FHWC: Frames) -> Tensor:
        """Latents (F, C, h, w), float32."""
        with self.placement.at_work(self.codec.model):
            return self.codec.encode(frames_FHWC)

    def decode(self, latents_FChw: Tensor) -> Frames:
        """Frames (F, H, W, 3), uint8."""
        with self.placement.at_work(self.codec.model):
            return to_uint8(self.codec.decode(latents_FChw))

    def shapes(self, frames_FHWC: Frames) -> Tensor:
        """How near each pixel is, (F, 3, H, W) in [0, 1]."""
        with self.placement.at_work(self.depth.model):
            return self.depth.shapes(frames_FHWC)

    def hear(self, wave_N: Wave, mask_FHW: Mask, settings: ScenicSettings) -> Heard:
        """A sound, heard in a mask of the scene.

        Args:
            wave_N: mono at 16 kHz, as long as the frames.
        """
        with self.placement.at_work(self.sound.model):
            meaning_D = self.sound.meaning(wave_N)
        num_frames, *size = mask_FHW.shape
        cells = (size[0] // self.stride_px, size[1] // self.stride_px)
        return Heard(
            meaning_D,
            loudness(wave_N, num_frames, settings.temperature),
            mel_bands(wave_N, num_frames),
            scene_cells(mask_FHW, cells),
            settings.magnitude,
            settings.frequency,
        )


def plan_components(
    config: ScenicModelsConfig,
    settings: ScenicSettings,
    sizes: Sequence[tuple[int, int]],
    num_frames: int,
) -> MemoryPlan:
    """What tuning and an edit will hold, before anything but configurations is read.

    Args:
        sizes, num_frames: as of `load_components`.
    Raises:
        WeightsError: weights are missing, or of another kind.
        ConfigError: there is no such device, or the network cannot take such pictures.
    """
    placement = Placement.of(config)
    folders, remedies = _folders(config)
    found = read_sizes(
        folders["diffusion"],
        folders["controlnet"],
        (remedies["diffusion"], remedies["controlnet"]),
    )
    _check_kind(folders, found)
    check_sizes(sizes, stride_of(found.vae) * _halvings(found.unet), "audio_scenic.sizes")
    num_meaning, hearing = _sound_sizes(config, folders, remedies)
    readers = {
        "hearing": hearing,
        "seeing depth": depth_bytes(folders["depth"], remedies["depth"]),
    }
    largest = max(sizes, key=lambda size: size[0] * size[1])
    needs = measure(found, num_meaning, largest, num_frames, config.precision, readers)
    return plan_memory(config, needs, placement.device)


def load_components(
    config: ScenicModelsConfig,
    settings: ScenicSettings,
    sizes: Sequence[tuple[int, int]],
    num_frames: int,
) -> ScenicModels:
    """Load everything; nothing is ever downloaded.

    Args:
        sizes: widths and heights of pictures.
        num_frames: most that will be edited at once.
    Raises:
        WeightsError: weights are missing, not whole, or of another kind.
        ConfigError: there is no such device, or the network cannot take such pictures.
        RunError: too little memory; what would help.
    """
    plan_components(config, settings, sizes, num_frames).check()
    placement = Placement.of(config)
    folders, remedies = _folders(config)
    diffusion, dtype = folders["diffusion"], DTYPES[config.precision]
    num_meaning, _ = _sound_sizes(config, folders, remedies)
    unet = read_model(UNET, diffusion / "unet", remedy=remedies["diffusion"], is_exact=True)
    low = LowPass(settings.space_stop, settings.time_stop, settings.response)
    placement.settle(inflate(unet, num_meaning, low))
    load_trained(unet, diffusion, remedies["diffusion"])
    unet.enable_gradient_checkpointing()
    for weight in tuned(unet).values():
        weight.requires_grad_(True)
    controlnet = read_model(
        CONTROLNET, folders["controlnet"], remedy=remedies["controlnet"], torch_dtype=dtype
    )
    vae = read_image_codec(diffusion / "vae", remedies["diffusion"], dtype)
    if config.tiled_vae:
        vae.enable_tiling()
    sound = _sound_reader(config, folders, remedies)
    depth = load_depth_reader(folders["depth"], remedies["depth"])
    for model in (controlnet, vae, sound.model, depth.model):
        ready(model, placement.home)
    blank_1LD = read_blank(diffusion, remedies["diffusion"])
    return ScenicModels(
        SceneNetwork(unet, controlnet, blank_1LD, dtype, settings.control),
        load_schedule(diffusion / "scheduler", remedies["diffusion"]),
        ImageCodec(vae),
        sound,
        depth,
        placement,
        [weight.detach().cpu().clone() for weight in tuned(unet).values()],
        _identity(config, folders),
    )


def pulled_of(config: ScenicModelsConfig) -> list[str]:
    """The weights that a configuration takes of those that are pulled."""
    named = {name for name in PULLED if getattr(config, name) is not None}
    if config.imagebind is not None:
        named.add("clap")  # it hears in its place
    return [weight for name, weight in PULLED.items() if name not in named]


def _folders(config: ScenicModelsConfig) -> tuple[dict[str, Path], dict[str, str]]:
    """Where each model lies, and what to do where it does not.

    Raises:
        WeightsError: weights are missing: all that are.
    """
    given: dict[str, Path | None] = {name: getattr(config, name) for name in PULLED}
    weights.require(pulled_of(config))
    if config.imagebind is not None:
        del given["clap"]
    folders = {name: folder or weights.locate(PULLED[name]) for name, folder in given.items()}
    remedies = {
        name: pull_again(PULLED[name])
        if folder is None
        else f"Name the folder of a whole one in models.{name}"
        for name, folder in given.items()
    }
    return folders, remedies


def _identity(config: ScenicModelsConfig, folders: Mapping[str, Path]) -> dict[str, str]:
    """What all depends on that the models compute."""
    parts: dict[str, tuple[Path, ...]] = {name: (folder,) for name, folder in folders.items()}
    of_diffusion = ("unet", "vae", "text_encoder", "tokenizer", "scheduler", TRAINED)
    parts["diffusion"] = tuple(folders["diffusion"] / part for part in of_diffusion)
    found = {name: identity_of(config.precision, *each) for name, each in parts.items()}
    return found if config.imagebind is None else {**found, "imagebind": digest(config.imagebind)}


def _sound_sizes(
    config: ScenicModelsConfig, folders: Mapping[str, Path], remedies: Mapping[str, str]
) -> tuple[int, int]:
    """Size of a sound's embedding, and bytes of the weights of what reads it."""
    if config.imagebind is not None:
        return imagebind_sizes(config.imagebind)
    return clap_sizes(folders["clap"], remedies["clap"])


def _sound_reader(
    config: ScenicModelsConfig, folders: Mapping[str, Path], remedies: Mapping[str, str]
) -> SoundReader | ImageBindReader:
    if config.imagebind is not None:
        return load_imagebind_reader(config.imagebind)
    return load_sound_reader(folders["clap"], remedies["clap"])


def _check_kind(folders: Mapping[str, Path], sizes: ScenicSizes) -> None:
    """Refuse what is no Stable Diffusion that makes images of text alone, or no ControlNet of it.

    Raises:
        WeightsError: it is not.
    """
    unet, latent = sizes.unet, channels_of(sizes.vae)
    taken, given = unet["in_channels"], unet["out_channels"]
    more = [
        key
        for key in (
            "class_embed_type",
            "num_class_embeds",
            "addition_embed_type",
            "time_cond_proj_dim",
        )
        if unet.get(key) is not None
    ]
    if not taken == given == latent or more or unet["resnet_time_scale_shift"] != "default":
        raise WeightsError(
            f"{folders['diffusion']}: expected a Stable Diffusion that makes images of text alone, "
            f"such as 1.5, found one that takes {taken} and gives {given} channels, for latents of "
            f"{latent}{', with ' + ', '.join(more) if more else ''}; use another"
        )
    same = ("block_out_channels", "cross_attention_dim", "in_channels", "layers_per_block")
    if differing := [key for key in same if _listed(unet[key]) != _listed(sizes.controlnet[key])]:
        raise WeightsError(
            f"{folders['controlnet']}: expected a ControlNet of the very Stable Diffusion in "
            f"{folders['diffusion']}, found one with other {', '.join(differing)}; use another"
        )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _halvings(unet: Mapping[str, Any]) -> int:
    """Latent cells along a side of the coarsest cell of a UNet."""
    return int(2 ** (len(unet["block_out_channels"]) - 1))
