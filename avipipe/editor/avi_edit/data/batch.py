"""What the network is trained with."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.editor.common.tasks import Task


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips of one bucket: F video frames of H x W pixels, T x h x w latent cells.

    Attributes:
        keys: clip ids.
        starts: the frame of its clip at which each begins.
        latents: of the VAE, normalised, (B, C, T, h, w).
        mask: what is given to the network, bool (B, 1, T, h, w): the degraded mask.
        exact_mask: what the refiner is to find, bool, the same shape; within `mask`.
        precision: the factor p of `mask`, int64 (B,).
        text: embedded captions, (B, L, D), zeros after their ends.
        no_text: the embedded empty text, (1, L, D).
        audio: wav2vec2's hidden states at each video frame, (B, F, states, width); zeros where
            there is none.
        has_audio: bool (B,).
    """

    keys: tuple[str, ...]
    starts: tuple[int, ...]
    tasks: tuple[Task, ...]
    bucket: Bucket
    latents: Tensor
    mask: Tensor
    exact_mask: Tensor
    precision: Tensor
    text: Tensor
    no_text: Tensor
    audio: Tensor
    has_audio: Tensor

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """This batch with its tensors on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """This batch in page-locked memory; what a `DataLoader` asks of a batch."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: change(value) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)
