"""Which latent cells a mask of pixels touches."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from avipipe.annotators.base import Mask


def touched_cells(mask_FHW: Mask, temporal: int, spatial: int) -> Tensor:
    """Which cells the masks of `temporal` n + 1 frames touch.

    Args:
        temporal: frames in a cell, but for the first, which holds one.
        spatial: pixels along a side of a cell.
    Returns:
        bool, (1, 1, n + 1, H / spatial, W / spatial).
    """
    mask = torch.from_numpy(np.ascontiguousarray(mask_FHW))[None, None]
    return pool_mask(mask.float(), temporal, spatial) > 0


def pool_mask(mask_B1FHW: Tensor, temporal: int, spatial: int) -> Tensor:
    """The largest value in each cell: cell 0 holds frame 0, j > 0 `temporal` frames up to j's."""
    first = mask_B1FHW[:, :, :1].expand(-1, -1, temporal - 1, -1, -1)
    size = (temporal, spatial, spatial)
    return functional.max_pool3d(torch.cat([first, mask_B1FHW], dim=2), size)
