"""A random tiny Wan, in the layout of the hub's: video of text alone, read by two prompts."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from avipipe.editor.common.codec import VideoEncoder
from avipipe.editor.common.pretrained import ready

VAE: Any = AutoencoderKLWan
NETWORK: Any = WanTransformer3DModel
TOKENIZER: Any = T5Tokenizer

TEXT_DIM = 16
PIECES = ("▁a", "▁red", "▁green", "▁cu", "be")
"""Beside letters; `cube` is two."""


def tokenizer() -> Any:
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,"
    special = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")]
    scored = [(piece, -3.0) for piece in letters] + [(piece, -1.0) for piece in PIECES]
    return TOKENIZER(vocab=[*special, *scored], extra_ids=0)


def network(**changes: Any) -> Any:
    sizes = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": TEXT_DIM,
        "freq_dim": 16,
        "ffn_dim": 32,
        "num_layers": 2,
    }
    return NETWORK(**{**sizes, **changes})


def vae(*, z_dim: int = 4, **changes: Any) -> Any:
    """Of Wan2.1's kind: strides of 4 and 8."""
    sizes = {
        "base_dim": 4,
        "z_dim": z_dim,
        "dim_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "latents_mean": [0.1] * z_dim,
        "latents_std": [0.5] * z_dim,
    }
    return VAE(**{**sizes, **changes})


WAN22_VAE = {
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
}
"""What makes a VAE one of Wan2.2's kind: strides of 4 and 16."""


def wan22_encoder() -> VideoEncoder:
    """A random VAE of Wan2.2's kind, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VideoEncoder(ready(vae(**WAN22_VAE), "cpu"), "random")


def tiny_wan(folder: Path, *, of_network: Any = None, of_vae: Any = None) -> Path:
    """A folder with transformer, vae, text_encoder and tokenizer.

    Args:
        of_network, of_vae: what differs in sizes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network(**(of_network or {})).save_pretrained(folder / "transformer")
        vae(**(of_vae or {})).save_pretrained(folder / "vae")
        text = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(tokenizer()),
                d_model=TEXT_DIM,
                d_kv=8,
                d_ff=32,
                num_layers=2,
                num_heads=2,
                dropout_rate=0.0,
            )
        )
    text.save_pretrained(folder / "text_encoder")
    tokenizer().save_pretrained(folder / "tokenizer")
    return folder
