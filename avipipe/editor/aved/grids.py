"""Frames side by side in grids, which an image model makes alike, and back.

Shapes: K frames, G grids, C channels, h x w cells of a frame, D channels of a token.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def draw_order(num_frames: int, side: int, generator: torch.Generator) -> Tensor:
    """Which frame stands in which place, (num_frames,): another grid for each at every draw.

    Args:
        side: frames along a side of a grid; of 1, there is nothing to draw.
    """
    if side == 1:
        return torch.arange(num_frames)
    return torch.randperm(num_frames, generator=generator)


def to_grids(frames_KChw: Tensor, order_K: Tensor, side: int) -> Tensor:
    """Frames in an order as grids (G, C, side h, side w), row by row.

    K is a multiple of `side` squared.
    """
    num_frames, channels, height, width = frames_KChw.shape
    placed = frames_KChw[order_K].view(num_frames // side**2, side, side, channels, height, width)
    return placed.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, side * height, side * width)


def from_grids(grids_GChw: Tensor, order_K: Tensor, side: int) -> Tensor:
    """The frames (K, C, h, w) that `to_grids` placed."""
    num_grids, channels, height, width = grids_GChw.shape
    height, width = height // side, width // side
    placed = grids_GChw.view(num_grids, channels, side, height, side, width)
    placed = placed.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, height, width)
    return placed[order_K.argsort()]


def tokens_to_frames(
    tokens_GND: Tensor, shape: tuple[int, int], order_K: Tensor, side: int
) -> Tensor:
    """Tokens of grids, row by row, as those of frames in their own order, (K, h, w, D).

    Args:
        shape: rows and columns of tokens of a grid.
    """
    maps_GDhw = tokens_GND.transpose(1, 2).reshape(len(tokens_GND), -1, *shape)
    return from_grids(maps_GDhw, order_K, side).permute(0, 2, 3, 1)


def frames_to_tokens(tokens_KhwD: Tensor, order_K: Tensor, side: int) -> Tensor:
    """Tokens of frames as those of grids, (G, N, D): the way back of `tokens_to_frames`."""
    return to_grids(tokens_KhwD.permute(0, 3, 1, 2), order_K, side).flatten(2).transpose(1, 2)


def level_shape(shape: tuple[int, int], level: int) -> tuple[int, int]:
    """Rows and columns that are left of a map after so many halvings, each rounded up."""
    return math.ceil(shape[0] / 2**level), math.ceil(shape[1] / 2**level)


def resize_maps(maps_Khw: Tensor, shape: tuple[int, int]) -> Tensor:
    """Maps at another number of rows and columns, (K, h, w), the nearest cell each."""
    return functional.interpolate(maps_Khw[:, None], shape, mode="nearest-exact")[:, 0]
