"""The order of samples, the choice of buckets, and the geometry of masks."""

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from avipipe.editor.config import Bucket  # noqa: E402
from avipipe.editor.data.buckets import choose_bucket, scaled_size  # noqa: E402
from avipipe.editor.data.clip import MIN_INSIDE, move_away  # noqa: E402
from avipipe.editor.data.media import Masks, scale_mask  # noqa: E402
from avipipe.editor.data.plan import Plan  # noqa: E402

Groups = tuple[int, ...]


def drawn(plan: Plan, batches: range) -> list[tuple[int, int, int]]:
    """(group, index, turn) of each pick."""
    found = []
    for number in batches:
        group, picks = plan.batch(number)
        found += [(group, pick.index, pick.turn) for pick in picks]
    return found


@pytest.mark.parametrize(
    ("groups", "batch_size"), [((12,), 4), ((7, 3, 1), 2), ((5, 6), 4), ((2, 1), 8), ((1,), 1)]
)
def test_each_turn_of_a_group_holds_each_sample_once(groups: Groups, batch_size: int) -> None:
    plan = Plan(groups, batch_size=batch_size, seed=3)
    rounds = 24
    seen = Counter(drawn(plan, range(plan.num_batches(rounds))))
    assert set(seen.values()) == {1}
    for group, size in enumerate(groups):
        turns = rounds * size // batch_size * batch_size // size  # whole ones
        for turn in range(turns):
            assert all((group, index, turn) in seen for index in range(size))
        num_picks = sum(1 for each in seen if each[0] == group)
        assert num_picks == rounds * size // batch_size * batch_size


def test_samples_that_fill_batches_come_exactly_once_a_round() -> None:
    plan = Plan((8, 4), batch_size=4, seed=0)
    assert plan.num_batches(1) == 3
    first = drawn(plan, range(3))
    assert sorted(first) == sorted([(0, i, 0) for i in range(8)] + [(1, i, 0) for i in range(4)])
    second = drawn(plan, range(3, 6))
    assert [each[:2] for each in second] != [each[:2] for each in first]


def test_a_batch_depends_on_its_number_and_the_seed_alone() -> None:
    plan = Plan((7, 5), batch_size=3, seed=1)
    in_order = [plan.batch(number) for number in range(40)]
    again = Plan((7, 5), batch_size=3, seed=1)
    assert [again.batch(number) for number in reversed(range(40))] == in_order[::-1]
    other = Plan((7, 5), batch_size=3, seed=2)
    assert [other.batch(number) for number in range(40)] != in_order


BUCKETS = (
    Bucket(81, 704, 1280),
    Bucket(49, 704, 1280),
    Bucket(81, 1280, 704),
    Bucket(49, 480, 832),
)


@pytest.mark.parametrize(
    ("num_frames", "size", "expected"),
    [
        (240, (720, 1280), BUCKETS[0]),
        (81, (720, 1280), BUCKETS[0]),
        (80, (720, 1280), BUCKETS[1]),
        (240, (1280, 720), BUCKETS[2]),
        (60, (480, 854), BUCKETS[3]),
        (60, (1280, 720), BUCKETS[3]),
        (48, (720, 1280), None),
    ],
)
def test_a_clip_goes_into_the_largest_bucket_that_it_fills(
    num_frames: int, size: tuple[int, int], expected: Bucket | None
) -> None:
    assert choose_bucket(num_frames, size, BUCKETS) == expected


@pytest.mark.parametrize("size", [(720, 1280), (1280, 720), (720, 720), (722, 540), (64, 2048)])
def test_a_scaled_picture_covers_its_bucket_and_touches_two_sides(size: tuple[int, int]) -> None:
    for bucket in BUCKETS:
        height, width = scaled_size(size, bucket)
        spare = (height - bucket.height_px, width - bucket.width_px)
        assert min(spare) == 0
        assert height / width == pytest.approx(size[0] / size[1], rel=0.002)


def reduced_by_loops(mask_HW: Masks, size: tuple[int, int]) -> Masks:
    """A target pixel is in if the part of the source under it has a pixel of the mask."""
    height, width = mask_HW.shape
    small_HW = np.zeros(size, np.bool_)
    for i, j in np.argwhere(mask_HW):
        # Source pixel i lies under the target rows that overlap [i, i + 1) * scale.
        top, bottom = i * size[0] // height, -(-(i + 1) * size[0] // height)
        left, right = j * size[1] // width, -(-(j + 1) * size[1] // width)
        small_HW[top:bottom, left:right] = True
    return small_HW


@pytest.mark.parametrize("size", [(36, 64), (24, 43), (9, 16), (32, 57), (40, 71), (72, 100)])
def test_masks_are_scaled_as_loops_do(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size[0])
    for density in (0.003, 0.1, 0.6):
        mask_HW = rng.random((36, 64)) < density
        np.testing.assert_array_equal(scale_mask(mask_HW, size), reduced_by_loops(mask_HW, size))


def test_a_single_pixel_never_vanishes() -> None:
    for place in np.ndindex(27, 48):
        mask_HW = np.zeros((27, 48), np.bool_)
        mask_HW[place] = True
        assert scale_mask(mask_HW, (4, 7)).any()


def blob(top: int, left: int, size: int = 20) -> Masks:
    mask_FHW = np.zeros((5, 96, 160), np.bool_)
    for frame in range(5):
        mask_FHW[frame, top + frame : top + frame + size, left : left + size] = True
    return mask_FHW


def test_a_moved_mask_keeps_its_shape_and_off_the_instance() -> None:
    places = set()
    for seed in range(40):
        moved_FHW = move_away(blob(30, 40), blob(30, 40), np.random.default_rng(seed))
        assert moved_FHW is not None
        assert not (cells(moved_FHW) & cells(blob(30, 40))).any()
        assert moved_FHW.any()
        assert moved_FHW.sum() <= blob(30, 40).sum()
        places.add(tuple(np.argwhere(moved_FHW[0])[0]))
    assert len(places) > 20


def cells(mask_FHW: Masks) -> Masks:
    """Of the latent frames 0 and 1-4."""
    blocks = np.asarray(mask_FHW.reshape(5, 6, 16, 10, 16).any(axis=(2, 4)))
    return np.stack([blocks[0], blocks[1:].any(axis=0)])


def test_moves_are_the_ones_that_loops_allow() -> None:
    torch.set_num_threads(1)
    shape_FHW, instance_FHW = blob(8, 16, 36), blob(40, 60, 30)
    found = set()
    for seed in range(400):
        moved_FHW = move_away(shape_FHW, instance_FHW, np.random.default_rng(seed))
        assert moved_FHW is not None
        found.add(moved_FHW.tobytes())
    padded_FHW = np.pad(shape_FHW, ((0, 0), (96, 96), (160, 160)))
    allowed = set()
    for top in range(0, 193, 16):
        for left in range(0, 321, 16):
            moved_FHW = padded_FHW[:, top : top + 96, left : left + 160]
            moved, instance = cells(moved_FHW), cells(instance_FHW)
            inside = moved.sum() >= MIN_INSIDE * cells(shape_FHW).sum()
            if inside and not (moved & instance).any():
                allowed.add(moved_FHW.tobytes())
    assert found == allowed


def test_there_is_no_move_where_the_instance_fills_the_picture() -> None:
    assert move_away(blob(0, 0), np.ones((5, 96, 160), np.bool_), np.random.default_rng(0)) is None
