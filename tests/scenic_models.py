"""Random tiny models of AudioScenic, in the layouts of the hub."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel

from examples.tiny.scenic_parts import depth_reader, write_text_reader
from tests.models.tiny_matchers import write_clap

UNET: Any = UNet2DConditionModel
VAE: Any = AutoencoderKL
CONTROLNET: Any = ControlNetModel
SCHEDULER: Any = DDIMScheduler

TEXT_DIM = 8
BLOCKS = (8, 16)
MODELS = ("diffusion", "controlnet", "depth", "clap")


def unet(**changes: Any) -> Any:
    """Of the kind of Stable Diffusion 1.5: two levels instead of four."""
    sizes: dict[str, Any] = {
        "block_out_channels": BLOCKS,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "cross_attention_dim": TEXT_DIM,
    }
    return UNET(**{**sizes, **changes})


def vae() -> Any:
    return VAE(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=128,
        norm_num_groups=2,
    )


def controlnet(**changes: Any) -> Any:
    sizes: dict[str, Any] = {
        "block_out_channels": BLOCKS,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "cross_attention_dim": TEXT_DIM,
        "conditioning_embedding_out_channels": (4, 4, 4, 4),
    }
    return CONTROLNET(**{**sizes, **changes})


def tiny_scenic(folder: Path, *, of_unet: Any = None, of_controlnet: Any = None) -> dict[str, Path]:
    """Setting of `models` -> a folder with that model.

    Args:
        of_unet, of_controlnet: what differs in sizes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        diffusion = folder / "diffusion"
        unet(**(of_unet or {})).save_pretrained(diffusion / "unet")
        vae().save_pretrained(diffusion / "vae")
        SCHEDULER(beta_schedule="scaled_linear").save_pretrained(diffusion / "scheduler")
        write_text_reader(diffusion, TEXT_DIM, num_tokens=77)
        shapes = controlnet(**(of_controlnet or {}))
        with (
            torch.no_grad()
        ):  # what is new in a ControlNet begins with zeros: it would hold nothing
            for weight in shapes.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        shapes.save_pretrained(folder / "controlnet")
        depth_reader().save_pretrained(folder / "depth")
        write_clap(folder / "clap")
    return {name: folder / name for name in MODELS}
