"""The memory plan of AudioScenic: what tuning, editing and decoding hold at their work."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import (
    ClapConfig,
    ClapModel,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
)

from avipipe.annotators.reading import reading
from avipipe.editor.audio_scenic.frequency import LowPass
from avipipe.editor.audio_scenic.hearing import NUM_BANDS, Heard
from avipipe.editor.audio_scenic.inflate import inflate, tuned
from avipipe.editor.audio_scenic.network import SceneNetwork
from avipipe.editor.common.dtypes import DTYPES, Precision
from avipipe.editor.common.image_codec import blank_image_codec, read_image_config, stride_of
from avipipe.editor.common.memory import peak_bytes, weight_bytes, without_storage
from avipipe.editor.common.needs import SLACK, Needs, image_decoding_needs
from avipipe.editor.common.placement import PlacementConfig
from avipipe.editor.common.pretrained import whole_config

UNET: Any = UNet2DConditionModel
CONTROLNET: Any = ControlNetModel
"""Untyped in their library."""

_WORDS = 77
"""Tokens that CLIP reads."""

_ADAM_BYTES = 2 * torch.float32.itemsize
"""Of each weight that is tuned: two moments."""

_LATENTS_HELD = 4
"""Before and after a step, what the network says, and noise, each in float32."""


@dataclass(frozen=True, slots=True)
class ScenicSizes:
    """Whole configurations of the networks, as diffusers has them."""

    unet: Mapping[str, Any]
    controlnet: Mapping[str, Any]
    vae: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScenicNeeds(Needs):
    """What editing needs, and tuning.

    Attributes:
        unet: bytes of its weights alone.
        tuning: of what tuning holds beside these.
    """

    unet: int
    tuning: int

    def phases(self, config: PlacementConfig) -> dict[str, int]:
        """What is done -> bytes on the device meanwhile."""
        standing = self.unet
        if config.offload == "none":
            standing = self.network + self.vae + sum(self.readers.values())
        tuning = round(SLACK * (standing + self.tuning))
        return {"tuning": tuning, **Needs.phases(self, config)}


def read_sizes(diffusion: Path, controlnet: Path, remedies: tuple[str, str]) -> ScenicSizes:
    """The configurations in the folders.

    Args:
        remedies: what to do where there are none, for each.
    Raises:
        WeightsError: they cannot be read.
    """
    with reading(diffusion, "Stable Diffusion in diffusers' layout", remedies[0]):
        unet = whole_config(UNET, diffusion / "unet")
    vae = read_image_config(diffusion / "vae", remedies[0])
    with reading(controlnet, "a ControlNet in diffusers' layout", remedies[1]):
        return ScenicSizes(unet, whole_config(CONTROLNET, controlnet), vae)


def clap_sizes(folder: Path, remedy: str) -> tuple[int, int]:
    """Size of the embeddings of a CLAP, and bytes of its weights.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it cannot be read.
    """
    with reading(folder, "CLAP", remedy), torch.device("meta"):
        model = ClapModel(ClapConfig.from_pretrained(folder, local_files_only=True))
    return model.config.projection_dim, weight_bytes(model, torch.float32)


def depth_bytes(folder: Path, remedy: str) -> int:
    """Bytes of the weights of a Depth Anything.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it cannot be read.
    """
    with reading(folder, "Depth Anything", remedy), torch.device("meta"):
        config = DepthAnythingConfig.from_pretrained(folder, local_files_only=True)
        model = DepthAnythingForDepthEstimation(config)
    return weight_bytes(model, torch.float32)


def measure(
    sizes: ScenicSizes,
    num_meaning: int,
    size: tuple[int, int],
    num_frames: int,
    precision: Precision,
    readers: Mapping[str, int],
) -> ScenicNeeds:
    """What models need for parts of a size.

    Args:
        num_meaning: size of a sound's embedding.
        size: width and height in pixels.
        readers: what else is done -> bytes of the weights of the model that does it.
    """
    dtype = DTYPES[precision]
    grid = (num_frames, *(side // stride_of(sizes.vae) for side in size[::-1]))
    with without_storage():
        network = _blank(sizes, num_meaning, dtype)
        given = _blank_video(network, grid)
        with torch.no_grad():
            shapes = torch.empty(num_frames, 3, size[1], size[0])
            solving = peak_bytes(_all_of(network), lambda: network.says(*given, shapes))
        tuning = peak_bytes(
            network.unet, lambda: torch.autograd.backward(network.says(*given).sum())
        )
    unet = weight_bytes(network.unet)
    num_tuned = sum(weight.numel() for weight in tuned(network.unet).values())
    latents = _LATENTS_HELD * given[0].nbytes
    with torch.device("meta"):
        vae = weight_bytes(blank_image_codec(sizes.vae), dtype)
    decoding, decoding_tiles = image_decoding_needs(sizes.vae, size, dtype)
    return ScenicNeeds(
        network=unet + weight_bytes(network.controlnet),
        blocks=0,
        block=0,
        vae=vae,
        readers=readers,
        solving=solving + shapes.nbytes + latents,
        decoding=decoding,
        decoding_tiles=decoding_tiles,
        unet=unet,
        tuning=tuning + _ADAM_BYTES * num_tuned + latents,
    )


def _blank(sizes: ScenicSizes, num_meaning: int, dtype: torch.dtype) -> SceneNetwork:
    """The networks without weights of any worth."""
    unet = UNET.from_config(sizes.unet)
    unet.enable_gradient_checkpointing()
    inflate(unet, num_meaning, LowPass(1.0, 1.0)).requires_grad_(False)
    for weight in tuned(unet).values():
        weight.requires_grad_(True)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # tensors without storage cannot be given another type later
    controlnet = CONTROLNET.from_config(sizes.controlnet).requires_grad_(False)
    torch.set_default_dtype(default)
    words = torch.empty(1, _WORDS, sizes.unet["cross_attention_dim"])
    return SceneNetwork(unet, controlnet, words, dtype, 1.0)


def _blank_video(network: SceneNetwork, grid: tuple[int, ...]) -> tuple[Tensor, int, Heard]:
    """Latents of so many frames, a timestep, and a sound."""
    num_frames, *cells = grid
    num_meaning = network.unet.time_embedding.meaning.in_features
    heard = Heard(
        torch.empty(num_meaning),
        torch.empty(num_frames),
        torch.empty(num_frames, NUM_BANDS),
        torch.empty(num_frames, 1, *cells),
    )
    return torch.empty(num_frames, network.unet.config.in_channels, *cells), 0, heard


def _all_of(network: SceneNetwork) -> nn.Module:
    return nn.ModuleList([network.unet, network.controlnet])
