"""Tiny random Grounding DINO and SAM 2 checkpoints, in the layout of the official repositories."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Sam2VideoConfig,
    Sam2VideoModel,
)

WORDS = (
    "a person man dog cat violin playing guitar car truck drum bird train hammer trump ##et "
    "saxophone ##s piano baby ' - st bernard"
).split()
NUM_QUERIES = 60
SAM_SIDE_PX = 128

_IMAGENET = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 1 / 255,
}


def write_grounding_dino(folder: Path, *, bias: float | None = None) -> None:
    """A Grounding DINO; with a `bias` of every logit, an MM Grounding DINO."""
    _write_tokenizer(folder)
    _write_json(
        folder / "preprocessor_config.json",
        _IMAGENET
        | {
            "image_processor_type": "GroundingDinoImageProcessor",
            "processor_class": "GroundingDinoProcessor",
            "do_pad": True,
            "size": {"shortest_edge": 96, "longest_edge": 160},
        },
    )
    torch.manual_seed(1)
    model = _detector(bias)
    if bias is not None:
        for layer in model.class_embed:
            torch.nn.init.constant_(layer.bias, bias)
    model.save_pretrained(folder)


def _detector(bias: float | None) -> Any:
    kind: Any = GroundingDinoConfig if bias is None else MMGroundingDinoConfig
    model: Any = (
        GroundingDinoForObjectDetection if bias is None else MMGroundingDinoForObjectDetection
    )
    swin = {
        "model_type": "swin",
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 2,
        "out_features": ["stage2", "stage3", "stage4"],
    }
    bert = BertConfig(
        vocab_size=1100,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    return model(
        kind(
            backbone_config=swin,
            text_config=bert,
            d_model=32,
            encoder_layers=1,
            encoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_layers=2,
            decoder_attention_heads=2,
            decoder_ffn_dim=32,
            num_queries=NUM_QUERIES,
        )
    )


def write_sam2(folder: Path) -> None:
    """A SAM 2 video model, which is what the official checkpoints are."""
    torch.manual_seed(2)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [SAM_SIDE_PX, SAM_SIDE_PX],
        "blocks_per_stage": [1, 2, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [4],
        "window_positional_embedding_background_size": [2, 2],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 128,
    }
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 128, "image_size": SAM_SIDE_PX},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 64, "iou_head_hidden_dim": 32},
        image_size=SAM_SIDE_PX,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        initializer_range=0.3,
    )
    Sam2VideoModel(config).save_pretrained(folder)
    _write_json(
        folder / "preprocessor_config.json",
        _IMAGENET
        | {
            "image_processor_type": "Sam2ImageProcessorFast",
            "processor_class": "Sam2VideoProcessor",
            "size": {"height": SAM_SIDE_PX, "width": SAM_SIDE_PX},
            "mask_size": {"height": SAM_SIDE_PX // 4, "width": SAM_SIDE_PX // 4},
        },
    )
    _write_json(
        folder / "processor_config.json",
        {"point_pad_value": -10, "processor_class": "Sam2VideoProcessor"},
    )


def tokenizer(folder: Path) -> BertTokenizer:
    """WordPiece with the ids that the model takes for delimiters where BERT has them."""
    vocabulary = [f"[unused{n}]" for n in range(1100)]
    fixed = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    for word, position in (fixed | {".": 1012, "?": 1029}).items():
        vocabulary[position] = word
    vocabulary[200 : 200 + len(WORDS)] = WORDS
    path = folder / "vocab.txt"
    path.write_text("\n".join(vocabulary), encoding="utf-8")
    return BertTokenizer(vocab=str(path), do_lower_case=True)


def _write_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True)
    tokenizer(folder).save_pretrained(folder)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
