"""Random tiny models of AudioScenic, in the layouts of the hub."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)

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
        _write_text(diffusion)
        shapes = controlnet(**(of_controlnet or {}))
        with (
            torch.no_grad()
        ):  # what is new in a ControlNet begins with zeros: it would hold nothing
            for weight in shapes.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        shapes.save_pretrained(folder / "controlnet")
        _depth().save_pretrained(folder / "depth")
        write_clap(folder / "clap")
    return {name: folder / name for name in MODELS}


def _write_text(folder: Path) -> None:
    config = CLIPTextConfig(
        vocab_size=8,
        hidden_size=TEXT_DIM,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    words = folder / "tokenizer"
    words.mkdir()
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "a</w>": 3}
    (words / "vocab.json").write_text(json.dumps(vocabulary))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer: Any = CLIPTokenizer
    tokenizer.from_pretrained(words).save_pretrained(words)


def _depth() -> Any:
    kind: Any = Dinov2Config  # its stub does not know the names of its features
    backbone = kind(
        hidden_size=12,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=1,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=12,
            neck_hidden_sizes=[4, 4, 4, 4],
            fusion_hidden_size=4,
            head_hidden_size=4,
        )
    )
