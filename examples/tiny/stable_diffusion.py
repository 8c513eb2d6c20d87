"""A tiny Stable Diffusion that learns grids of frames of two coloured shapes, with captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers as typed_diffusers
import torch
import transformers as typed_transformers
from torch import Tensor

from avipipe.annotators.base import Frames
from avipipe.editor.aved.grids import to_grids
from avipipe.editor.aved.method import native_frames
from avipipe.editor.common.diffusion import Schedule
from avipipe.editor.common.image_codec import ImageCodec
from avipipe.editor.common.patch_codec import PatchCodec
from examples.tiny.learn import Told, dropped, learn, velocity_loss
from examples.tiny.shapes import KINDS, RGB, Scene

# Their classes are built in ways that a type checker cannot follow.
diffusers: Any = typed_diffusers
transformers: Any = typed_transformers

MAX_TOKENS = 16
"""Of a caption, which has 9 with its begin and end; the network looks at padding too."""

TEXT_DIM = 64
"""Width of what is read: a vector for each word and what stands before it."""

WIDTHS = (48, 64)
"""Of the network's layers, fine and coarse."""

GRID_SIDE = 2
"""Frames along a side of a grid, AvED's."""

STEPS = 1500
"""Of training, after which colours and kinds are bound to their words."""

BATCH = 16
"""Frames of a step: as many scenes, or a quarter of them in grids."""

LR = 2e-3
"""The highest learning rate."""

STILLS = 0.75
"""Share of steps that show single frames, in which there is most to learn for its time."""


@dataclass(frozen=True, slots=True)
class TinyPictures:
    """The parts of a Stable Diffusion, random until trained; the codec has nothing to learn."""

    network: Any
    codec: PatchCodec
    text_encoder: Any
    tokenizer: Any
    scheduler: Any

    @classmethod
    def random(cls, seed: int = 0) -> "TinyPictures":
        """Parts of the real kinds; the network says velocities, as Stable Diffusion 2.1 does."""
        tokenizer = word_tokenizer()
        torch.manual_seed(seed)
        network = diffusers.UNet2DConditionModel(
            in_channels=12,
            out_channels=12,
            block_out_channels=WIDTHS,
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=4,
            cross_attention_dim=TEXT_DIM,
            use_linear_projection=True,
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
        )
        reader = transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_DIM,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        scheduler = diffusers.DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        text_encoder = transformers.CLIPTextModel(reader)
        return cls(network, PatchCodec(z_dim=12), text_encoder, tokenizer, scheduler)

    def weights(self) -> list[torch.nn.Parameter]:
        """All that is learnt."""
        return [*self.network.parameters(), *self.text_encoder.parameters()]

    def read(self, captions: Sequence[str]) -> Tensor:
        """Hidden states (B, `MAX_TOKENS`, D), padded as the pipeline of diffusers does."""
        given = self.tokenizer(list(captions), padding="max_length", return_tensors="pt")
        states: Tensor = self.text_encoder(given.input_ids).last_hidden_state
        return states

    def save(self, folder: Path) -> None:
        """Write a `StableDiffusionPipeline`, with the codec in place of the VAE."""
        diffusers.StableDiffusionPipeline(
            vae=None,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.network,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
        self.codec.save_config(folder / "vae")


def word_tokenizer() -> Any:
    """CLIP's kind, whose tokens are the words of captions, or letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocab = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    merges = list[tuple[str, str]]()
    for piece in (*letters, *(f"{letter}</w>" for letter in letters)):
        vocab[piece] = len(vocab)
    for word in ("and", *RGB, *KINDS):
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        for pair in merges:
            pieces = _merged(pieces, pair)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _merged(pieces, merges[-1])
            vocab.setdefault("".join(merges[-1]), len(vocab))
    return transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)


def _merged(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """Pieces of a word, with a pair of them joined wherever it stands."""
    found = list[str]()
    for piece in pieces:
        if found and (found[-1], piece) == pair:
            found[-1] += piece
        else:
            found.append(piece)
    return found


def edited_frames(scene: Scene) -> Frames:
    """The frames (K, H, W, 3) of a scene that AvED edits."""
    return scene.frames()[native_frames(scene.num_frames)]


@dataclass(frozen=True, slots=True)
class PictureLessons:
    """Scenes as they are shown: latents (N, K, C, h, w), and captions."""

    latents: Tensor
    captions: Sequence[str]

    @classmethod
    def of(cls, scenes: Sequence[Scene], parts: TinyPictures) -> "PictureLessons":
        """Encode the frames of scenes that AvED edits."""
        codec = ImageCodec(parts.codec)
        latents = torch.stack([codec.encode(edited_frames(scene)) for scene in scenes])
        return cls(latents, [scene.caption for scene in scenes])


def train_pictures(
    parts: TinyPictures,
    lessons: PictureLessons,
    steps: int,
    *,
    seed: int = 0,
    told: Told = lambda step, loss: None,
) -> None:
    """Learn velocities, of single frames and of grids, some without a caption."""
    schedule = Schedule(parts.scheduler.alphas_cumprod.double(), "v_prediction")

    def loss_of(generator: torch.Generator) -> Tensor:
        is_still = torch.rand((), generator=generator) < STILLS
        side = 1 if is_still else GRID_SIDE
        rows = torch.randint(len(lessons.latents), (BATCH // side**2,), generator=generator)
        pictures = [_shown(lessons.latents[row], side, generator) for row in rows]
        text = parts.read(dropped([lessons.captions[row] for row in rows], generator))
        return velocity_loss(
            schedule,
            torch.cat(pictures),
            lambda noisy, times: parts.network(noisy, times, text, return_dict=False)[0],
            generator,
        )

    learn(parts.weights(), loss_of, steps, lr=LR, seed=seed, told=told)


def _shown(frames_KChw: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Some frames of a scene in a grid, (1, C, h, w)."""
    order = torch.randperm(len(frames_KChw), generator=generator)[: side**2]
    return to_grids(frames_KChw[order], torch.arange(side**2), side)
