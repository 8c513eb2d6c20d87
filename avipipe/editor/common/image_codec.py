"""A VAE of images, or a codec in its place: frames and spectra to latents and back."""

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
from avipipe.editor.common.codec import config_of
from avipipe.editor.common.patch_codec import PatchCodec
from avipipe.errors import WeightsError

IMAGE_VAE: Any = AutoencoderKL
"""Untyped in its library."""

_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in (IMAGE_VAE, PatchCodec)}
"""Name in a configuration -> class."""


def read_image_config(folder: Path, remedy: str) -> Mapping[str, Any]:
    """The whole configuration of a VAE of images, or of the codec in its place, with its class.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it cannot be read, or is that of another kind of model.
    """
    with reading(folder, IMAGE_VAE.__name__, remedy):
        found = IMAGE_VAE.load_config(folder, local_files_only=True)
        config = {"_class_name": IMAGE_VAE.__name__, **found}
        if config["_class_name"] not in _KINDS:
            raise WeightsError(
                f"{folder}: expected the configuration of {' or '.join(_KINDS)}, found that of "
                f"{config['_class_name']}. {remedy}"
            )
        with torch.device("meta"):
            return config_of(blank_image_codec(config))


def blank_image_codec(config: Mapping[str, Any]) -> Any:
    """A VAE or codec of a configuration, with random weights."""
    return _KINDS[config.get("_class_name", IMAGE_VAE.__name__)].from_config(config)


def read_image_codec(folder: Path, remedy: str, dtype: torch.dtype) -> Any:
    """A VAE of images, or the codec in its place, on the CPU, for inference.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it is missing, not whole, or of another kind.
    """
    config = read_image_config(folder, remedy)
    if config["_class_name"] == PatchCodec.__name__:
        return blank_image_codec(config).to(dtype).eval()
    return read_model(IMAGE_VAE, folder, remedy=remedy, torch_dtype=dtype).eval()


def stride_of(vae: Mapping[str, Any]) -> int:
    """Pixels along a side of a latent cell, by the configuration of a VAE of images or codec."""
    if "scale_factor_spatial" in vae:
        return int(vae["scale_factor_spatial"])
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def channels_of(vae: Mapping[str, Any]) -> int:
    """Channels of latents, by the configuration of a VAE of images or codec."""
    return int(vae["z_dim"] if "z_dim" in vae else vae["latent_channels"])


@torch.no_grad()
def to_latents(model: Any, images_BCHW: Tensor) -> Tensor:
    """The modes of images, normalised, (B, Z, h, w), float32 on the CPU."""
    given = images_BCHW.to(model.device, model.dtype)
    found: Tensor = model.encode(given).latent_dist.mode().float().cpu()
    if isinstance(model, PatchCodec):
        config: Any = model.config
        return (found - float(config.latents_mean)) / float(config.latents_std)
    return found * float(model.config.scaling_factor)


@torch.no_grad()
def from_latents(model: Any, latents_BZhw: Tensor) -> Tensor:
    """Images (B, C, H, W) of normalised latents, where the model is."""
    config = model.config
    if isinstance(model, PatchCodec):
        latents_BZhw = latents_BZhw * config.latents_std + config.latents_mean
    else:
        latents_BZhw = latents_BZhw / config.scaling_factor
    found: Tensor = model.decode(latents_BZhw.to(model.device, model.dtype)).sample
    return found


@dataclass(frozen=True, slots=True)
class ImageCodec:
    """diffusers' `AutoencoderKL` or a `PatchCodec`; tensors come and go on the CPU."""

    model: Any

    def encode(self, frames_FHWC: Frames) -> Tensor:
        """Latents (F, C, h, w) as the network knows them, float32, of uint8 RGB: the mode of each.

        Laid out as they are read from a file: otherwise convolutions might round in another way.
        """
        frames_FCHW = torch.from_numpy(np.ascontiguousarray(frames_FHWC)).permute(0, 3, 1, 2)
        images = [frame.float() / 127.5 - 1 for frame in torch.split(frames_FCHW, 1)]
        return torch.cat([to_latents(self.model, image) for image in images]).contiguous()

    def decode(self, latents_FChw: Tensor) -> npt.NDArray[np.float32]:
        """RGB (F, H, W, 3), float32, from 0 to 255 but for what overshoots."""
        found = [
            from_latents(self.model, latents).float().cpu()
            for latents in torch.split(latents_FChw, 1)
        ]
        return ((torch.cat(found) + 1) * 127.5).permute(0, 2, 3, 1).contiguous().numpy()


def to_uint8(values: npt.NDArray[np.float32]) -> Frames:
    """Values from 0 to 255, and what overshoots, as uint8."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
