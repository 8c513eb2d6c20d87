"""Wan's VAE, or a codec in its place: pictures to normalised latents, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from avipipe.annotators.loading import read_model
from avipipe.annotators.reading import reading
from avipipe.editor.common.dtypes import DTYPES, Precision
from avipipe.editor.common.patch_codec import PatchCodec
from avipipe.editor.common.pretrained import identity_of, ready
from avipipe.errors import WeightsError

VAE: Any = AutoencoderKLWan
"""Untyped in its library."""

_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in (VAE, PatchCodec)}
"""Name in a configuration -> class."""


class Latents(NamedTuple):
    """What the VAE makes of a video, normalised: a Gaussian for each value, (C, T, h, w).

    The variance may be left out where only the mode is asked for.
    """

    mean: Tensor
    logvar: Tensor | None


@dataclass(frozen=True, slots=True)
class VideoEncoder:
    """Wan's VAE, or a `PatchCodec`.

    Attributes:
        identity: what its files hash to, and the type that it computes in.
    """

    model: Any
    identity: str

    @property
    def temporal_stride(self) -> int:
        """Video frames per latent frame, but for the first, which holds one."""
        return int(self.model.config.scale_factor_temporal)

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent cell, in each direction."""
        return int(self.model.config.scale_factor_spatial)

    @torch.no_grad()
    def encode(self, video_FHWC: Tensor) -> Latents:
        """Encode uint8 RGB, F = 4 n + 1."""
        video = video_FHWC.to(self.model.device).permute(3, 0, 1, 2)
        video_1CFHW = video.float().div_(127.5).sub_(1).to(self.model.dtype)[None]
        found = self.model.encode(video_1CFHW).latent_dist
        mean, std = self._scales()
        normalised = (found.mean[0].float() - mean) / std
        logvar = found.logvar[0].float() - 2 * std.log()
        return Latents(*(x.to(self.model.dtype).cpu() for x in (normalised, logvar)))

    @torch.no_grad()
    def decode(self, latents_CThw: Tensor) -> Tensor:
        """Uint8 RGB (F, H, W, 3), F = 4 T - 3, of normalised latents."""
        mean, std = self._scales()
        latents = latents_CThw.to(self.model.device, torch.float32) * std + mean
        video_CFHW = self.model.decode(latents[None].to(self.model.dtype)).sample[0].float()
        pixels_CFHW: Tensor = video_CFHW.add_(1).mul_(127.5).round_().clamp_(0, 255).byte()
        return pixels_CFHW.permute(1, 2, 3, 0).cpu()

    def _scales(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel of latents, or of all; (C or 1, 1, 1, 1)."""
        config = self.model.config
        mean, std = (
            torch.tensor(values, device=self.model.device).view(-1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std


def read_config(wan: Path, remedy: str) -> Mapping[str, Any]:
    """The whole configuration of the codec of a Wan in diffusers' layout, for `blank_codec`.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it cannot be read, or is that of another kind of model.
    """
    folder = wan / "vae"
    with reading(folder, VAE.__name__, remedy):
        found = VAE.load_config(folder, local_files_only=True)
        config = {"_class_name": VAE.__name__, **found}
        if config["_class_name"] not in _KINDS:
            raise WeightsError(
                f"{folder}: expected the configuration of {' or '.join(_KINDS)}, found that of "
                f"{config['_class_name']}. {remedy}"
            )
        with torch.device("meta"):
            return config_of(blank_codec(config))


def config_of(codec: Any) -> Mapping[str, Any]:
    """All that a VAE or codec is made of, and its class; older files do not say everything."""
    return {**codec.config, "_class_name": type(codec).__name__}


def blank_codec(config: Mapping[str, Any]) -> Any:
    """A VAE or codec of a whole configuration, as `config_of` gives it, with random weights."""
    return _KINDS[config["_class_name"]].from_config(config)


def load_codec(
    wan: Path, precision: Precision, device: torch.device | str, *, remedy: str
) -> VideoEncoder:
    """The VAE of a Wan in diffusers' layout, or the codec in its place, in evaluation mode.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it is missing, not whole, or of another kind.
    """
    folder, config, dtype = wan / "vae", read_config(wan, remedy), DTYPES[precision]
    if config["_class_name"] == PatchCodec.__name__:
        model = blank_codec(config).to(dtype)
    else:
        model = read_model(VAE, folder, remedy=remedy, torch_dtype=dtype)
    return VideoEncoder(ready(model, device), identity_of(precision, folder))
