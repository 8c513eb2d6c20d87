"""Tiny random checkpoints of what makes sounds and speech, in the layout of their hubs."""

import json
from pathlib import Path
from typing import Any

import diffusers as typed_diffusers
import torch
import transformers as typed_transformers

# Their classes are built in ways that a type checker cannot follow.
diffusers: Any = typed_diffusers
transformers: Any = typed_transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SAMPLE_RATE_HZ = 100
"""Of the tiny Stable Audio."""

LONGEST_S = 8.0


def write_stable_audio(folder: Path) -> None:
    """The architecture of stable-audio-open-1.0, with its scheduler as the hub describes it."""
    torch.manual_seed(0)
    transformer = diffusers.StableAudioDiTModel(
        sample_size=round(LONGEST_S * SAMPLE_RATE_HZ / 2),
        in_channels=3,
        num_layers=1,
        attention_head_dim=4,
        num_key_value_attention_heads=2,
        out_channels=3,
        cross_attention_dim=4,
        time_proj_dim=8,
        global_states_input_dim=8,
        cross_attention_input_dim=4,
    )
    vae = diffusers.AutoencoderOobleck(
        encoder_hidden_size=6,
        downsampling_ratios=[1, 2],
        decoder_channels=3,
        decoder_input_channels=3,
        audio_channels=2,
        channel_multiples=[2, 4],
        sampling_rate=SAMPLE_RATE_HZ,
    )
    diffusers.StableAudioPipeline(
        vae=vae,
        text_encoder=_text_encoder(4),
        projection_model=diffusers.StableAudioProjectionModel(
            text_encoder_dim=4, conditioning_dim=4, min_value=0, max_value=512
        ),
        tokenizer=_tokenizer(),
        transformer=transformer,
        scheduler=diffusers.EDMDPMSolverMultistepScheduler(),
    ).save_pretrained(folder)
    scheduler = {
        "_class_name": "CosineDPMSolverMultistepScheduler",
        "euler_at_final": False,
        "final_sigmas_type": "zero",
        "lower_order_final": True,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "rho": 7.0,
        "sigma_data": 1.0,
        "sigma_max": 500,
        "sigma_min": 0.3,
        "sigma_schedule": "exponential",
        "solver_order": 2,
        "solver_type": "midpoint",
    }
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    name_part(folder, "scheduler", "diffusers", "CosineDPMSolverMultistepScheduler")
    name_part(folder, "tokenizer", "transformers", "T5TokenizerFast")


def write_audioldm2(folder: Path, clap_folder: Path) -> None:
    """The architecture of cvssp/audioldm2, its index as the hub has it."""
    torch.manual_seed(0)
    unet = diffusers.AudioLDM2UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(8, 16),
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=[8, 16],
        in_channels=1,
        out_channels=1,
        norm_num_groups=8,
        down_block_types=["DownEncoderBlock2D", "DownEncoderBlock2D"],
        up_block_types=["UpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=4,
    )
    vocoder = hifi_gan(8, upsample_initial_channel=64)
    language_model = gpt2(16)
    diffusers.AudioLDM2Pipeline(
        vae=vae,
        text_encoder=transformers.ClapModel.from_pretrained(clap_folder),
        text_encoder_2=_text_encoder(32),
        projection_model=diffusers.AudioLDM2ProjectionModel(
            text_encoder_dim=8, text_encoder_1_dim=32, langauge_model_dim=16
        ),
        language_model=language_model,
        tokenizer=transformers.RobertaTokenizer.from_pretrained(clap_folder),
        tokenizer_2=_tokenizer(),
        feature_extractor=transformers.ClapFeatureExtractor.from_pretrained(clap_folder),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False
        ),
        vocoder=vocoder,
    ).save_pretrained(folder)
    name_part(folder, "language_model", "transformers", "GPT2Model")
    name_part(folder, "tokenizer", "transformers", "RobertaTokenizerFast")
    name_part(folder, "tokenizer_2", "transformers", "T5TokenizerFast")
    name_part(folder, "unet", "audioldm2", "AudioLDM2UNet2DConditionModel")


def hifi_gan(num_mels: int, **changes: Any) -> Any:
    """A vocoder of AudioLDM 2's kind: 16 kHz, 160 samples a spectrum."""
    sizes = {
        "model_in_dim": num_mels,
        "sampling_rate": 16_000,
        "upsample_rates": [5, 4, 2, 2, 2],
        "upsample_kernel_sizes": [16, 16, 8, 4, 4],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
        "normalize_before": False,
    }
    return transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**sizes | changes))


def gpt2(dim: int) -> Any:
    """What imagines, in AudioLDM 2, the states that the network reads."""
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            n_embd=dim,
            n_head=2,
            n_layer=1,
            n_positions=99,
            vocab_size=20,
            max_new_tokens=8,
            bos_token_id=0,
            eos_token_id=1,
        )
    )


def write_mms_tts(folder: Path) -> None:
    """The architecture of mms-tts-eng: letters in, 16 kHz out."""
    config = transformers.VitsConfig(
        vocab_size=len(LETTERS) + 3,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        upsample_initial_channel=32,
        upsample_rates=[8, 8],
        upsample_kernel_sizes=[16, 16],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        prior_encoder_num_flows=1,
        posterior_encoder_num_wavenet_layers=1,
        prior_encoder_num_wavenet_layers=1,
        duration_predictor_filter_channels=16,
        depth_separable_num_layers=1,
        duration_predictor_num_flows=1,
        sampling_rate=16_000,
    )
    torch.manual_seed(0)
    transformers.VitsModel(config).save_pretrained(folder)
    signs = {sign: index for index, sign in enumerate(f"|{LETTERS} '")}
    (folder / "vocab.json").write_text(json.dumps(signs))
    tokenizer = transformers.VitsTokenizer(
        folder / "vocab.json", pad_token="|", unk_token="<unk>", language="eng", phonemize=False
    )
    tokenizer.save_pretrained(folder)


def _tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in LETTERS]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=32)


def _text_encoder(dim: int) -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=40, d_model=dim, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    )


def name_part(folder: Path, part: str, library: str, kind: str) -> None:
    """Write the class of a part into the index, as the hub has it."""
    index = folder / "model_index.json"
    parts = json.loads(index.read_text())
    index.write_text(json.dumps(parts | {part: [library, kind]}))
