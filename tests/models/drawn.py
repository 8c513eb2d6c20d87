"""Tensors and views drawn anew, always the same, to compare a network with its official code."""

import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def drawn_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A state of these shapes, each tensor drawn by its name; weights of one axis are of norms."""
    return {name: _drawn(name, shape) for name, shape in shapes.items()}


def _drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    is_norm = len(shape) == 1 and name.endswith("weight")
    scale = 0.2 if len(shape) == 1 else 2 / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy((is_norm + scale * values).astype(np.float32))


def drawn_views(seed: int, *shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
