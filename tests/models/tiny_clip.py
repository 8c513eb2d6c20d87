"""A tiny random CLIP in the layout of OpenAI's on the hub; it reads letter by letter."""

from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BOS, EOS = len(LETTERS), len(LETTERS) + 1
_NUM_TOKENS = 2 * len(LETTERS) + 2

_LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "projection_dim": 16,
}


def write_clip(folder: Path) -> None:
    """The architecture of ViT-B/32 with one layer a tower; pictures and texts have its sizes."""
    text = {
        "vocab_size": _NUM_TOKENS,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": EOS,
    }
    config = CLIPConfig(
        text_config=_LAYERS | text, vision_config=_LAYERS | {"patch_size": 32}, projection_dim=16
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    vocab = {f"{letter}</w>": number for number, letter in enumerate(LETTERS)}
    vocab |= {"<|startoftext|>": BOS, "<|endoftext|>": EOS}
    vocab |= {letter: number for number, letter in enumerate(LETTERS, start=EOS + 1)}
    CLIPTokenizer(vocab=vocab, merges=[]).save_pretrained(folder)
