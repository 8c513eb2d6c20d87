"""A round trip through the VAE of a Wan: what every edit that it decodes has lost already.

F frames, H rows and W columns of pixels.

Source: Wan Team, Wan: Open and advanced large-scale video generative models (2025), in diffusers'
layout and network (`AutoencoderKLWan`).
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from avipipe.annotators.base import Frames
from avipipe.annotators.batching import is_out_of_memory
from avipipe.annotators.loading import device, read_model
from avipipe.errors import AnnotatorError, ConfigError
from avipipe.weights.digests import digest

VAE_VERSION = 1
"""Raised whenever the same pictures would come back as others, so that no stored score is stale."""
CHUNK_FRAMES = 81
"""That make a round trip together: the most that Wan was trained on, and that an editor gives it.
Longer videos go in parts, of which none sees the others."""
_KIND = "AutoencoderKLWan"


def vae_folder(given: Path) -> Path:
    """Where the VAE lies in a folder that is one, or that is a whole Wan.

    Raises:
        ConfigError: there is none of Wan's kind, or what reads it is not installed.
    """
    if find_spec("diffusers") is None:
        raise ConfigError("--vae needs diffusers, found none; run `pip install 'avipipe[eval]'`")
    wanted = f"expected a Wan in diffusers' layout, or its folder `vae`, in {given}"
    for folder in (given / "vae", given):
        try:
            config = json.loads((folder / "config.json").read_bytes())
            found = str(config["_class_name"])
        except OSError:
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{wanted}: {folder / 'config.json'} cannot be read") from error
        if found != _KIND:
            raise ConfigError(f"{wanted}: found a {found}, and only an {_KIND} can be taken")
        return folder.absolute()
    raise ConfigError(f"{wanted}: found no config.json")


def vae_identity(folder: Path) -> str:
    """What pictures depend on that make a round trip: the files of the VAE, and how it is asked.

    Raises:
        OSError: one of them cannot be read.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    told = [f"{VAE_VERSION}", *(f"{digest(path)}  {path.name}" for path in files)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def restored(folder: Path, frames_HWC: Iterator[Frames]) -> Iterator[Frames]:
    """Pictures after a round trip, by the mode of their latents, in float32.

    The last picture is repeated until the number of frames is the one more than a multiple of the
    VAE's stride that it wants, and edge pixels until both sides are multiples; what was added is
    cut off again.

    Args:
        folder: of the VAE, as `vae_folder` found it.
        frames_HWC: RGB, uint8, all of one size.
    Yields:
        (H, W, 3) uint8 RGB.
    Raises:
        WeightsError: the VAE is not whole.
        AnnotatorError: there is too little memory.
    """
    model = _model(folder)
    while chunk := list(islice(frames_HWC, CHUNK_FRAMES)):
        try:
            done_FHWC = _round_trip(model, np.stack(chunk))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise AnnotatorError(
                message="there is too little memory for the VAE: use fewer --workers"
            ) from error
        yield from done_FHWC


@cache
def _model(folder: Path) -> Any:
    from diffusers import AutoencoderKLWan

    remedy = "Give another folder with --vae"
    return read_model(AutoencoderKLWan, folder, remedy=remedy).to(device()).eval()


def _round_trip(model: Any, frames_FHWC: Frames) -> Frames:
    import torch

    from avipipe.evaluate.extractors.networks.running import exact

    num_frames, height, width = frames_FHWC.shape[:3]
    side = int(model.config.scale_factor_spatial)
    lack = (
        -(num_frames - 1) % int(model.config.scale_factor_temporal),
        -height % side,
        -width % side,
    )
    padded_FHWC = np.pad(frames_FHWC, (*((0, each) for each in lack), (0, 0)), mode="edge")
    video_CFHW = torch.from_numpy(padded_FHWC).to(model.device).permute(3, 0, 1, 2)
    with exact():
        latents = model.encode(video_CFHW[None].float().div_(127.5).sub_(1)).latent_dist.mode()
        found_CFHW = model.decode(latents).sample[0].add_(1).mul_(127.5).round_().clamp_(0, 255)
    found_FHWC = found_CFHW.byte().permute(1, 2, 3, 0).cpu().numpy()
    return np.ascontiguousarray(found_FHWC[:num_frames, :height, :width])
