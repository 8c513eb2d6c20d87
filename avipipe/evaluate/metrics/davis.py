"""Agreement of mask tracks as DAVIS measures it: region similarity J, boundary accuracy F, J&F.

Both are in [0, 1], higher is better. They are defined at the size of the true mask: the boundary's
tolerance grows with the diagonal. Scores of several objects are averaged per object, then over the
objects of all sequences.

Source: Perazzi et al., A benchmark dataset and evaluation methodology for video object
segmentation, CVPR 2016; Pont-Tuset et al., The 2017 DAVIS challenge, arXiv 1704.00675, section 3;
davisvideochallenge/davis2017-evaluation@ac7c43f, davis2017/metrics.py and utils.py.
"""

from dataclasses import dataclass
from itertools import repeat

import cv2
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Mask
from avipipe.annotators.mask_quality import overlap
from avipipe.evaluate.metrics.mask_window import around
from avipipe.evaluate.metrics.undefined import Undefined, require_frames, require_same_shape

Scores = npt.NDArray[np.float64]

BOUNDARY_TOLERANCE_RATIO = 0.008
"""Distance at which boundaries still match, as a share of the diagonal; DAVIS' own."""
RECALL_ABOVE = 0.5
"""Score from which on, exclusively, a frame counts as found; DAVIS' own."""
_NUM_DECAY_BINS = 4
"""Decay compares the first with the last quarter of a sequence; DAVIS' own."""


@dataclass(frozen=True, slots=True)
class MaskAgreement:
    """How well a mask track fits the true one, a value per frame."""

    region_T: Scores
    boundary_T: Scores

    @property
    def j(self) -> float:
        """Mean region similarity."""
        return float(self.region_T.mean())

    @property
    def f(self) -> float:
        """Mean boundary accuracy."""
        return float(self.boundary_T.mean())

    @property
    def jf(self) -> float:
        """J&F, the mean of both."""
        return (self.j + self.f) / 2


def mask_agreement(
    truth_THW: Mask, mask_THW: Mask, *, void_THW: Mask | None = None, given_ends: bool = True
) -> MaskAgreement:
    """J and F of one object in every frame that counts.

    Args:
        truth_THW: the true masks; `mask_THW`: those to judge.
        void_THW: pixels that do not count (DAVIS' unsupervised task).
        given_ends: the first and the last frame do not count, as in DAVIS' semi-supervised task,
            which gives the first mask away.
    Raises:
        Undefined: another length or size, or no frame that counts.
    """
    require_same_shape(truth_THW, mask_THW, "mask")
    require_frames(truth_THW, 3 if given_ends else 1)
    frames = slice(1, -1) if given_ends else slice(None)
    voids = repeat(None) if void_THW is None else iter(void_THW[frames])
    triples = list(zip(truth_THW[frames], mask_THW[frames], voids, strict=False))
    return MaskAgreement(
        np.array([region_similarity(truth, mask, void_HW=void) for truth, mask, void in triples]),
        np.array([boundary_accuracy(truth, mask, void_HW=void) for truth, mask, void in triples]),
    )


def region_similarity(truth_HW: Mask, mask_HW: Mask, *, void_HW: Mask | None = None) -> float:
    """J: intersection over union; 1 where both are empty."""
    if void_HW is not None:
        truth_HW, mask_HW = truth_HW & ~void_HW, mask_HW & ~void_HW
    return overlap(truth_HW, mask_HW)


def boundary_accuracy(
    truth_HW: Mask,
    mask_HW: Mask,
    *,
    void_HW: Mask | None = None,
    tolerance_px: float | None = None,
) -> float:
    """F: harmonic mean of the shares of either boundary that lie within a tolerance of the other.

    1 where neither has a boundary, which a mask of the whole frame has not either: so the full mask
    has F = 1 and J = 0 against the empty one. Read F beside J.

    Args:
        tolerance_px: Euclidean, inclusive; by default `boundary_tolerance_px` of the size.
    """
    if void_HW is not None:
        truth_HW, mask_HW = truth_HW & ~void_HW, mask_HW & ~void_HW
    if tolerance_px is None:
        tolerance_px = boundary_tolerance_px(truth_HW.shape)
    # Boundaries have no pixels further out.
    window = around(truth_HW | mask_HW, margin_px=1)
    truth_edge_HW, edge_HW = boundary(truth_HW[window]), boundary(mask_HW[window])
    if not truth_edge_HW.any() or not edge_HW.any():
        return float(truth_edge_HW.any() == edge_HW.any())
    precision = _share_near(edge_HW, truth_edge_HW, tolerance_px)
    recall = _share_near(truth_edge_HW, edge_HW, tolerance_px)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary_tolerance_px(size: tuple[int, ...]) -> int:
    """Tolerance of F in pixels for a picture of (height, width)."""
    return int(np.ceil(BOUNDARY_TOLERANCE_RATIO * np.linalg.norm(size)))


def boundary(mask_HW: Mask) -> Mask:
    """Pixels that differ from the next to the right, below, or diagonally below."""
    edge_HW = np.zeros_like(mask_HW)
    edge_HW[:, :-1] |= mask_HW[:, :-1] ^ mask_HW[:, 1:]
    edge_HW[:-1] |= mask_HW[:-1] ^ mask_HW[1:]
    edge_HW[:-1, :-1] |= mask_HW[:-1, :-1] ^ mask_HW[1:, 1:]
    return edge_HW


def _share_near(edge_HW: Mask, other_HW: Mask, tolerance_px: float) -> float:
    offsets_px = np.arange(-int(tolerance_px), int(tolerance_px) + 1)
    disk = offsets_px[:, None] ** 2 + offsets_px**2 <= tolerance_px**2
    near_HW = cv2.dilate(other_HW.astype(np.uint8), disk.astype(np.uint8))
    return np.count_nonzero(near_HW[edge_HW]) / np.count_nonzero(edge_HW)


def recall(scores_T: Scores) -> float:
    """Share of frames whose score is above one half."""
    return float((scores_T > RECALL_ABOVE).mean())


def decay(scores_T: Scores) -> float:
    """By how much the mean score falls from the first quarter of a sequence to the last.

    Neighbouring quarters share a frame, as DAVIS has it. Its own code keeps their borders in eight
    bits and is wrong above 256 frames; this is not.

    Raises:
        Undefined: fewer frames than quarters.
    """
    if len(scores_T) < _NUM_DECAY_BINS:
        raise Undefined(f"expected at least {_NUM_DECAY_BINS} scores, got {len(scores_T)}")
    even = np.linspace(1, len(scores_T), _NUM_DECAY_BINS + 1)
    borders = np.round(even + 1e-10).astype(np.int64) - 1
    first, last = scores_T[: borders[1] + 1], scores_T[borders[-2] :]
    return float(first.mean() - last.mean())


def match_proposals(
    truths_KTHW: Mask, proposals_NTHW: Mask, *, void_THW: Mask | None = None
) -> list[tuple[int, int, MaskAgreement]]:
    """Assign unlabelled mask tracks to true objects, one to one, for the largest sum of J&F.

    All frames count, as in DAVIS' unsupervised task.

    Returns:
        (proposal, object, agreement) of each pair, by proposal.
    Raises:
        Undefined: as `mask_agreement`; no objects or no proposals.
    """
    if len(truths_KTHW) == 0 or len(proposals_NTHW) == 0:
        raise Undefined("there are no objects or no proposals to match")
    found = [
        [
            mask_agreement(truth, proposal, void_THW=void_THW, given_ends=False)
            for truth in truths_KTHW
        ]
        for proposal in proposals_NTHW
    ]
    gain_NK = np.array([[agreement.jf for agreement in row] for row in found])
    pairs = zip(*scipy.optimize.linear_sum_assignment(gain_NK, maximize=True), strict=True)
    return [(int(n), int(k), found[n][k]) for n, k in pairs]
