"""Tiny random PE-AV and CLAP checkpoints, in the layout of their hubs."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    PeAudioFeatureExtractor,
    PeAudioVideoConfig,
    PeAudioVideoModel,
    PeVideoVideoProcessor,
    RobertaTokenizer,
)

SIDE_PX = 32

_LAYERS = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
_ROTARY = {"head_dim": 8, "rope_parameters": {"rope_theta": 20000, "rope_type": "default"}}


def write_pe_av(folder: Path) -> None:
    """The official architecture, its video part from timm, with a layer or two of each part."""
    audio: dict[str, Any] = {
        "model_type": "pe_audio_encoder",
        "dac_config": {
            "model_type": "dac",
            "downsampling_ratios": [2, 8, 10, 12],
            "encoder_hidden_size": 4,
            "codebook_dim": 8,
            "hidden_size": 16,
        },
    }
    video: dict[str, Any] = {
        "model_type": "pe_video_encoder",
        "vision_config": {
            "model_type": "timm_wrapper",
            "architecture": "vit_pe_core_large_patch14_336",
            "do_pooling": True,
            "num_classes": 8,
            "global_pool": "map",
            "initializer_range": 0.2,
            "model_args": {
                "img_size": SIDE_PX,
                "patch_size": 16,
                "embed_dim": 32,
                "depth": 1,
                "num_heads": 2,
                "ref_feat_shape": [2, 2],
            },
        },
    }
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = PeAudioVideoConfig(
        text_config=_LAYERS | special | {"model_type": "modernbert", "vocab_size": 8},
        audio_video_config={
            **_LAYERS,
            **_ROTARY,
            "audio_config": _LAYERS | _ROTARY | audio,
            "video_config": _LAYERS | _ROTARY | video,
        },
    )
    torch.manual_seed(0)
    PeAudioVideoModel(config).save_pretrained(folder)
    PeAudioFeatureExtractor().save_pretrained(folder)
    PeVideoVideoProcessor(
        size={"height": SIDE_PX, "width": SIDE_PX},
        do_resize=True,
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(folder)


def write_clap(folder: Path) -> None:
    """The architecture of clap-htsat-unfused; its words are single letters."""
    config = ClapConfig(
        text_config=_LAYERS
        | {"vocab_size": 64, "projection_dim": 8, "max_position_embeddings": 80},
        audio_config={
            "patch_embeds_hidden_size": 8,
            "hidden_size": 16,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "projection_dim": 8,
            "enable_fusion": False,
        },
        projection_dim=8,
    )
    torch.manual_seed(0)
    ClapModel(config).save_pretrained(folder)
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyzĠ"]
    tokenizer = RobertaTokenizer(
        vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=77
    )
    extractor = ClapFeatureExtractor(truncation="rand_trunc")
    processor: Any = ClapProcessor
    processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
