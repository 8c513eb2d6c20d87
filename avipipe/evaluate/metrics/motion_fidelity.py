"""Motion fidelity: whether points of an edit move as points of its source do.

Tracks are (P points, T frames, xy) in pixels; of each step between frames only its direction
counts.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Tracks = npt.NDArray[np.floating[Any]]

STILL_PX = 1e-8
"""Added to the length of a step, so that a point that stands still has no direction: far below
what a tracker can tell."""


def step_similarity(
    edit_PTC: Tracks, source_QTC: Tracks, *, still_px: float
) -> npt.NDArray[np.float64]:
    """Mean cosine of the steps of each track of the edit with those of each of the source, (P, Q).

    Args:
        still_px: added to the length of each step; with 0, a track that stands still once has NaN.
    Raises:
        Undefined: no tracks, fewer than two frames, or another number of frames.
    """
    if edit_PTC.shape[1] != source_QTC.shape[1]:
        raise Undefined(
            f"tracks of {edit_PTC.shape[1]} frames against {source_QTC.shape[1]} of the source"
        )
    if not len(edit_PTC) or not len(source_QTC) or edit_PTC.shape[1] < 2:
        raise Undefined("nothing was tracked over two frames")
    edit, source = _directions(edit_PTC, still_px), _directions(source_QTC, still_px)
    return np.asarray(np.einsum("ptc,qtc->pq", edit, source) / edit.shape[1])


def fidelity_five(edit_PTC: Tracks, source_PTC: Tracks) -> float:
    """Motion fidelity as FiVE computes it, with its slip, to compare with published numbers.

    It lowers the similarity of a track with the one of its own number by 1, so an identical video
    scores about 0.5, and the same tracks in another order about 1.

    Raises:
        Undefined: other numbers of tracks; a track that stands still for a step (NaN there).
    Source: MinghanLi/FiVE-Bench@737b30e, `MotionFidelityScore`.
    """
    if len(edit_PTC) != len(source_PTC):
        raise Undefined(f"{len(edit_PTC)} tracks against {len(source_PTC)} of the source")
    matrix_PP = step_similarity(edit_PTC, source_PTC, still_px=0)
    if np.isnan(matrix_PP).any():
        raise Undefined("a track stands still")
    return float((matrix_PP - np.eye(len(matrix_PP))).max(axis=1).mean())


def fidelity_symmetric(edit_PTC: Tracks, source_QTC: Tracks) -> float:
    """Mean of the best match of every track, of the edit and of the source; 1 is the same motion.

    A track that stands still matches nothing, and adds 0.

    Raises:
        Undefined: no tracks, fewer than two frames, another number of frames, or no finite place.
    Source: Yatim et al., Space-Time Diffusion Features (CVPR 2024), equation 9, both ways.
    """
    matrix_PQ = step_similarity(edit_PTC, source_QTC, still_px=STILL_PX)
    require_finite(matrix_PQ, "tracks")
    return float((matrix_PQ.max(axis=1).mean() + matrix_PQ.max(axis=0).mean()) / 2)


def box_five(masks_THW: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The part of a picture (H, W) in which FiVE tracks points: the box of all masks of a clip.

    As there, the last row and the last column of the box are left out.

    Raises:
        Undefined: all masks are empty.
    Source: MinghanLi/FiVE-Bench@737b30e, `calculate_MFS`.
    """
    ever_HW = masks_THW.any(axis=0)
    if not ever_HW.any():
        raise Undefined("the mask is empty")
    rows, columns = np.nonzero(ever_HW)
    box_HW = np.zeros_like(ever_HW)
    box_HW[rows.min() : rows.max(), columns.min() : columns.max()] = True
    return box_HW


def _directions(tracks_PTC: Tracks, still_px: float) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # what is not finite is refused by who asks
        steps = np.diff(tracks_PTC.astype(np.float64), axis=1)
        return np.asarray(steps / (np.linalg.norm(steps, axis=-1, keepdims=True) + still_px))
