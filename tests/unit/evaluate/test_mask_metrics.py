"""J, F and the curve over the precision factor, on masks drawn here and on real tracks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy
from PIL import Image

from avipipe.annotators.base import Mask
from avipipe.evaluate.metrics.davis import (
    boundary,
    boundary_accuracy,
    boundary_tolerance_px,
    decay,
    mask_agreement,
    match_proposals,
    region_similarity,
)
from avipipe.evaluate.metrics.undefined import Undefined

REAL_MASKS = Path(__file__).parents[4] / "shared" / "masks"


def square(left: int, *, size: int = 40, num_frames: int = 5) -> Mask:
    mask = np.zeros((num_frames, 120, 160), np.bool_)
    mask[:, 40 : 40 + size, left : left + size] = True
    return mask


def test_j_is_the_known_overlap() -> None:
    found = mask_agreement(square(50), square(60))
    assert found.j == pytest.approx(30 / 50)
    assert len(found.region_T) == 3
    assert len(mask_agreement(square(50), square(60), given_ends=False).region_T) == 5


def test_f_forgives_its_tolerance_and_no_more() -> None:
    tolerance_px = boundary_tolerance_px((120, 160))
    assert tolerance_px == 2
    scores = [mask_agreement(square(50), square(50 + shift)).f for shift in range(6)]
    assert scores[: tolerance_px + 1] == [1.0] * (tolerance_px + 1)
    assert (np.diff(scores[tolerance_px:]) < 0).all()


def test_empty_masks() -> None:
    full, empty = np.ones((4, 5), np.bool_), np.zeros((4, 5), np.bool_)
    some = np.eye(4, 5, dtype=np.bool_)
    assert region_similarity(empty, empty) == boundary_accuracy(empty, empty) == 1.0
    assert region_similarity(some, empty) == boundary_accuracy(some, empty) == 0.0
    assert (region_similarity(full, empty), boundary_accuracy(full, empty)) == (0.0, 1.0)


def test_void_pixels_do_not_count() -> None:
    truth, mask = square(50)[0], square(50, size=60)[0]
    void = mask & ~truth
    assert region_similarity(truth, mask, void_HW=void) == 1.0
    assert boundary_accuracy(truth, mask, void_HW=void) == 1.0


def test_what_cannot_be_compared_says_why() -> None:
    with pytest.raises(Undefined, match="at least 3 frames, got 2"):
        mask_agreement(square(50, num_frames=2), square(50, num_frames=2))
    with pytest.raises(Undefined, match="to have the shape"):
        mask_agreement(square(50), square(50, num_frames=4))
    with pytest.raises(Undefined, match="no proposals"):
        match_proposals(square(50)[None], np.zeros((0, 5, 120, 160), np.bool_))
    with pytest.raises(Undefined, match="at least 4 scores"):
        decay(np.ones(3))


def test_proposals_find_their_objects() -> None:
    truths = np.stack([square(10), square(100)])
    found = match_proposals(truths, np.stack([square(98), square(60), square(13)]))
    assert [(proposal, truth) for proposal, truth, _ in found] == [(0, 1), (2, 0)]


def real_masks() -> Iterator[Mask]:
    """Every object of every frame of the real mask tracks, (H, W) bool each."""
    paths = sorted(REAL_MASKS.glob("*/masks/*.png"))
    if not paths:
        pytest.skip(f"no mask tracks in {REAL_MASKS}")
    for path in paths:
        labels = np.asarray(Image.open(path))
        yield from (labels == label for label in np.unique(labels[labels > 0]))


def test_real_masks_against_exact_distances() -> None:
    for truth in real_masks():
        assert region_similarity(truth, truth) == boundary_accuracy(truth, truth) == 1.0
        mask = np.roll(truth, (2, -5), axis=(0, 1))
        assert boundary_accuracy(truth, mask) == pytest.approx(f_by_distances(truth, mask))
        assert 0.0 < region_similarity(truth, mask) < 1.0


def f_by_distances(truth: Mask, mask: Mask) -> float:
    """F from exact distances to the other's boundary, in place of dilated boundaries."""
    edges = boundary(truth), boundary(mask)
    if not all(edge.any() for edge in edges):
        return float(edges[0].any() == edges[1].any())
    tolerance_px = boundary_tolerance_px(truth.shape)
    recall, precision = (
        (scipy.ndimage.distance_transform_edt(~there)[here] <= tolerance_px).mean()
        for here, there in (edges, edges[::-1])
    )
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0
