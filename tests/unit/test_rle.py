import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from avipipe.errors import ManifestError
from avipipe.manifests import rle

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(MASKS)
def test_round_trip(mask_HW: rle.Mask) -> None:
    counts = rle.encode(mask_HW)
    assert np.array_equal(rle.decode(counts, mask_HW.shape), mask_HW)
    assert rle.area(counts, mask_HW.shape) == mask_HW.sum()


@given(MASKS)
def test_box_is_the_tight_half_open_one(mask_HW: rle.Mask) -> None:
    box = rle.box(rle.encode(mask_HW), mask_HW.shape)
    if not mask_HW.any():
        assert box is None
        return
    rows, columns = np.nonzero(mask_HW)
    assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@given(MASKS)
def test_iou_is_that_of_the_pixels(mask_HW: rle.Mask) -> None:
    other_HW = np.roll(mask_HW, 1, axis=1)
    union = (mask_HW | other_HW).sum()
    expected = (mask_HW & other_HW).sum() / union if union else 1.0
    actual = rle.iou(rle.encode(mask_HW), rle.encode(other_HW), mask_HW.shape)
    assert actual == pytest.approx(expected, abs=1e-12)


def test_large_mask_with_long_runs() -> None:
    mask_HW = np.zeros((720, 1280), np.bool_)
    mask_HW[100:700, 3:1270] = True
    counts = rle.encode(mask_HW)
    assert rle.box(counts, (720, 1280)) == (3, 100, 1270, 700)


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c + "5", lambda c: "", lambda c: "é"]
)
def test_damaged_counts_are_refused(damage: object) -> None:
    mask_HW = np.zeros((6, 8), np.bool_)
    mask_HW[2:4, 3:7] = True
    with pytest.raises(ManifestError, match="damaged or its size is wrong"):
        rle.decode(damage(rle.encode(mask_HW)), (6, 8))  # type: ignore[operator]


def test_masks_json(tmp_path: Path) -> None:
    mask_HW = np.eye(5, 7, dtype=np.bool_)
    path = tmp_path / "masks.json"
    rle.write_masks(path, (rle.encode(mask_HW) for _ in range(3)), size=(5, 7))
    assert set(json.loads(path.read_text())) == {"size", "fps", "frames"}
    track = rle.read_masks(path)
    assert (track.size, track.fps, len(track.frames)) == ((5, 7), 24, 3)
    assert np.array_equal(track.mask(2), mask_HW)
    assert [p.name for p in tmp_path.iterdir()] == ["masks.json"]


def test_codes_of_more_pixels_than_a_picture_may_have_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "masks.json"
    side = 1 << 13
    counts = rle.encode(np.zeros((side, side), np.bool_))
    assert len(counts) < 10
    path.write_text(json.dumps({"size": [side, side], "fps": 24, "frames": [counts]}))
    assert rle.area(rle.read_masks(path).frames[0], (side, side)) == 0
    path.write_text(json.dumps({"size": [side, side + 1], "fps": 24, "frames": [counts]}))
    with pytest.raises(ManifestError, match="at most 67108864 pixels, found 8193x8192"):
        rle.read_masks(path)


def test_frames_are_checked_without_being_drawn() -> None:
    good = rle.encode(np.eye(5, 7, dtype=np.bool_))
    rle.MaskTrack((5, 7), 24, (good, good)).check()
    for bad in ("", "\x7f", good[:-1], good + "0"):
        with pytest.raises(ManifestError, match="expected run-length counts of a 5x7 mask"):
            rle.MaskTrack((5, 7), 24, (good, bad)).check()


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"size": [5, 7], "fps": 24, "frames": [1]}']
)
def test_what_is_not_masks_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "masks.json"
    path.write_text(text)
    with pytest.raises(ManifestError, match=r"masks\.json: expected"):
        rle.read_masks(path)
