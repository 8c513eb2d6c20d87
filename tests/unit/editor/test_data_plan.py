"""The order of samples, the choice of buckets, and the geometry of masks."""

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from avipipe.editor.avi_edit.data.buckets import choose_bucket  # noqa: E402
from avipipe.editor.avi_edit.data.clip import MIN_INSIDE, draw_take, move_away  # noqa: E402
from avipipe.editor.avi_edit.data.plan import Plan  # noqa: E402
from avipipe.editor.avi_edit.masks import downsample_mask  # noqa: E402
from avipipe.editor.avi_edit.sizes import Bucket  # noqa: E402
from avipipe.editor.common.media import (  # noqa: E402
    Masks,
    Take,
    covering_size,
    cut_mask,
)
from avipipe.manifests import rle  # noqa: E402
from avipipe.manifests.rle import MaskTrack  # noqa: E402

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
        height, width = covering_size(size, (bucket.height_px, bucket.width_px))
        spare = (height - bucket.height_px, width - bucket.width_px)
        assert min(spare) == 0
        assert height / width == pytest.approx(size[0] / size[1], rel=0.002)


def cut_by_loops(mask_HW: Masks, take: Take, cell: int) -> Masks:
    """A cell is in if the part of the source under it has a pixel of the mask."""
    (height, width), (scaled_height, scaled_width) = mask_HW.shape, take.scaled_px
    cells_hw = np.zeros((take.height_px // cell, take.width_px // cell), np.bool_)
    for row, column in np.ndindex(cells_hw.shape):
        i, j = take.top_px + cell * row, take.left_px + cell * column
        top, bottom = i * height // scaled_height, -(-(i + cell) * height // scaled_height)
        left, right = j * width // scaled_width, -(-(j + cell) * width // scaled_width)
        cells_hw[row, column] = mask_HW[top:bottom, left:right].any()
    return cells_hw


TAKES = (
    Take(0, 1, (36, 64), 0, 0, 36, 64),
    Take(0, 1, (24, 43), 0, 5, 24, 32),
    Take(0, 1, (9, 16), 1, 0, 8, 16),
    Take(0, 1, (40, 71), 4, 7, 36, 64),
    Take(0, 1, (96, 171), 0, 11, 96, 160),
)


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("cell", [1, 4])
def test_masks_are_cut_as_loops_do(take: Take, cell: int) -> None:
    rng = np.random.default_rng(take.width_px)
    for density in (0.003, 0.1, 0.6):
        mask_HW = rng.random((36, 64)) < density
        found_hw = cut_mask(mask_HW, take, cell)
        np.testing.assert_array_equal(found_hw, cut_by_loops(mask_HW, take, cell))


def test_a_single_pixel_never_vanishes() -> None:
    for place in np.ndindex(27, 48):
        mask_HW = np.zeros((27, 48), np.bool_)
        mask_HW[place] = True
        assert cut_mask(mask_HW, Take(0, 1, (4, 7), 0, 0, 4, 7), 1).any()


def track(num_frames: int, visible: range) -> MaskTrack:
    """A square that moves right, and is seen in some frames."""
    masks = np.zeros((num_frames, 72, 128), np.bool_)
    for frame in visible:
        masks[frame, 20:40, 2 * frame : 2 * frame + 20] = True
    return MaskTrack((72, 128), 24, tuple(map(rle.encode, masks)))


def test_any_part_in_which_the_instance_is_seen_is_taken() -> None:
    bucket = Bucket(9, 64, 96)
    starts = Counter[int]()
    for seed in range(400):
        masks = track(40, range(20, 22))
        take, cells_Thw = draw_take(masks, bucket, np.random.default_rng(seed))
        starts[take.start] += 1
        assert cells_Thw.any()
        assert cells_Thw.shape == bucket.latent_size
    assert set(starts) == set(range(12, 22))
    assert min(starts.values()) > 15


@pytest.mark.parametrize("bucket", [Bucket(9, 64, 96), Bucket(17, 96, 64), Bucket(1, 64, 64)])
def test_a_cut_out_keeps_the_most_and_is_in_cells_what_it_is_in_pixels(bucket: Bucket) -> None:
    masks = track(30, range(30))
    offsets = set()
    for seed in range(20):
        take, cells_Thw = draw_take(masks, bucket, np.random.default_rng(seed))
        assert take.top_px + take.height_px <= take.scaled_px[0]
        assert take.left_px + take.width_px <= take.scaled_px[1]
        offsets.add((take.top_px, take.left_px))
        pixels = np.stack([cut_mask(masks.mask(frame), take, 1) for frame in take.frames])
        cells = downsample_mask(torch.from_numpy(pixels)[None, None])[0, 0]
        np.testing.assert_array_equal(cells_Thw, cells.numpy())
        reach_px = 20 + 2 * (bucket.num_frames - 1)
        scale = take.scaled_px[1] / 128
        if reach_px * scale < bucket.width_px - 2:
            assert pixels.any(axis=(0, 1)).sum() >= int(reach_px * scale)
    assert len(offsets) > 3


def blob(top: int, left: int, size: int) -> Masks:
    """Cells of a square that moves down, (3, 6, 10)."""
    cells_Thw = np.zeros((3, 6, 10), np.bool_)
    for frame in range(3):
        cells_Thw[frame, top + frame : top + frame + size, left : left + size] = True
    return cells_Thw


def test_moves_are_the_ones_that_loops_allow() -> None:
    shape_Thw, instance_Thw = blob(0, 1, 3), blob(2, 4, 2)
    found = set()
    for seed in range(1000):
        moved_Thw = move_away(shape_Thw, instance_Thw, np.random.default_rng(seed))
        assert moved_Thw is not None
        found.add(moved_Thw.tobytes())
    allowed = set()
    for down in range(-6, 7):
        for right in range(-10, 11):
            moved_Thw = np.zeros_like(shape_Thw)
            for frame, row, column in np.argwhere(shape_Thw):
                if 0 <= row + down < 6 and 0 <= column + right < 10:
                    moved_Thw[frame, row + down, column + right] = True
            inside = moved_Thw.sum() >= MIN_INSIDE * shape_Thw.sum()
            if inside and not (moved_Thw & instance_Thw).any():
                allowed.add(moved_Thw.tobytes())
    assert found == allowed
    assert len(found) > 20


def test_there_is_no_move_where_the_instance_fills_the_picture() -> None:
    assert move_away(blob(0, 0, 3), np.ones((3, 6, 10), np.bool_), np.random.default_rng(0)) is None
