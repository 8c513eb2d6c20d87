"""The memory plan of editing with a network, a VAE and what reads for it, each at its work."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import safetensors
import torch

from avipipe.editor.common.codec import blank_codec
from avipipe.editor.common.image_codec import blank_image_codec, channels_of, stride_of
from avipipe.editor.common.memory import (
    MemoryPlan,
    device_bytes,
    less_by,
    peak_bytes,
    without_storage,
)
from avipipe.editor.common.placement import PlacementConfig

SLACK = 1.1
"""For fragments of memory, and workspaces of convolutions and products."""

TILE_PX = 256
"""Side of a tile that diffusers' VAE of Wan encodes and decodes at once."""

_BLOCKS_AT_ONCE = 2
"""One at work and one on its way."""

_TRACED_FRAMES = 3
"""Latent frames of which the last is decoded as all later ones are."""

_JOINED_COPIES = 2
"""Of the pictures so far: before and after some more are joined to them."""

_CONVERTED_BYTES = 7
"""Of each value of a picture, on its way between uint8 and the VAE's type by way of float32."""

_TILED_COPIES = 3
"""Of a picture that is put together of tiles: these, rows of them, and the whole."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes of the models, and of what each holds at work beside its weights.

    Attributes:
        blocks: the part of `network` that may be offloaded block by block.
        block: one of these.
        readers: what else is done -> bytes of the model that does it.
        decoding: of the VAE, which needs less to encode; `decoding_tiles`: tile by tile.
    """

    network: int
    blocks: int
    block: int
    vae: int
    readers: Mapping[str, int]
    solving: int
    decoding: int
    decoding_tiles: int

    def phases(self, config: PlacementConfig) -> dict[str, int]:
        """What is done -> bytes on the device meanwhile."""
        decoding = self.decoding_tiles if config.tiled_vae else self.decoding
        network = self.network
        if config.offload == "blocks":
            network -= self.blocks - _BLOCKS_AT_ONCE * self.block
        held = {
            **{phase: (size, 0) for phase, size in self.readers.items()},
            "solving": (network, self.solving),
            "decoding video": (self.vae, decoding),
        }
        if config.offload == "none":
            everything = self.network + self.vae + sum(self.readers.values())
            held = {phase: (everything, more) for phase, (_, more) in held.items()}
        return {phase: round(SLACK * sum(parts)) for phase, parts in held.items()}


def plan_memory(
    config: PlacementConfig,
    needs: Needs,
    device: torch.device,
    *,
    available_bytes: int | None = None,
) -> MemoryPlan:
    """What an edit will hold.

    Args:
        available_bytes: else all memory of the device.
    """
    phases = needs.phases(config)
    ways = [
        {"tiled_vae": "true"},
        {"offload": "models"},
        {"offload": "models", "tiled_vae": "true"},
        {"offload": "blocks", "tiled_vae": "true"},
    ]
    # Not every method can have its network come and go block by block.
    offloads = get_args(type(config).model_fields["offload"].annotation)
    tried = [
        (way, max(needs.phases(config.model_copy(update=way)).values()))
        for way in ways
        if way.get("offload", "none") in offloads
    ]
    advice = less_by(max(phases.values()), tried)
    available = device_bytes(device) if available_bytes is None else available_bytes
    return MemoryPlan(phases, available, (*advice, "fewer frames at once, or a smaller picture"))


def decoding_needs(
    vae: Mapping[str, Any], size: tuple[int, int], num_frames: int, dtype: torch.dtype
) -> tuple[int, int]:
    """What a VAE holds to decode a video at once, and tile by tile, beside its weights.

    Args:
        vae: configuration, as `blank_codec` takes it.
        size: width and height.
    """
    width, height = size
    picture = num_frames * 3 * height * width
    converted, copies = (count * picture for count in (_CONVERTED_BYTES, _TILED_COPIES))
    tile = (min(TILE_PX, width), min(TILE_PX, height))
    whole = _decoding_bytes(vae, size, num_frames, dtype)
    by_tile = whole if tile == size else _decoding_bytes(vae, tile, num_frames, dtype)
    return max(whole, converted), max(by_tile + copies * dtype.itemsize, converted)


def image_decoding_needs(
    vae: Mapping[str, Any], size: tuple[int, int], dtype: torch.dtype
) -> tuple[int, int]:
    """What a VAE of images holds to decode one at once, and tile by tile, beside its weights.

    Args:
        vae: configuration, as `blank_image_codec` takes it.
        size: width and height.
    """
    width, height = (side // stride_of(vae) for side in size)
    with without_storage(dtype), torch.no_grad():
        model = blank_image_codec(vae)
        latents = torch.empty(1, channels_of(vae), height, width)
        whole = peak_bytes(model, lambda: model.decode(latents))
        model.enable_tiling()
        return whole, peak_bytes(model, lambda: model.decode(latents))


def _decoding_bytes(
    config: Mapping[str, Any], size: tuple[int, int], num_frames: int, dtype: torch.dtype
) -> int:
    """Of the VAE, which decodes frame by latent frame, and joins the pictures one by one."""
    with without_storage(dtype), torch.no_grad():
        model = blank_codec(config)
        width, height = (side // model.config.scale_factor_spatial for side in size)
        latents = torch.empty(1, model.config.z_dim, _TRACED_FRAMES, height, width)
        traced = peak_bytes(model, lambda: model.decode(latents))
    stride = int(model.config.scale_factor_temporal)
    later = max(0, num_frames - stride * (_TRACED_FRAMES - 1) - 1)
    return traced + _JOINED_COPIES * later * 3 * size[0] * size[1] * dtype.itemsize


def num_weights(folder: Path) -> int:
    """Number of weights in a folder's safetensors files; only their heads are read."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, "pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]
        total += sum(torch.Size(shape).numel() for shape in shapes)
    return total
