"""What scores of pictures hold for any features, and where they have no value."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest

from avipipe.evaluate.extractors.local_views import blacked_out, cropped_views, masked_views
from avipipe.evaluate.metrics import clip_score, dino_similarity, lpips, motion_fidelity
from avipipe.evaluate.metrics.cosine import Features
from avipipe.evaluate.metrics.structure_distance import structure_distance
from avipipe.evaluate.metrics.undefined import Undefined

Consistency = Callable[[Features], float]
CONSISTENCIES: list[Consistency] = [
    clip_score.adjacent_consistency,
    clip_score.all_pairs_consistency,
    clip_score.first_frame_consistency,
    dino_similarity.subject_consistency,
]
STEPS = (0.0, 0.1, 0.3, 1.0)
"""A ladder of growing noise."""


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("metric", CONSISTENCIES)
def test_consistency_is_one_when_frozen_and_falls_with_noise(
    metric: Consistency, rng: np.random.Generator
) -> None:
    frozen = rng.standard_normal((1, 32)).repeat(12, axis=0)
    noise = rng.standard_normal((12, 32))
    found = [metric(frozen + step * noise) for step in STEPS]
    assert found[0] == pytest.approx(1)
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.8


@pytest.mark.parametrize("metric", CONSISTENCIES)
def test_consistency_has_no_value_without_two_sound_frames(metric: Consistency) -> None:
    broken = np.ones((3, 4))
    broken[1, 2] = np.nan
    for frames, reason in (
        (np.ones((1, 4)), "at least 2 frames"),
        (broken, "NaN"),
        (np.zeros((3, 4)), "zero"),
    ):
        with pytest.raises(Undefined, match=reason):
            metric(frames)


def test_all_pairs_are_the_mean_over_pairs_and_do_not_know_the_order(
    rng: np.random.Generator,
) -> None:
    frames = rng.standard_normal((7, 16))
    unit = frames / np.linalg.norm(frames, axis=1, keepdims=True)
    pairs = [float(a @ b) for a, b in permutations(unit, 2)]
    assert clip_score.all_pairs_consistency(frames) == pytest.approx(np.mean(pairs))
    shuffled = rng.permutation(frames)
    found = clip_score.all_pairs_consistency(shuffled)
    assert found == pytest.approx(clip_score.all_pairs_consistency(frames))
    assert clip_score.adjacent_consistency(shuffled) != pytest.approx(
        clip_score.adjacent_consistency(frames)
    )


def test_two_frames_in_turn_have_their_own_cosine() -> None:
    frames = np.array([[1.0, 0.0], [3.0, 4.0]] * 4)
    assert clip_score.adjacent_consistency(frames) == pytest.approx(0.6)


def test_an_object_is_found_only_where_no_other_fits_as_well() -> None:
    classes = np.eye(3)
    frames = np.array([[0, 0, 1], [0, 1, 1], [0.1, 0.2, 1], [1, 0, 0]])
    assert clip_score.object_accuracy(frames, classes, target=2) == 0.5
    assert clip_score.semantic_accuracy(frames, classes[1], classes[2]) == 0.5
    assert clip_score.semantic_accuracy(frames, classes[2], classes[2]) == 0


def test_equal_texts_tie_exactly(rng: np.random.Generator) -> None:
    frames, text = rng.standard_normal((40, 768)), rng.standard_normal(768)
    cosines = clip_score.text_similarities(frames, np.stack([text] * 11))
    np.testing.assert_array_equal(cosines, cosines[:, :1].repeat(11, axis=1))


def test_the_same_layout_is_one_and_noise_lowers_it(rng: np.random.Generator) -> None:
    keys = rng.standard_normal((2, 30, 16)) + 1
    noise = rng.standard_normal(keys.shape)
    likeness = [dino_similarity.layout_similarity(keys, keys + step * noise) for step in STEPS]
    distances = [structure_distance(keys, keys + step * noise) for step in STEPS]
    assert likeness[0] == pytest.approx(1)
    assert distances[0] == pytest.approx(0)
    assert likeness == sorted(likeness, reverse=True)
    assert distances == sorted(distances)
    scaled = structure_distance(keys, 5 * keys)
    assert scaled == pytest.approx(0)


@pytest.mark.parametrize("metric", [structure_distance, dino_similarity.layout_similarity])
def test_layouts_that_cannot_be_compared(metric: Callable[..., float]) -> None:
    keys = np.ones((2, 5, 3))
    for source, edit, reason in (
        (keys, keys[:1], "as many frames"),
        (keys, keys[:, :4], "5 and of 4 tokens"),
        (keys[:0], keys[:0], "no frames"),
        (keys, keys * np.nan, "NaN"),
    ):
        with pytest.raises(Undefined, match=reason):
            metric(source, edit)


def test_frames_are_compared_at_their_place(rng: np.random.Generator) -> None:
    frames = rng.standard_normal((6, 16))
    assert dino_similarity.frame_similarity(frames, 2 * frames) == pytest.approx(1)
    assert dino_similarity.frame_similarity(frames, -frames) == pytest.approx(-1)
    assert dino_similarity.frame_similarity(frames, frames[::-1]) < 0.9
    with pytest.raises(Undefined, match="6 frames against 5"):
        dino_similarity.frame_similarity(frames, frames[:5])


def test_motion_is_the_same_in_any_order_of_tracks(rng: np.random.Generator) -> None:
    tracks = np.cumsum(rng.standard_normal((8, 10, 2)), axis=1)
    assert motion_fidelity.fidelity_symmetric(tracks, tracks) == pytest.approx(1, abs=1e-6)
    other_order = motion_fidelity.fidelity_symmetric(rng.permutation(tracks), tracks[:6])
    assert other_order == motion_fidelity.fidelity_symmetric(tracks, tracks[:6])
    both_ways = motion_fidelity.fidelity_symmetric(tracks[:6], tracks)
    assert both_ways == pytest.approx(other_order)
    noise = np.cumsum(rng.standard_normal(tracks.shape), axis=1)
    found = [motion_fidelity.fidelity_symmetric(tracks + 3 * n * noise, tracks) for n in STEPS]
    assert found == sorted(found, reverse=True)


def test_tracks_that_cannot_be_compared() -> None:
    tracks = np.ones((3, 5, 2))
    symmetric = motion_fidelity.fidelity_symmetric
    assert symmetric(tracks, tracks) == 0
    for edit, source, reason in (
        (tracks, tracks[:, :4], "5 frames against 4"),
        (tracks[:0], tracks, "nothing was tracked"),
        (tracks[:, :1], tracks[:, :1], "nothing was tracked"),
        (tracks * np.inf, tracks, "NaN"),
    ):
        with pytest.raises(Undefined, match=reason):
            symmetric(edit, source)
    with pytest.raises(Undefined, match="the mask is empty"):
        motion_fidelity.box_five(np.zeros((2, 4, 4), bool))


def test_lpips_outside_the_mask_is_the_mean_of_frames() -> None:
    distances = np.zeros((3, 2, 2))
    distances[0] = [[1, 9], [9, 9]]
    distances[1] = [[9, 2], [4, 9]]
    masks = np.ones((3, 2, 2), bool)
    masks[0, 0, 0] = masks[1, 0, 1] = masks[1, 1, 0] = False
    assert lpips.lpips_outside(distances, masks) == pytest.approx((1 + 3) / 2)
    with pytest.raises(Undefined, match="outside the mask"):
        lpips.lpips_outside(distances[2:], masks[2:])
    with pytest.raises(Undefined, match="shape"):
        lpips.lpips_outside(distances, masks[:2])
    with pytest.raises(Undefined, match="NaN"):
        lpips.mean_lpips(np.array([0.1, np.nan]))


def test_local_views_show_the_mask_and_leave_empty_frames_out() -> None:
    frames = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
    masks: npt.NDArray[np.bool_] = np.zeros((3, 4, 5), bool)
    masks[0, 1:3, 2:5] = masks[2, 0, 0] = True
    masks[0, 1, 3] = False
    first, last = cropped_views(frames, masks)
    np.testing.assert_array_equal(first, frames[0, 1:3, 2:5])
    np.testing.assert_array_equal(last, frames[2, :1, :1])
    shown = masked_views(frames, masks)
    np.testing.assert_array_equal(shown, np.where(masks[..., None], frames, 0)[[0, 2]])
    assert blacked_out(frames, masks).shape == frames.shape
    for show in (masked_views, cropped_views):
        with pytest.raises(Undefined, match="mask is empty"):
            show(frames, np.zeros_like(masks))
        with pytest.raises(Undefined, match="shape"):
            show(frames, masks[:, :3])
