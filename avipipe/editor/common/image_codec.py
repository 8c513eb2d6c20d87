"""A VAE of images, or a codec in its place: frames to latents and back, one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from avipipe.annotators.base import Frames
from avipipe.annotators.loading import read_model
from avipipe.annotators.reading import reading
from avipipe.editor.common.patch_codec import PatchCodec
from avipipe.editor.common.pretrained import whole_config

IMAGE_VAE: Any = AutoencoderKL
"""Untyped in its library."""


def stride_of(vae: Mapping[str, Any]) -> int:
    """Pixels along a side of a latent cell, by the configuration of a VAE or codec."""
    if _is_patches(vae):
        return int(vae["scale_factor_spatial"])
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def channels_of(vae: Mapping[str, Any]) -> int:
    """Numbers of a latent cell, by the configuration of a VAE or codec."""
    return int(vae["z_dim" if _is_patches(vae) else "latent_channels"])


def read_image_config(folder: Path) -> dict[str, Any]:
    """All that the VAE or codec in a folder is made of; to be asked in a context of `reading`."""
    found = IMAGE_VAE.load_config(folder, local_files_only=True)
    is_patches = found.get("_class_name") == PatchCodec.__name__
    return whole_config(PatchCodec if is_patches else IMAGE_VAE, folder)


def blank_image_codec(config: Mapping[str, Any]) -> Any:
    """A VAE or codec of a configuration, with random weights."""
    return (PatchCodec if _is_patches(config) else IMAGE_VAE).from_config(config)


def read_image_codec(folder: Path, dtype: torch.dtype, *, remedy: str) -> Any:
    """The VAE or codec in a folder, on the CPU.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it is missing or not whole.
    """
    with reading(folder, IMAGE_VAE.__name__, remedy):
        config = read_image_config(folder)
    if _is_patches(config):
        return blank_image_codec(config).to(dtype)
    return read_model(IMAGE_VAE, folder, remedy=remedy, torch_dtype=dtype)


def _is_patches(config: Mapping[str, Any]) -> bool:
    """Whether a whole configuration is that of a `PatchCodec`, by what only that has."""
    return "scale_factor_spatial" in config


@dataclass(frozen=True, slots=True)
class ImageCodec:
    """An `AutoencoderKL` or a `PatchCodec`, where it lies; tensors come and go on the CPU."""

    model: Any

    @torch.no_grad()
    def encode(self, frames_FHWC: Frames) -> Tensor:
        """Latents (F, C, h, w) as the network knows them, float32, of uint8 RGB: the mode of each.

        Laid out as they are read from a file: otherwise convolutions might round in another way.
        """
        frames_FCHW = torch.from_numpy(np.ascontiguousarray(frames_FHWC)).permute(0, 3, 1, 2)
        found = []
        for frame in torch.split(frames_FCHW, 1):
            given = (frame.float() / 127.5 - 1).to(self.model.device, self.model.dtype)
            found.append(self.model.encode(given).latent_dist.mode().float().cpu())
        mean, scale = self._scales()
        return (torch.cat(found).contiguous() - mean) * scale

    @torch.no_grad()
    def decode(self, latents_FChw: Tensor) -> npt.NDArray[np.float32]:
        """RGB (F, H, W, 3), float32, from 0 to 255 but for what overshoots."""
        mean, scale = self._scales()
        found = []
        for latents in torch.split(latents_FChw / scale + mean, 1):
            given = latents.to(self.model.device, self.model.dtype)
            found.append(self.model.decode(given).sample.float().cpu())
        return ((torch.cat(found) + 1) * 127.5).permute(0, 2, 3, 1).contiguous().numpy()

    def _scales(self) -> tuple[float, float]:
        """What is taken from latents, and what the rest is multiplied by, for the network."""
        config = self.model.config
        if _is_patches(config):
            return float(config.latents_mean), 1 / float(config.latents_std)
        return 0.0, float(config.scaling_factor)


def to_uint8(values: npt.NDArray[np.float32]) -> Frames:
    """Values from 0 to 255, and what overshoots, as uint8."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
