"""A random tiny Stable Diffusion and AudioLDM 2, in the layout of the hub's."""

from pathlib import Path
from typing import Any

import diffusers as typed_diffusers
import torch
import transformers as typed_transformers

from tests.models.tiny_matchers import write_clap
from tests.models.tiny_sound_makers import gpt2, hifi_gan, name_part
from tests.wan_models import tokenizer

# Their classes are built in ways that a type checker cannot follow.
diffusers: Any = typed_diffusers
transformers: Any = typed_transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CLIP_DIM, T5_DIM, GPT_DIM = 16, 32, 24
"""Of hidden states; all differ, as each has its own use."""

WIDTH = 16
"""Of the layers in which pictures and sound meet."""

SETTINGS = ("models.precision=fp32", "aved.picture_block=1")
"""The blocks of so small networks."""


def picture_network(**changes: Any) -> Any:
    """Of Stable Diffusion's kind: no attention where it is coarsest."""
    sizes = {
        "block_out_channels": (WIDTH, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "cross_attention_dim": CLIP_DIM,
        "use_linear_projection": True,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return diffusers.UNet2DConditionModel(**{**sizes, **changes})


def sound_network(**changes: Any) -> Any:
    """Of AudioLDM 2's kind: in each layer one that looks to itself, to GPT-2's, and to T5's."""
    sizes = {
        "block_out_channels": (8, WIDTH),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "in_channels": 4,
        "out_channels": 4,
        "cross_attention_dim": [[None, GPT_DIM, T5_DIM], [None, GPT_DIM, T5_DIM]],
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return diffusers.AudioLDM2UNet2DConditionModel(**{**sizes, **changes})


def coder(channels: int, levels: int) -> Any:
    return diffusers.AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        latent_channels=4,
        block_out_channels=(4,) * levels,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        sample_size=64,
    )


def clip_tokenizer() -> Any:
    vocab = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for piece in (*LETTERS, *(f"{letter}</w>" for letter in LETTERS)):
        vocab[piece] = len(vocab)
    merges = [("e", "d</w>"), ("r", "ed</w>"), ("e", "n</w>")]
    vocab |= {"ed</w>": len(vocab), "red</w>": len(vocab) + 1, "en</w>": len(vocab) + 2}
    return transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=24)


def t5_tokenizer() -> Any:
    found = tokenizer()
    found.model_max_length = 64
    return found


def tiny_pictures(folder: Path, *, prediction: str = "epsilon", **of_network: Any) -> Path:
    """A `StableDiffusionPipeline`: strides of 8 pixels.

    Args:
        of_network: what differs in sizes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text = transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=len(clip_tokenizer()),
                hidden_size=CLIP_DIM,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=24,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
        scheduler = diffusers.DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type=prediction,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        diffusers.StableDiffusionPipeline(
            vae=coder(3, 4),
            text_encoder=text,
            tokenizer=clip_tokenizer(),
            unet=picture_network(**of_network),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
    return folder


def tiny_sounds(folder: Path, **of_network: Any) -> Path:
    """An `AudioLDM2Pipeline`: 16 kHz, 64 mels, strides of 4 spectra.

    Args:
        of_network: what differs in sizes.
    """
    with torch.random.fork_rng(devices=[]):
        clap = folder.with_name(f"{folder.name}-clap")
        write_clap(clap)
        torch.manual_seed(0)
        reader = transformers.T5EncoderModel(
            transformers.T5Config(
                vocab_size=len(t5_tokenizer()),
                d_model=T5_DIM,
                d_kv=4,
                d_ff=8,
                num_layers=1,
                num_heads=2,
                dropout_rate=0.0,
            )
        )
        generator = gpt2(GPT_DIM)
        vocoder = hifi_gan(64, upsample_initial_channel=32, initializer_range=0.3)
        diffusers.AudioLDM2Pipeline(
            vae=coder(1, 3),
            text_encoder=transformers.ClapModel.from_pretrained(clap),
            text_encoder_2=reader,
            projection_model=diffusers.AudioLDM2ProjectionModel(
                text_encoder_dim=8, text_encoder_1_dim=T5_DIM, langauge_model_dim=GPT_DIM
            ),
            language_model=generator,
            tokenizer=transformers.RobertaTokenizer.from_pretrained(clap),
            tokenizer_2=t5_tokenizer(),
            feature_extractor=transformers.ClapFeatureExtractor.from_pretrained(clap),
            unet=sound_network(**of_network),
            scheduler=diffusers.DDIMScheduler(
                beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False
            ),
            vocoder=vocoder,
        ).save_pretrained(folder)
    name_part(folder, "language_model", "transformers", "GPT2Model")
    return folder
