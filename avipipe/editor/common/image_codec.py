"""A VAE of images: frames to latents and back, one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from avipipe.annotators.base import Frames

IMAGE_VAE: Any = AutoencoderKL
"""Untyped in its library."""


def stride_of(vae: Mapping[str, Any]) -> int:
    """Pixels along a side of a latent cell, by the configuration of a VAE of images."""
    return int(2 ** (len(vae["block_out_channels"]) - 1))


@dataclass(frozen=True, slots=True)
class ImageCodec:
    """diffusers' `AutoencoderKL`, where it lies; tensors come and go on the CPU."""

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
        return torch.cat(found).contiguous() * float(self.model.config.scaling_factor)

    @torch.no_grad()
    def decode(self, latents_FChw: Tensor) -> npt.NDArray[np.float32]:
        """RGB (F, H, W, 3), float32, from 0 to 255 but for what overshoots."""
        found = []
        for latents in torch.split(latents_FChw / self.model.config.scaling_factor, 1):
            given = latents.to(self.model.device, self.model.dtype)
            found.append(self.model.decode(given).sample.float().cpu())
        return ((torch.cat(found) + 1) * 127.5).permute(0, 2, 3, 1).contiguous().numpy()


def to_uint8(values: npt.NDArray[np.float32]) -> Frames:
    """Values from 0 to 255, and what overshoots, as uint8."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
