"""A tiny AudioLDM 2 that learns the tones of coloured shapes, with captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers as typed_diffusers
import torch
import transformers as typed_transformers
from torch import Tensor
from torch.nn import functional

from avipipe.editor.aved.sound import MelForm
from avipipe.editor.common.diffusion import Schedule
from avipipe.editor.common.image_codec import to_latents
from avipipe.editor.common.patch_codec import PatchCodec
from avipipe.media.normalize import FPS
from examples.tiny.learn import Told, dropped, learn, velocity_loss
from examples.tiny.shapes import PITCH_HZ, RGB, Scene, names_in
from examples.tiny.train_wan import word_tokenizer
from examples.tiny.vocoder import HOP, NUM_MELS, RATE_HZ, random_vocoder, tone

# Their classes are built in ways that a type checker cannot follow.
diffusers: Any = typed_diffusers
transformers: Any = typed_transformers

TEXT_DIM = 64
"""Width of what T5 reads: a vector for each word and what stands beside it."""

OTHER_DIM = 16
"""Of CLAP and GPT-2, to which the network does not look."""

WIDTHS = (32, 48)
"""Of the network's layers, fine and coarse; the latter as the fine ones of pictures, to which AvED
compares them."""

STRIDE = 4
"""Spectra, and mels, along a side of a latent cell, AudioLDM 2's."""

MEL_MEAN, MEL_STD = -8.0, 10.0
"""By which logarithmic spectra are normalised; they deviate by 3, but a tone, which lasts, would be
heard through most noise then, so that words would hardly matter."""

READING_STEPS = 300
"""In which T5 alone learns which colour is named first; a large one has read much before."""

STEPS = 600
"""Of training, after which the colour that is named first stands for a tone."""

BATCH = 16
"""Sounds of a step."""

LR = 3e-3
"""The highest learning rate."""


@dataclass(frozen=True, slots=True)
class TinySounds:
    """The parts of an AudioLDM 2.

    Random until trained, but for the codec, which has nothing to learn, and for CLAP and GPT-2,
    which stay random: the network looks at the words of T5 alone.
    """

    network: Any
    codec: PatchCodec
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    vocoder: Any

    @classmethod
    def random(cls, seed: int = 0) -> "TinySounds":
        """Parts of the real kinds; the network says velocities."""
        tokenizer = word_tokenizer()
        torch.manual_seed(seed)
        network = diffusers.AudioLDM2UNet2DConditionModel(
            in_channels=STRIDE**2,
            out_channels=STRIDE**2,
            block_out_channels=WIDTHS,
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=4,
            cross_attention_dim=[[None, None, TEXT_DIM]] * 2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )
        reader = transformers.T5Config(
            vocab_size=len(tokenizer),
            d_model=TEXT_DIM,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
        )
        codec = PatchCodec(
            in_channels=1,
            z_dim=STRIDE**2,
            scale_factor_spatial=STRIDE,
            latents_mean=MEL_MEAN,
            latents_std=MEL_STD,
        )
        scheduler = diffusers.DDIMScheduler(
            beta_start=0.0015,
            beta_end=0.0195,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            clip_sample=False,
        )
        text_encoder = transformers.T5EncoderModel(reader)
        return cls(network, codec, text_encoder, tokenizer, scheduler, random_vocoder(seed))

    def weights(self) -> list[torch.nn.Parameter]:
        """All that is learnt, but for the vocoder."""
        return [*self.network.parameters(), *self.text_encoder.parameters()]

    def read(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Hidden states (B, L, D) and which of them are words (B, L)."""
        given = self.tokenizer(list(captions), padding=True, return_tensors="pt")
        mask = torch.as_tensor(given.attention_mask)
        return self.text_encoder(given.input_ids, attention_mask=mask).last_hidden_state, mask

    def save(self, folder: Path) -> None:
        """Write an `AudioLDM2Pipeline`, with the codec in place of the VAE."""
        clap, words = _random_clap()
        diffusers.AudioLDM2Pipeline(
            vae=None,
            text_encoder=clap,
            text_encoder_2=self.text_encoder,
            projection_model=diffusers.AudioLDM2ProjectionModel(
                text_encoder_dim=OTHER_DIM,
                text_encoder_1_dim=TEXT_DIM,
                langauge_model_dim=OTHER_DIM,
            ),
            language_model=_random_gpt2(),
            tokenizer=words,
            tokenizer_2=self.tokenizer,
            feature_extractor=transformers.ClapFeatureExtractor(truncation="rand_trunc"),
            unet=self.network,
            scheduler=self.scheduler,
            vocoder=self.vocoder,
        ).save_pretrained(folder)
        self.codec.save_config(folder / "vae")


def _random_clap() -> tuple[Any, Any]:
    """The least CLAP, and a tokenizer of letters for it."""
    layers = {
        "hidden_size": OTHER_DIM,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": OTHER_DIM,
    }
    letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyzĠ"]
    text = {
        "vocab_size": len(letters),
        "intermediate_size": OTHER_DIM,
        "max_position_embeddings": 80,
    }
    audio = {
        "patch_embeds_hidden_size": OTHER_DIM // 2,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
    }
    config = transformers.ClapConfig(
        text_config=layers | text, audio_config=layers | audio, projection_dim=OTHER_DIM
    )
    vocab = {letter: index for index, letter in enumerate(letters)}
    tokenizer = transformers.RobertaTokenizer(vocab=vocab, merges=[], model_max_length=77)
    return transformers.ClapModel(config), tokenizer


def _random_gpt2() -> Any:
    """The least GPT-2 that generates states."""
    config = transformers.GPT2Config(
        n_embd=OTHER_DIM,
        n_head=2,
        n_layer=1,
        n_positions=99,
        vocab_size=8,
        max_new_tokens=1,
        bos_token_id=0,
        eos_token_id=1,
    )
    return transformers.GPT2LMHeadModel(config)


@dataclass(frozen=True, slots=True)
class SoundLessons:
    """Sounds as they are heard: latents (N, C, h, w), and their captions."""

    latents: Tensor
    captions: Sequence[str]

    @classmethod
    def of(cls, scenes: Sequence[Scene], parts: TinySounds, seed: int = 0) -> "SoundLessons":
        """Encode tones of scenes, of any phase, in a little noise."""
        form = MelForm(HOP, NUM_MELS, RATE_HZ, STRIDE * 2)
        generator = torch.Generator().manual_seed(seed)
        latents = []
        for scene in scenes:
            phase, grain = torch.rand(2, generator=generator).tolist()
            num_samples = scene.num_frames * RATE_HZ // FPS
            heard = tone(PITCH_HZ[scene.shapes[0].colour], num_samples, phase=phase)
            grain_N = 10 ** (-3 - 2 * grain) * torch.randn(num_samples, generator=generator)
            spectra, _ = form.spectra(heard + grain_N.numpy())
            latents.append(to_latents(parts.codec, spectra[None, None]))
        return cls(torch.cat(latents), [scene.caption for scene in scenes])


def train_sounds(
    parts: TinySounds,
    lessons: SoundLessons,
    steps: int,
    *,
    seed: int = 0,
    told: Told = lambda step, loss: None,
) -> None:
    """Learn to read, and then velocities of spectra, some without a caption."""
    _learn_to_read(parts, lessons.captions, seed)
    schedule = Schedule(parts.scheduler.alphas_cumprod.double(), "v_prediction")

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(lessons.latents), (BATCH,), generator=generator)
        text, mask = parts.read(dropped([lessons.captions[row] for row in rows], generator))

        def said(noisy: Tensor, times: Tensor) -> Any:
            return parts.network(
                noisy,
                times,
                torch.empty(BATCH, 1, 1),
                encoder_hidden_states_1=text,
                encoder_attention_mask_1=mask,
                return_dict=False,
            )[0]

        return velocity_loss(schedule, lessons.latents[rows], said, generator)

    learn(parts.weights(), loss_of, steps, lr=LR, seed=seed, told=told)


def _learn_to_read(parts: TinySounds, captions: Sequence[str], seed: int) -> None:
    """Teach T5 to tell by any word which colour is named first."""
    torch.manual_seed(seed)
    head = torch.nn.Linear(TEXT_DIM, len(RGB))
    colours = torch.tensor([tuple(RGB).index(names_in(caption)[0][0]) for caption in captions])

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(captions), (BATCH,), generator=generator)
        states, mask = parts.read([captions[row] for row in rows])
        said = head(states)[mask > 0]
        return functional.cross_entropy(said, colours[rows].repeat_interleave(mask.sum(1)))

    weights = [*parts.text_encoder.parameters(), *head.parameters()]
    learn(weights, loss_of, READING_STEPS, lr=LR, seed=seed)
