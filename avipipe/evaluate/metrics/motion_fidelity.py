"""Motion fidelity: whether points of an edit move as points of its source do.

Tracks are (P points, T frames, xy) in pixels; of each step between frames only its direction
counts.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Tracks = npt.NDArray[np.floating[Any]]

MIN_STEP_PX = 0.5
"""A shorter step is none: what the chained flow of still pictures wanders. A choice."""
_MIN_MOVING = 0.5
"""Share of its steps in which a track must move, to be asked for its like. A choice."""
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


def fidelity_moving(
    edit_WPTC: Tracks, source_WQTC: Tracks, *, min_step_px: float = MIN_STEP_PX
) -> float:
    """Mean of the best match of every track that moves, of the edit and of the source, in [0, 1].

    Two tracks are compared over the steps in which either moves; a step of one alone adds 0. So an
    unedited video has 1 however much of it stands still, and a still one has 0. A track that
    nothing moves like adds 0, and so does a side of which nothing moves.

    Args:
        edit_WPTC, source_WQTC: of W windows, each with tracks of its own; a track that holds NaN is
            left out.
        min_step_px: shorter steps are none.
    Raises:
        Undefined: nothing moves in the source, or another number of windows or frames.
    Source: Yatim et al., Space-Time Diffusion Features (CVPR 2024), equation 9, which has no value
        for what stands still.
    """
    if edit_WPTC.shape[::2] != source_WQTC.shape[::2]:
        raise Undefined(
            f"tracks of {edit_WPTC.shape[::2]} windows and frames against "
            f"{source_WQTC.shape[::2]} of the source"
        )
    edit_bests, source_bests = [], []
    for edit_PTC, source_QTC in zip(edit_WPTC, source_WQTC, strict=True):
        edit, source = (_long_steps(each, min_step_px) for each in (edit_PTC, source_QTC))
        edit_bests.append(_best_matches(edit, source))
        source_bests.append(_best_matches(source, edit))
    of_edit, of_source = np.concatenate(edit_bests), np.concatenate(source_bests)
    if not len(of_source):
        raise Undefined("nothing that can be followed moves in the source")
    return float(of_source.mean() + (of_edit.mean() if len(of_edit) else 0.0)) / 2


def _long_steps(tracks_PTC: Tracks, min_step_px: float) -> npt.NDArray[np.float64]:
    """Directions (P, T - 1, xy) of the steps of whole tracks, 0 for a step that is none."""
    whole_PTC = tracks_PTC[np.isfinite(tracks_PTC).all(axis=(1, 2))].astype(np.float64)
    steps = np.diff(whole_PTC, axis=1)
    lengths = np.linalg.norm(steps, axis=-1, keepdims=True)
    return np.where(lengths >= min_step_px, steps / np.maximum(lengths, min_step_px), 0.0)


def _best_matches(
    of_PTC: npt.NDArray[np.float64], among_QTC: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Similarity of each moving track with its best match, at least 0."""
    moves_PT, among_QT = (
        (each != 0).any(axis=2).astype(np.float64) for each in (of_PTC, among_QTC)
    )
    is_moving = moves_PT.mean(axis=1) >= _MIN_MOVING
    moves_PT = moves_PT[is_moving]
    both_PQ = moves_PT @ among_QT.T
    either_PQ = moves_PT.sum(axis=1)[:, None] + among_QT.sum(axis=1)[None] - both_PQ
    cosines_PQ = np.tensordot(of_PTC[is_moving], among_QTC, axes=((1, 2), (1, 2)))
    return np.asarray((cosines_PQ / either_PQ).max(axis=1, initial=0.0))


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
