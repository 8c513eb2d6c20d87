"""Tiny random checkpoints of models that hear, and of one that speaks, as their hubs have them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from transformers.models.bark import generation_configuration_bark

# Untyped in its library.
_HF: Any = transformers
_BARK: Any = generation_configuration_bark

QWEN_TEMPLATE = """\
{% for message in messages %}<|im_start|>{{ message.role }}
{% for part in message.content %}{% if part.type == 'image' %}\
<|vision_bos|><|IMAGE|><|vision_eos|>{% elif part.type == 'audio' %}\
<|audio_bos|><|AUDIO|><|audio_eos|>{% else %}{{ part.text }}{% endif %}{% endfor %}\
<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_MARKS = {
    "image_token": "<|IMAGE|>",
    "audio_token": "<|AUDIO|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
_AUDIO = {
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "num_mel_bins": 16,
}


def write_qwen2_audio(folder: Path) -> None:
    """The architecture of Qwen2-Audio-7B-Instruct; its words are bytes."""
    tokenizer = _byte_tokenizer()
    config = _HF.Qwen2AudioConfig(
        audio_config=_AUDIO | {"model_type": "qwen2_audio_encoder"},
        text_config=_TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer)},
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    torch.manual_seed(0)
    model = _HF.Qwen2AudioForConditionalGeneration(config)
    _sampling(model).save_pretrained(folder)
    _HF.Qwen2AudioProcessor(
        feature_extractor=_HF.WhisperFeatureExtractor(feature_size=16),
        tokenizer=tokenizer,
        chat_template=QWEN_TEMPLATE,
    ).save_pretrained(folder)


def write_qwen2_5_omni(folder: Path) -> None:
    """The part of Qwen2.5-Omni-7B that hears, sees and writes, named as in the whole of it."""
    tokenizer = _byte_tokenizer()
    ids = {name: tokenizer.convert_tokens_to_ids(mark) for name, mark in _MARKS.items()}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    thinker: dict[str, Any] = {
        "audio_config": _AUDIO | {"output_dim": 32, "n_window": 100},
        "vision_config": {
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [0],
        },
        "text_config": _TEXT | {"vocab_size": len(tokenizer), "rope_parameters": rope},
        "audio_token_index": ids["audio_token"],
        "image_token_index": ids["image_token"],
        "video_token_index": ids["video_token"],
        "audio_start_token_id": ids["audio_bos_token"],
        "audio_end_token_id": ids["audio_eos_token"],
        "vision_start_token_id": ids["vision_bos_token"],
        "vision_end_token_id": ids["vision_eos_token"],
    }
    config = _HF.Qwen2_5OmniThinkerConfig(**thinker)
    torch.manual_seed(0)
    model = _HF.Qwen2_5OmniThinkerForConditionalGeneration(config)
    # As on the hub, where the thinker is a part of the whole.
    state = {f"thinker.{name}": value for name, value in model.state_dict().items()}
    _sampling(model).save_pretrained(folder, state_dict=state)
    whole = {"model_type": "qwen2_5_omni", "thinker_config": config.to_dict()}
    (folder / "config.json").write_text(json.dumps(whole))
    _HF.Qwen2_5OmniProcessor(
        image_processor=_HF.Qwen2VLImageProcessor(
            patch_size=14, size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
        ),
        video_processor=_HF.Qwen2VLVideoProcessor(),
        feature_extractor=_HF.WhisperFeatureExtractor(feature_size=16),
        tokenizer=tokenizer,
        chat_template=QWEN_TEMPLATE,
    ).save_pretrained(folder)


def write_pe_a_frame(folder: Path) -> None:
    """The architecture of pe-a-frame-base, with a layer of each part; its words are letters."""
    layers = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = _HF.PeAudioConfig(
        text_config=layers
        | {
            "model_type": "modernbert",
            "vocab_size": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        audio_config=layers
        | {
            "model_type": "pe_audio_encoder",
            "head_dim": 8,
            "rope_parameters": {"rope_theta": 20000, "rope_type": "default"},
            "dac_config": {
                "model_type": "dac",
                "downsampling_ratios": [2, 8, 10, 12],
                "encoder_hidden_size": 4,
                "codebook_dim": 8,
                "hidden_size": 16,
            },
        },
    )
    torch.manual_seed(0)
    model = _HF.PeAudioFrameLevelModel(config)
    torch.nn.init.constant_(model.text_audio_logit_scale, 10.0)
    model.save_pretrained(folder)
    _HF.PeAudioFeatureExtractor().save_pretrained(folder)
    _word_tokenizer("dog", "barking", "horn").save_pretrained(folder)


def write_bark(folder: Path) -> None:
    """The architecture of bark-small, each part with one layer, and two of its speakers."""
    part: dict[str, Any] = {"num_layers": 1, "num_heads": 2, "hidden_size": 16, "block_size": 1024}
    codec = _HF.EncodecConfig(
        upsampling_ratios=[8, 5, 4, 2], hidden_size=8, codebook_dim=8, num_filters=2,
        num_lstm_layers=1,
    )  # fmt: skip
    config = _HF.BarkConfig(
        semantic_config=part | {"input_vocab_size": 129_600},
        coarse_acoustics_config=part | {"input_vocab_size": 12_096, "output_vocab_size": 12_096},
        fine_acoustics_config=part | {"input_vocab_size": 1056, "output_vocab_size": 1056},
        codec_config=codec.to_dict(),
    )
    torch.manual_seed(0)
    model: Any = _HF.BarkModel(config)
    for layer in model.codec_model.quantizer.layers:
        layer.codebook.embed.normal_()  # zero when new: all codes would sound the same
    model.save_pretrained(folder)
    parts = {
        "semantic_config": _BARK.BarkSemanticGenerationConfig(do_sample=True),
        "coarse_acoustics_config": _BARK.BarkCoarseGenerationConfig(do_sample=True),
        "fine_acoustics_config": _BARK.BarkFineGenerationConfig(),
    }
    settings: dict[str, Any] = {name: part.to_dict() for name, part in parts.items()}
    settings |= {"model_type": "bark", "sample_rate": 24_000, "codebook_size": 1024}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    rng = np.random.default_rng(0)
    speakers: dict[str, Any] = {"repo_or_path": str(folder)}
    (folder / "speaker_embeddings" / "v2").mkdir(parents=True)
    for name in ("v2/en_speaker_0", "v2/en_speaker_9"):
        prompts = {
            "semantic_prompt": rng.integers(0, 10_000, 20),
            "coarse_prompt": rng.integers(0, 1024, (2, 30)),
            "fine_prompt": rng.integers(0, 1024, (8, 30)),
        }
        speakers[name] = {}
        for kind, prompt in prompts.items():
            path = f"speaker_embeddings/{name}_{kind}.npy"
            np.save(folder / path, prompt)
            speakers[name][kind] = path
    (folder / "speaker_embeddings_path.json").write_text(json.dumps(speakers))
    _word_tokenizer("come", "in", "hello").save_pretrained(folder)


def _byte_tokenizer() -> Any:
    alphabet = {sign: index for index, sign in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer: Any = _HF.Qwen2Tokenizer(
        vocab=alphabet, merges=[], eos_token="<|im_end|>", pad_token="<|endoftext|>", **_MARKS
    )
    tokenizer.add_tokens(
        ["<|im_start|>", "<|im_end|>", "<|endoftext|>", *_MARKS.values()], special_tokens=True
    )
    return tokenizer


def _word_tokenizer(*words: str) -> Any:
    ids = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer: Any = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    fast: Any = _HF.PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def _sampling(model: Any) -> Any:
    """With settings that sample, as the official checkpoints have them."""
    model.generation_config.update(do_sample=True, temperature=0.7, top_k=20, top_p=0.5)
    return model
