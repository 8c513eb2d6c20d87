"""A codec without weights, by which tiny networks edit pictures that can be looked at."""

import math
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn

_LOGVAR = -30.0
"""Of what is not random; diffusers takes no logarithm of a variance below it."""


class PatchCodec(nn.Module, ConfigMixin):
    """Latents are mean colours of blocks, and pictures are blocks of these colours.

    A latent cell stands for as many frames and pixels as in a VAE of the same strides, the first
    frame alone. Its channels are the mean of each channel of the pictures in each of n x n blocks:
    z_dim = in_channels * n * n. So `encode(decode(z)) == z`, and `decode(encode(x)) == x` for what
    is constant on its blocks, both bit for bit.

    It is asked as diffusers' `AutoencoderKLWan` is. Pictures are (B, C, F, H, W), F = 1 + k *
    scale_factor_temporal; or (B, C, H, W), still ones or spectrograms, for latents (B, Z, h, w).
    Its folder holds nothing but a `config.json`: write it with `save_config`.

    Args:
        in_channels: of the pictures.
        z_dim: of the latents.
        scale_factor_temporal: frames in a cell, but for the first, which holds one.
        scale_factor_spatial: pixels along a side of a cell, a multiple of n.
        latents_mean, latents_std: of every channel; whoever normalises latents does it by these.
            Colours lie in [-1, 1].
    Raises:
        ValueError: a cell cannot be cut into as many blocks.
    """

    config_name = "config.json"  # type: ignore[assignment]

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 3,
        z_dim: int = 12,
        scale_factor_temporal: int = 4,
        scale_factor_spatial: int = 8,
        latents_mean: float = 0.0,
        latents_std: float = 0.5,
    ) -> None:
        super().__init__()
        self._blocks = math.isqrt(z_dim // in_channels)
        if z_dim != in_channels * self._blocks**2 or scale_factor_spatial % self._blocks:
            raise ValueError(
                f"expected a z_dim of {in_channels} n * n, where n divides the "
                f"{scale_factor_spatial} pixels of a cell, got {z_dim}"
            )
        self.place: Tensor
        self.register_buffer("place", torch.zeros(()), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where pictures and latents are to be, though it has no weights there."""
        return self.place.device

    @property
    def dtype(self) -> torch.dtype:
        """Of pictures and latents."""
        return self.place.dtype

    def encode(self, pictures: Tensor) -> AutoencoderKLOutput:
        """`latent_dist`: a Gaussian of no variance, to speak of, around the mean colours."""
        if pictures.ndim == 4:
            still = self._means(pictures[:, :, None])[:, :, 0]
            return _certain(still)
        return _certain(self._means(pictures))

    def decode(self, latents: Tensor) -> DecoderOutput:
        """`sample`: pictures, each block of its colour."""
        if latents.ndim == 4:
            return DecoderOutput(sample=self._painted(latents[:, :, None])[:, :, -1])
        return DecoderOutput(sample=self._painted(latents))

    def enable_tiling(self) -> None:
        """Nothing: it holds no more than the pictures."""

    def _means(self, video_BCFHW: Tensor) -> Tensor:
        temporal, block_px = self._block
        first = video_BCFHW[:, :, :1].expand(-1, -1, temporal - 1, -1, -1)
        video = torch.cat([first, video_BCFHW], dim=2)
        batch, channels, num_frames, height, width = video.shape
        cell_px = self._blocks * block_px
        size = (num_frames // temporal, height // cell_px, width // cell_px)
        cut = video.reshape(
            *(batch, channels, size[0], temporal),
            *(size[1], self._blocks, block_px),
            *(size[2], self._blocks, block_px),
        )
        # In float64 equal numbers add up without being rounded.
        means_BCThnwn = cut.mean((3, 6, 9), dtype=torch.float64).to(video.dtype)
        return means_BCThnwn.permute(0, 1, 4, 6, 2, 3, 5).reshape(batch, -1, *size)

    def _painted(self, latents_BZThw: Tensor) -> Tensor:
        temporal, block_px = self._block
        batch, _, num_latents, height, width = latents_BZThw.shape
        blocks = (batch, -1, self._blocks, self._blocks, num_latents, height, width)
        means_BCThnwn = latents_BZThw.reshape(blocks).permute(0, 1, 4, 5, 2, 6, 3)
        cut = means_BCThnwn[:, :, :, None, :, :, None, :, :, None]
        cut = cut.expand(-1, -1, -1, temporal, -1, -1, block_px, -1, -1, block_px)
        cell_px = self._blocks * block_px
        size = (num_latents * temporal, height * cell_px, width * cell_px)
        return cut.reshape(batch, -1, *size)[:, :, temporal - 1 :]

    @property
    def _block(self) -> tuple[int, int]:
        """Frames, and pixels along a side."""
        config: Any = self.config
        return config.scale_factor_temporal, config.scale_factor_spatial // self._blocks


def _certain(mean: Tensor) -> AutoencoderKLOutput:
    parameters = torch.cat([mean, torch.full_like(mean, _LOGVAR)], dim=1)
    found = DiagonalGaussianDistribution(parameters, deterministic=True)
    return AutoencoderKLOutput(latent_dist=found)
