"""The models of FlowAnchor: a Wan with its VAE and UMT5, loaded, placed, and asked in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from avipipe import weights
from avipipe.annotators.base import Frames, Mask
from avipipe.annotators.loading import read_model
from avipipe.annotators.reading import pull_again
from avipipe.editor.common.canvas import check_sizes
from avipipe.editor.common.cells import touched_cells
from avipipe.editor.common.codec import VideoEncoder, load_codec
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.memory import MemoryPlan
from avipipe.editor.common.needs import plan_memory
from avipipe.editor.common.placement import Placement
from avipipe.editor.common.pretrained import identity_of
from avipipe.editor.common.text import TextEncoder, load_text_encoder
from avipipe.editor.common.words import check_offsets
from avipipe.editor.flow_anchor.config import WanConfig
from avipipe.editor.flow_anchor.memory import NETWORK, encoders_bytes, measure, read_sizes
from avipipe.errors import WeightsError


@dataclass(frozen=True, slots=True)
class WanModels:
    """The models, and what is asked of them. All tensors come and go on the CPU.

    Attributes:
        network: diffusers' `WanTransformer3DModel`.
        identity: what the models are: part -> hash of its weights and settings.
    """

    network: Any
    video: VideoEncoder
    text: TextEncoder
    placement: Placement
    identity: Mapping[str, str]

    def encode_video(self, frames_FHWC: Frames) -> Tensor:
        """Normalised latents (1, C, T, h, w), float32, of F = 4 T - 3 frames; or of one image."""
        frames = torch.from_numpy(np.ascontiguousarray(frames_FHWC))
        with self.placement.at_work(self.video.model):
            return self.video.encode(frames).mean[None].float()

    def encode_text(self, text: str) -> Tensor:
        """(1, L, D), padded with zeros to the most tokens."""
        with self.placement.at_work(self.text.model):
            states_LD = self.text.encode(text)
        return functional.pad(states_LD, (0, 0, 0, self.text.max_tokens - len(states_LD)))[None]

    def decode(self, latents: Tensor) -> Frames:
        """Frames (4 T - 3, H, W, 3), uint8, of normalised latents (1, C, T, h, w)."""
        with self.placement.at_work(self.video.model):
            return self.video.decode(latents[0]).numpy()

    def cells(self, mask_FHW: Mask) -> Tensor:
        """Which latent cells a mask touches, bool, (1, 1, T, h, w)."""
        return touched_cells(mask_FHW, self.video.temporal_stride, self.video.spatial_stride)

    def tokens(self, mask_FHW: Mask) -> Tensor:
        """Which tokens of the network a mask touches, bool, (N,)."""
        stride = self.video.spatial_stride * self.network.config.patch_size[1]
        return touched_cells(mask_FHW, self.video.temporal_stride, stride).flatten()


def plan_components(
    config: WanConfig, sizes: Sequence[tuple[int, int]], num_frames: int
) -> MemoryPlan:
    """What an edit will hold, before anything but configurations is read.

    Args:
        sizes, num_frames: as of `load_components`.
    Raises:
        WeightsError: weights are missing, or of another kind.
        ConfigError: there is no such device, or the network cannot take such pictures.
    """
    placement, (wan, remedy) = Placement.of(config), _located(config)
    network_config, vae_config = read_sizes(wan, remedy)
    _check_kind(wan, network_config, vae_config)
    cell_px = vae_config["scale_factor_spatial"] * network_config["patch_size"][1]
    check_sizes(sizes, cell_px, "flow_anchor.sizes")
    largest = max(sizes, key=lambda size: size[0] * size[1])
    precision = config.precision
    read_bytes = encoders_bytes(wan, precision)
    needs = measure(network_config, vae_config, largest, num_frames, precision, read_bytes)
    return plan_memory(config, needs, placement.device)


def _located(config: WanConfig) -> tuple[Path, str]:
    """Where the Wan lies, and what to do where it is not whole."""
    if config.wan is not None:
        return config.wan, "Name the folder of a whole Wan"
    return weights.locate(config.weights), pull_again(config.weights)


def load_components(
    config: WanConfig, sizes: Sequence[tuple[int, int]], num_frames: int
) -> WanModels:
    """Load everything; nothing is ever downloaded.

    Args:
        sizes: widths and heights of pictures.
        num_frames: most that will be edited at once.
    Raises:
        WeightsError: weights are missing, not whole, or of another kind.
        ConfigError: there is no such device, or the network cannot take such pictures.
        RunError: too little memory; what would help.
    """
    placement, precision = Placement.of(config), config.precision
    plan_components(config, sizes, num_frames).check()
    wan, remedy = _located(config)
    video = load_codec(wan, precision, placement.home, remedy=remedy)
    if config.tiled_vae:
        video.model.enable_tiling()
    text = load_text_encoder(wan, precision, placement.home, remedy=remedy)
    check_offsets(text.tokenizer, wan / "tokenizer", remedy)
    folder, dtype = wan / "transformer", DTYPES[precision]
    network = read_model(NETWORK, folder, remedy=remedy, is_exact=True, torch_dtype=dtype)
    placement.settle(network)
    identity = {
        "network": identity_of(precision, folder),
        "video": video.identity,
        "text": text.identity,
    }
    return WanModels(network, video, text, placement, identity)


def _check_kind(wan: Path, network: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Refuse what is no Wan that makes video of text alone, by one network.

    Raises:
        WeightsError: it is not.
    """
    taken, given, latent = network["in_channels"], network["out_channels"], vae["z_dim"]
    if not taken == given == latent or (wan / "transformer_2").exists():
        raise WeightsError(
            f"{wan}: expected a Wan that makes video of text alone by one network, found one that "
            f"takes {taken} and gives {given} channels, for latents of {latent}"
            f"{', beside a second one' if (wan / 'transformer_2').exists() else ''}; use "
            "Wan2.1-T2V or Wan2.2-TI2V-5B"
        )
