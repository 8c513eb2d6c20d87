"""The file that a solver leaves after each step, so that it can go on from there."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from avipipe.errors import RunError
from avipipe.files import written_whole


def save_state(path: Path, step: int, tensors: Mapping[str, Tensor]) -> None:
    """Write a step's number and tensors as a safetensors file, whole or not at all."""
    with written_whole(path) as draft:
        safetensors.torch.save_file(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            draft,
            metadata={"step": str(step), "sha256": _sha256(step, list(tensors.values()))},
        )


def load_state(path: Path, names: Sequence[str]) -> tuple[int, list[Tensor]]:
    """Read what `save_state` wrote of tensors of these names, in the same order.

    Raises:
        RunError: it is something else.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = file.metadata()
            step, tensors = int(about["step"]), [file.get_tensor(name) for name in names]
            if _sha256(step, tensors) != about["sha256"]:
                raise ValueError("it has changed since it was written")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: expected an edit on its way: {error}; delete the file to begin again"
        ) from error
    return step, tensors


@dataclass(frozen=True, slots=True)
class Editing:
    """An edit on its way: number of the next step that is made, from 0, and latents, float32."""

    step: int
    latents: Tensor

    def to(self, device: torch.device | str) -> Self:
        """This edit on its way, on a device."""
        return type(self)(self.step, self.latents.to(device))

    def save(self, path: Path) -> None:
        """Write it as a safetensors file, whole or not at all."""
        save_state(path, self.step, {"latents": self.latents})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            RunError: it is something else.
        """
        step, (latents,) = load_state(path, ("latents",))
        return cls(step, latents)


State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class EditStep(Generic[State]):
    """A step that was made, how long it took, and where the edit stands."""

    index: int
    seconds: float
    editing: State


def _sha256(step: int, tensors: Sequence[Tensor]) -> str:
    """Of all that a state is."""
    found = hashlib.sha256(str(step).encode())
    for tensor in tensors:
        held = tensor.cpu().contiguous()
        found.update(f"{held.dtype} {tuple(held.shape)}".encode())
        found.update(held.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
