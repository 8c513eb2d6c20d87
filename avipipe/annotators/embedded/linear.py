"""Matrix products in blocks so small that a BLAS library runs each in the calling thread.

Workers share a machine, so a product that wakes every core slows all of them; and what it gives
must not depend on how many cores there are.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_MAX_MULTIPLICATIONS = 1 << 18
"""OpenBLAS starts threads above this."""


def row_blocks(a_MK: Array, b_KN: Array) -> Iterator[tuple[slice, Array]]:
    """Yield blocks of rows of `a @ b`: which rows, and their values."""
    num_rows = max(1, _MAX_MULTIPLICATIONS // max(1, b_KN.size))
    for start in range(0, a_MK.shape[0], num_rows):
        rows = slice(start, start + num_rows)
        yield rows, a_MK[rows] @ b_KN


def product(a_MK: Array, b_KN: Array) -> Array:
    """Matrix product `a @ b`, computed in blocks of rows."""
    out_MN = np.empty((a_MK.shape[0], b_KN.shape[1]), np.float32)
    for rows, block in row_blocks(a_MK, b_KN):
        out_MN[rows] = block
    return out_MN
