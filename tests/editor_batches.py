"""Batches of the tiny network's sizes that need no media: smooth latents, moving blobs as masks."""

from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.train.config import TrainConfig

BUCKET = Bucket(9, 64, 96)
NUM_CLIPS = 4


def tiny_config(**changes: Any) -> TrainConfig:
    """Trains the tiny network for a few steps."""
    data: dict[str, Any] = {
        "network": {"preset": "tiny", "begin": "fresh"},
        "data": {"dataset": "synthetic", "buckets": [BUCKET]},
        "precision": "fp32",
        "optimiser": {"lr": 2e-3, "warmup_steps": 2},
        "ema_decay": 0.9,
        "checkpoint": {"every_steps": 5},
        "validation": {"every_steps": 100},
        **changes,
    }
    return TrainConfig.model_validate(data)


class BatchStream:
    """Four clips in turn, dealt out to processes as `ClipStream` does. A `trainer.Stream`.

    Args:
        bad_turns: numbers of batches whose latents are broken.
    """

    def __init__(
        self,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        bad_turns: frozenset[int] = frozenset(),
    ) -> None:
        self._batch_size, self._rank, self._world_size = batch_size, rank, world_size
        self._bad_turns = bad_turns
        self.turn = 0

    def __next__(self) -> Batch:
        first = (self.turn * self._world_size + self._rank) * self._batch_size
        batch = batch_of([(first + place) % NUM_CLIPS for place in range(self._batch_size)])
        if self.turn in self._bad_turns:
            batch = replace(batch, latents=batch.latents * torch.nan)
        self.turn += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"turn": self.turn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.turn = state["turn"]


def batch_of(numbers: list[int]) -> Batch:
    """Clips by number; every other one is given its box."""
    sizes = EditorConfig.preset("tiny")
    num_frames, height, width = BUCKET.latent_size
    generators = [torch.Generator().manual_seed(number) for number in numbers]

    def normal(*shape: int) -> torch.Tensor:
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators])

    exact = torch.zeros(len(numbers), 1, num_frames, height, width, dtype=torch.bool)
    box = exact.clone()
    for row, number in enumerate(numbers):
        for frame in range(num_frames):
            left = (number + frame) % (width - 3)
            box[row, 0, frame, :3, left : left + 3] = True
            exact[row, 0, frame, 1:3, left : left + 2] = True
    given_box = torch.tensor([number % 2 == 0 for number in numbers])
    rough = normal(sizes.in_channels, num_frames, height, width)
    return Batch(
        keys=tuple(f"clip-{number}" for number in numbers),
        starts=(0,) * len(numbers),
        tasks=tuple("edit" for _ in numbers),
        bucket=BUCKET,
        latents=functional.avg_pool3d(rough, 3, stride=1, padding=1) * 3,
        mask=torch.where(given_box.view(-1, 1, 1, 1, 1), box, exact),
        exact_mask=exact,
        precision=torch.where(given_box, sizes.max_precision, 0),
        text=normal(sizes.text_len - 2, sizes.text_dim),
        no_text=torch.zeros(1, sizes.text_len - 2, sizes.text_dim),
        audio=normal(BUCKET.num_frames, sizes.num_audio_states, sizes.audio_dim),
        has_audio=torch.tensor([number != 1 for number in numbers]),
    )
