"""Masks of pixels to masks of latent cells, and back."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from avipipe.annotators.base import Mask
from avipipe.editor.avi_edit.sizes import SPATIAL_STRIDE, TEMPORAL_STRIDE
from avipipe.editor.common.cells import pool_mask

Rule = Literal["max_pool", "released"]


def downsample_mask(mask_B1FHW: Tensor, rule: Rule = "max_pool") -> Tensor:
    """Which latent cells a mask touches.

    Latent frame 0 holds video frame 0, and j > 0 the frames 4j - 3 … 4j, as in Wan's causal VAE.

    Args:
        mask_B1FHW: bool, or floats of which those above 0 count; F = 4 n + 1, sides multiples of
            16.
        rule: `max_pool`: a cell is in if any of its pixels is, so thin objects do not vanish.
            `released`: AVI-Edit's interpolation, which looks at 2 of 16 pixels along each side and
            2 of 4 frames.
    Returns:
        bool, (B, 1, n + 1, H / 16, W / 16).
    Raises:
        ValueError: other sizes.
    """
    num_frames, height, width = mask_B1FHW.shape[2:]
    if num_frames % TEMPORAL_STRIDE != 1 or height % SPATIAL_STRIDE or width % SPATIAL_STRIDE:
        raise ValueError(
            f"expected 4 n + 1 frames with sides that {SPATIAL_STRIDE} divides, got {num_frames} "
            f"frames of {width}x{height}"
        )
    inside = (mask_B1FHW > 0).float()
    if rule == "released":
        return interpolate_as_released(inside) > 0
    return pool_mask(inside, TEMPORAL_STRIDE, SPATIAL_STRIDE) > 0


def to_cells(mask_FHW: Mask) -> Tensor:
    """Which latent cells the masks of 4 n + 1 frames touch, bool (1, 1, T, h, w)."""
    return downsample_mask(torch.from_numpy(np.ascontiguousarray(mask_FHW))[None, None])


def to_pixels(cells_Thw: Mask) -> Mask:
    """Masks (4 T - 3, 16 h, 16 w) of all pixels in the cells."""
    frames = np.concatenate([cells_Thw[:1], np.repeat(cells_Thw[1:], TEMPORAL_STRIDE, axis=0)])
    return frames.repeat(SPATIAL_STRIDE, axis=1).repeat(SPATIAL_STRIDE, axis=2)


def interpolate_as_released(mask_B1FHW: Tensor) -> Tensor:
    """The first frame bilinearly, and all others trilinearly: floats that are above 0 in the mask.

    Source: AVI-Edit-Framework@3d6f200, diffsynth/pipelines/wan_video_new.py.
    """
    num_frames, height, width = mask_B1FHW.shape[2:]
    cells = (height // SPATIAL_STRIDE, width // SPATIAL_STRIDE)
    first = functional.interpolate(mask_B1FHW[:, :, 0], cells, mode="bilinear")[:, :, None]
    if num_frames == 1:
        return first
    size = ((num_frames - 1) // TEMPORAL_STRIDE, *cells)
    return torch.cat(
        [first, functional.interpolate(mask_B1FHW[:, :, 1:], size, mode="trilinear")], 2
    )
