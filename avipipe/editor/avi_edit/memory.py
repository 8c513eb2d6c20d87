"""The memory plan of editing: what the models hold, each at its work."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from diffusers import AutoencoderKLWan

from avipipe import weights
from avipipe.editor.avi_edit.checkpoints import Checkpoint
from avipipe.editor.avi_edit.config import ModelConfig
from avipipe.editor.avi_edit.data.config import EncoderConfig
from avipipe.editor.avi_edit.data.encoders import tiny_encoders
from avipipe.editor.avi_edit.network.loading import blank, blank_clip
from avipipe.editor.avi_edit.sizes import TEMPORAL_STRIDE, Bucket, EditorConfig
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.memory import (
    MemoryPlan,
    device_bytes,
    peak_bytes,
    size_in_words,
    without_storage,
)

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

_VAE: Any = AutoencoderKLWan


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes of the models, and of what each holds at work beside its weights.

    Attributes:
        blocks: the part of `network` that may be offloaded block by block.
        block: one of these.
        decoding: of the VAE, which needs less to encode; `decoding_tiles`: tile by tile.
    """

    network: int
    blocks: int
    block: int
    vae: int
    text: int
    sound: int
    solving: int
    decoding: int
    decoding_tiles: int

    def phases(self, config: ModelConfig) -> dict[str, int]:
        """What is done -> bytes on the device meanwhile."""
        decoding = self.decoding_tiles if config.tiled_vae else self.decoding
        network = self.network
        if config.offload == "blocks":
            network -= self.blocks - _BLOCKS_AT_ONCE * self.block
        held = {
            "reading text": (self.text, 0),
            "hearing": (self.sound, 0),
            "solving": (network, self.solving),
            "decoding video": (self.vae, decoding),
        }
        if config.offload == "none":
            everything = self.network + self.vae + self.text + self.sound
            held = {phase: (everything, more) for phase, (_, more) in held.items()}
        return {phase: round(SLACK * sum(parts)) for phase, parts in held.items()}


def plan_memory(
    config: ModelConfig, needs: Needs, device: torch.device, *, available_bytes: int | None = None
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
    advice = []
    for way in ways:
        changed = max(needs.phases(config.model_copy(update=way)).values())
        if changed < max(phases.values()):
            settings = " ".join(f"--set models.{key}={value}" for key, value in way.items())
            advice.append(f"{settings}: {size_in_words(changed)}")
    advice.append("fewer frames at once, or a smaller picture")
    available = device_bytes(device) if available_bytes is None else available_bytes
    return MemoryPlan(phases, available, tuple(advice))


def measure(checkpoint: Checkpoint, bucket: Bucket) -> Needs:
    """What the models of a checkpoint need for clips of a size.

    Raises:
        WeightsError: the encoders' weights are missing.
    """
    encoders = checkpoint.encoders
    vae_config, encoders_bytes = _read_encoders(encoders)
    return measure_sizes(
        checkpoint.sizes(),
        bucket,
        vae_config=vae_config,
        dtype=DTYPES[checkpoint.precision],
        vae_dtype=DTYPES[encoders.precision],
        encoders_bytes=encoders_bytes,
    )


def measure_sizes(
    sizes: EditorConfig,
    bucket: Bucket,
    *,
    vae_config: Mapping[str, Any],
    dtype: torch.dtype,
    vae_dtype: torch.dtype,
    encoders_bytes: tuple[int, int, int],
) -> Needs:
    """The same for models of given sizes.

    Args:
        vae_config: of diffusers' `AutoencoderKLWan`.
        encoders_bytes: of the weights of VAE, text and sound.
    """
    with torch.device("meta"):
        model = blank(sizes)
    network, blocks = (
        sum(weight.numel() for weight in part.parameters()) * dtype.itemsize
        for part in (model, model.blocks)
    )
    vae, text, sound = encoders_bytes
    tile = replace(
        bucket,
        height_px=min(TILE_PX, bucket.height_px),
        width_px=min(TILE_PX, bucket.width_px),
    )
    picture = bucket.num_frames * 3 * bucket.height_px * bucket.width_px
    converted, copies = (count * picture for count in (_CONVERTED_BYTES, _TILED_COPIES))
    decoding = _decoding_bytes(vae_config, bucket, vae_dtype)
    by_tile = decoding if tile == bucket else _decoding_bytes(vae_config, tile, vae_dtype)
    return Needs(
        network=network,
        blocks=blocks,
        block=blocks // sizes.num_layers,
        vae=vae,
        text=text,
        sound=sound,
        solving=_solving_bytes(sizes, bucket, dtype),
        decoding=max(decoding, converted),
        decoding_tiles=max(by_tile + copies * vae_dtype.itemsize, converted),
    )


def _solving_bytes(sizes: EditorConfig, bucket: Bucket, dtype: torch.dtype) -> int:
    """Of the network; layers hold nothing once they are through, so that a few show it all."""
    few = {"num_layers": 2, "audio_layers": (0, 1), "gamr_layers": (0, 1)}
    with without_storage(dtype), torch.no_grad():
        model, clip = blank(sizes.model_copy(update=few)), blank_clip(sizes, bucket)
        return peak_bytes(model, lambda: model(**clip))


def _decoding_bytes(config: Mapping[str, Any], bucket: Bucket, dtype: torch.dtype) -> int:
    """Of the VAE, which decodes frame by latent frame, and joins the pictures one by one."""
    _, height, width = bucket.latent_size
    with without_storage(dtype), torch.no_grad():
        model = _VAE.from_config(config)
        latents = torch.empty(1, config["z_dim"], _TRACED_FRAMES, height, width)
        traced = peak_bytes(model, lambda: model.decode(latents))
    later = max(0, bucket.num_frames - TEMPORAL_STRIDE * (_TRACED_FRAMES - 1) - 1)
    return traced + _JOINED_COPIES * later * 3 * bucket.height_px * bucket.width_px * dtype.itemsize


def _read_encoders(config: EncoderConfig) -> tuple[Mapping[str, Any], tuple[int, int, int]]:
    """The configuration of the VAE, and the bytes of the weights of VAE, text and sound."""
    if config.preset == "tiny":
        tiny = tiny_encoders()
        vae, text, sound = (
            sum(weight.nbytes for weight in part.model.parameters())
            for part in (tiny.video, tiny.text, tiny.audio)
        )
        return tiny.video.model.config, (vae, text, sound)
    wan = config.wan or weights.locate("wan22_ti2v_5b")
    hearing = config.wav2vec2 or weights.locate("wav2vec2")
    size = DTYPES[config.precision].itemsize
    return _VAE.load_config(wan / "vae", local_files_only=True), (
        size * _num_weights(wan / "vae"),
        size * _num_weights(wan / "text_encoder"),
        torch.float32.itemsize * _num_weights(hearing),
    )


def _num_weights(folder: Path) -> int:
    """In the safetensors files of a folder; only their heads are read."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, "pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]
        total += sum(torch.Size(shape).numel() for shape in shapes)
    return total
