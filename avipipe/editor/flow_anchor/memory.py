"""The memory plan of FlowAnchor: what Wan holds at its work, with attention anchored."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from avipipe.annotators.reading import reading
from avipipe.editor.common.codec import read_config
from avipipe.editor.common.dtypes import DTYPES, Precision
from avipipe.editor.common.memory import peak_bytes, weight_bytes, without_storage
from avipipe.editor.common.needs import Needs, decoding_needs, num_weights
from avipipe.editor.common.pretrained import whole_config
from avipipe.editor.common.text import MAX_TOKENS
from avipipe.editor.flow_anchor.sar import Anchors, anchored

NETWORK: Any = WanTransformer3DModel
"""Untyped in its library."""

_LATENTS_HELD = 8
"""Source, noisy, edited and changes, each in float32."""


def read_sizes(wan: Path, remedy: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The whole configurations of the network and the VAE in a folder.

    Args:
        remedy: what to do where there are none.
    Raises:
        WeightsError: they cannot be read.
    """
    with reading(wan, "Wan in diffusers' layout", remedy):
        network = whole_config(NETWORK, wan / "transformer")
    return network, read_config(wan, remedy)


def encoders_bytes(wan: Path, precision: Precision) -> tuple[int, int]:
    """Bytes of the weights of VAE and UMT5 in a folder."""
    vae, text = (
        DTYPES[precision].itemsize * num_weights(wan / part) for part in ("vae", "text_encoder")
    )
    return vae, text


def measure(
    network: Mapping[str, Any],
    vae: Mapping[str, Any],
    size: tuple[int, int],
    num_frames: int,
    precision: Precision,
    encoders_bytes: tuple[int, int],
) -> Needs:
    """What models need for parts of a size.

    Args:
        network, vae: configurations, as `read_sizes` gives them.
        size: width and height in pixels.
        encoders_bytes: of the weights of VAE and UMT5.
    """
    dtype = DTYPES[precision]
    with torch.device("meta"):
        model = NETWORK.from_config(network)
    whole, blocks = (weight_bytes(part, dtype) for part in (model, model.blocks))
    decoding, decoding_tiles = decoding_needs(vae, size, num_frames, dtype)
    return Needs(
        network=whole,
        blocks=blocks,
        block=blocks // len(model.blocks),
        vae=encoders_bytes[0],
        readers={"reading text": encoders_bytes[1]},
        solving=_solving_bytes(network, _latent_size(vae, size, num_frames), dtype),
        decoding=decoding,
        decoding_tiles=decoding_tiles,
    )


def _latent_size(
    vae: Mapping[str, Any], size: tuple[int, int], num_frames: int
) -> tuple[int, int, int]:
    width, height = (side // vae["scale_factor_spatial"] for side in size)
    return (num_frames - 1) // vae["scale_factor_temporal"] + 1, height, width


def _solving_bytes(
    config: Mapping[str, Any], latent_size: tuple[int, int, int], dtype: torch.dtype
) -> int:
    """Of the network; layers hold nothing once they are through, so that a few show it all."""
    with without_storage(dtype), torch.no_grad():
        model = NETWORK.from_config({**config, "num_layers": 2})
        latents = torch.empty(1, model.config.in_channels, *latent_size)
        text = torch.empty(1, MAX_TOKENS, model.config.text_dim)
        num_tokens = latents[0, 0].numel() // math.prod(model.config.patch_size)
        inside, words = (torch.empty(n, dtype=torch.bool) for n in (num_tokens, MAX_TOKENS))
        timestep = torch.empty(1, dtype=torch.float32)
        with anchored(model, Anchors(words, inside, 0.3, 0.3)):
            network = peak_bytes(model, lambda: model(latents, timestep, text))
    return network + _LATENTS_HELD * latents.numel() * torch.float32.itemsize
