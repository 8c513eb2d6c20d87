"""What AudioScenic needs beside a network and a sound reader, tiny and random, as hubs have it."""

import json
from pathlib import Path
from typing import Any

from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)


def write_text_reader(diffusion: Path, width: int, num_tokens: int) -> None:
    """Write a `text_encoder` and a `tokenizer` of so many tokens, which know the letter a.

    Args:
        diffusion: folder of a Stable Diffusion.
        width: of what is read.
    """
    config = CLIPTextConfig(
        vocab_size=8,
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=num_tokens,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(diffusion / "text_encoder")
    words = diffusion / "tokenizer"
    words.mkdir()
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "a</w>": 3}
    (words / "vocab.json").write_text(json.dumps(vocabulary))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer: Any = CLIPTokenizer
    tokenizer.from_pretrained(words).save_pretrained(words)


def depth_reader() -> Any:
    """A Depth Anything of pictures of 28 pixels."""
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
