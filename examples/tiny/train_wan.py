"""Trains a tiny Wan to make videos of two coloured shapes from captions: minutes on a CPU.

    python -m examples.tiny.train_wan demo/wan
    avipipe edit … --method flow_anchor --model demo/wan

The folder is a Wan as the hub has it, with a codec without weights in place of the VAE.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor
from torch.nn import functional
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from avipipe.editor.common.codec import VideoEncoder
from avipipe.editor.common.flow import (
    NUM_TIMESTEPS,
    SigmaLaw,
    draw_noise,
    draw_sigmas,
    velocity_target,
)
from avipipe.editor.common.patch_codec import PatchCodec
from examples.tiny.learn import NO_CAPTION, Told, learn, printed
from examples.tiny.shapes import KINDS, RGB, Scene, draw_scene

MAX_TOKENS = 16
"""Of a caption, which has 8 with its end; Wan looks at padding too, so that 512 would cost time."""

TEXT_DIM = 64
"""Width of what is read: a vector for each word and what stands beside it."""

NUM_SCENES = 1500
"""That are learnt from; as many pairs of shapes in places as a network of this size needs."""

STEPS = 1500
"""Of training: 100 s of one CPU, after which colours and kinds are bound to their words."""

BATCH = 32
"""Scenes of a step."""

LR = 3e-3
"""The highest learning rate."""

STILLS = 0.75
"""Share of steps that show the first frame alone, in which there is most to learn for its time."""

SIGMAS = SigmaLaw(kind="uniform", shift=1.0)
"""Of few pixels noise hides little, so that no noise level needs to be seen more often."""


@dataclass(frozen=True, slots=True)
class TinyWan:
    """The parts of a Wan, random until they are trained; the codec has nothing to learn."""

    network: Any
    codec: Any
    text_encoder: Any
    tokenizer: Any

    @classmethod
    def random(cls, seed: int = 0) -> "TinyWan":
        """Parts of the real kinds; the network is wider, 80, than a token has values, 48."""
        tokenizer = word_tokenizer()
        torch.manual_seed(seed)
        kind: Any = WanTransformer3DModel
        network = kind(
            num_attention_heads=4,
            attention_head_dim=20,
            in_channels=12,
            out_channels=12,
            text_dim=TEXT_DIM,
            freq_dim=64,
            ffn_dim=192,
            num_layers=3,
        )
        reader = UMT5Config(
            vocab_size=len(tokenizer),
            d_model=TEXT_DIM,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
        )
        return cls(network, PatchCodec(z_dim=12), UMT5EncoderModel(reader), tokenizer)

    def weights(self) -> list[torch.nn.Parameter]:
        """All that is learnt."""
        return [*self.network.parameters(), *self.text_encoder.parameters()]

    def read(self, ids_BL: Tensor) -> Tensor:
        """Hidden states (B, `MAX_TOKENS`, D) of captions of equal length, padded with zeros."""
        states: Tensor = self.text_encoder(ids_BL).last_hidden_state
        return functional.pad(states, (0, 0, 0, MAX_TOKENS - states.shape[1]))

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            draft = Path(place) / folder.name
            self.network.save_pretrained(draft / "transformer")
            self.codec.save_config(draft / "vae")
            self.text_encoder.save_pretrained(draft / "text_encoder")
            self.tokenizer.save_pretrained(draft / "tokenizer")
            draft.rename(folder)


def word_tokenizer() -> Any:
    """One whose tokens are the words of captions, or letters."""
    words = ["a", "and", *RGB, *KINDS]
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,"
    special = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")]
    pieces = [(letter, -3.0) for letter in letters] + [(f"▁{word}", -1.0) for word in words]
    kind: Any = T5Tokenizer
    return kind(vocab=[*special, *pieces], extra_ids=0, model_max_length=MAX_TOKENS)


@dataclass(frozen=True, slots=True)
class Lessons:
    """Scenes as they are shown: latents (N, C, T, h, w), and tokens of captions (N, L)."""

    latents: Tensor
    ids: Tensor

    @classmethod
    def of(cls, scenes: Sequence[Scene], parts: TinyWan) -> "Lessons":
        """Encode scenes."""
        video = VideoEncoder(parts.codec, "")
        latents = [video.encode(torch.from_numpy(scene.frames())).mean for scene in scenes]
        captions = [scene.caption for scene in scenes]
        return cls(torch.stack(latents), parts.tokenizer(captions, return_tensors="pt").input_ids)


def train(
    parts: TinyWan,
    lessons: Lessons,
    steps: int,
    *,
    seed: int = 0,
    told: Told = lambda step, loss: None,
) -> None:
    """Learn velocities by flow matching, some without a caption."""

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(lessons.latents), (BATCH,), generator=generator)
        latents = lessons.latents[rows, :, : _draw_length(lessons.latents.shape[2], generator)]
        return _loss(parts, latents, lessons.ids[rows], generator)

    learn(parts.weights(), loss_of, steps, lr=LR, seed=seed, told=told)


def _draw_length(longest: int, generator: torch.Generator) -> int:
    """How many latent frames are shown at a step."""
    is_still = torch.rand((), generator=generator) < STILLS
    return 1 if is_still else int(torch.randint(1, longest + 1, (), generator=generator))


def _loss(parts: TinyWan, latents: Tensor, ids_BL: Tensor, generator: torch.Generator) -> Tensor:
    count = len(latents)
    sigma_B = draw_sigmas(SIGMAS, [generator] * count)
    noise = draw_noise(latents.shape[1:], [generator] * count)
    sigma = sigma_B.view(-1, 1, 1, 1, 1)
    unread = torch.rand(count, generator=generator) < NO_CAPTION
    nothing = parts.read(parts.tokenizer("", return_tensors="pt").input_ids)
    text = torch.where(unread[:, None, None], nothing, parts.read(ids_BL))
    velocity = parts.network(
        (1 - sigma) * latents + sigma * noise, NUM_TIMESTEPS * sigma_B, text, return_dict=False
    )[0]
    return functional.mse_loss(velocity, velocity_target(latents, noise))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    parts = TinyWan.random(given.seed)
    lessons = Lessons.of([draw_scene(rng) for _ in range(NUM_SCENES)], parts)
    train(parts, lessons, given.steps, seed=given.seed, told=printed("videos", given.steps))
    parts.save(given.folder)
    print(f"{given.folder}: a tiny Wan, for avipipe edit --method flow_anchor --model")


if __name__ == "__main__":
    main()
