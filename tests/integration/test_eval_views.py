"""Views of real files: sizes, times, masks and controls."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from avipipe.errors import MediaError
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.cases import Case, Control
from avipipe.evaluate.judge import Interview
from avipipe.evaluate.mask_view import MaskView
from avipipe.evaluate.store import ScoreStore
from avipipe.evaluate.views import DETAIL_STEP, FPS, MAX_S, MediaView, size_within
from avipipe.manifests.rle import encode, write_masks
from tests.integration import lavfi


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds that flash and beep at the first."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    video, audio = lavfi.picture(duration_s=2.0), lavfi.sound(duration_s=2.0)
    return lavfi.write(path, video=video, audio=audio)


def view_of(source: Path, edit: Path, folder: Path, control: Control = "") -> CaseView:
    sides = MediaView(source, folder), MediaView(edit, folder)
    return CaseView(
        case=Case(name="a", method="m", source=source, edit=edit, control=control),
        source=sides[0],
        edit=sides[0] if control else sides[1],
        sound=sides[0] if control else sides[1],
        mask=None,
        edit_mask=None,
        cached=lambda view, name, make: make(),
        interview=Interview(ScoreStore(folder)),
    )


@pytest.mark.parametrize(
    ("shape", "short_px", "size"),
    [
        ((1280, 720), 480, (854, 480)),
        ((720, 1280), 480, (480, 854)),
        ((160, 120), 240, (160, 120)),
        ((4000, 400), 480, (1200, 120)),
    ],
)
def test_a_view_bounds_both_sides_and_enlarges_nothing(
    shape: tuple[float, float], short_px: int, size: tuple[int, int]
) -> None:
    assert size_within(shape, short_px) == size


def test_the_views_of_a_file_are_one_decode_in_two_forms(clip: Path, tmp_path: Path) -> None:
    found = MediaView(clip, tmp_path).pictures
    assert found.motion_THWC.shape == (48, 120, 160, 3)
    assert found.detail_THWC.shape == (6, 120, 160, 3)
    assert np.array_equal(found.motion_THWC[::DETAIL_STEP], found.detail_THWC)


def test_the_flash_is_at_its_time_at_every_rate(tmp_path: Path) -> None:
    for rate in ("4", "24", "25", "30000/1001"):
        path = lavfi.write(tmp_path / "clip.mp4", video=lavfi.picture(fps=rate, duration_s=2.0))
        found = MediaView(path, tmp_path).pictures.motion_THWC
        first = int(np.flatnonzero(found.mean(axis=(1, 2, 3)) > 170)[0])
        assert abs(first / float(FPS) - 1.0) <= 1 / float(FPS), rate


def test_a_part_is_what_is_shown(clip: Path, tmp_path: Path) -> None:
    whole = MediaView(clip, tmp_path).pictures.detail_THWC
    part = MediaView(clip, tmp_path, (0.25, 0.0, 0.75, 1.0)).pictures.detail_THWC
    assert part.shape[1:3] == (120, 80)
    assert np.array_equal(part, whole[:, :, 40:120])


def test_a_file_without_sound_is_looked_at(tmp_path: Path) -> None:
    path = lavfi.write(tmp_path / "mute.mp4", audio=None)
    view = MediaView(path, tmp_path)
    assert not view.has_sound
    assert view.pictures.motion_THWC.shape[0] == 96
    assert not view.wave(16_000).any()


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(MediaError):
        _ = MediaView(tmp_path / "a.mp4", tmp_path).file


def test_only_so_much_of_a_long_file_is_held(tmp_path: Path) -> None:
    graph = "color=red:s=64x48:r=5:d=25"
    path = lavfi.write(tmp_path / "long.mp4", video=graph, audio=lavfi.sound(duration_s=25.0))
    view = view_of(path, path, tmp_path)
    assert len(view.edit_pictures.motion_THWC) == MAX_S * FPS
    assert view.edit_wave(8000).shape == (2, MAX_S * 8000)
    assert view.notes()[0] == "the first 20 s of the source's 25.0 s"


def test_the_edit_is_seen_at_the_size_and_for_the_time_of_the_source(
    clip: Path, tmp_path: Path
) -> None:
    graph = lavfi.picture(size="320x240", duration_s=1.5, fps="30")
    other = lavfi.write(tmp_path / "other.mp4", video=graph)
    view = view_of(clip, other, tmp_path)
    source, edit = view.pairs
    assert source.motion_THWC.shape == edit.motion_THWC.shape == (36, 120, 160, 3)
    assert len(view.notes()) == 3


def test_another_shape_is_not_compared(clip: Path, tmp_path: Path) -> None:
    other = lavfi.write(tmp_path / "wide.mp4", video=lavfi.picture(size="200x100"))
    view = view_of(clip, other, tmp_path)
    assert not view.is_same_shape
    assert view.edit_pictures.motion_THWC.shape[1:3] == (100, 200)


def test_controls_are_what_they_are_called(clip: Path, tmp_path: Path) -> None:
    copy, frozen, shifted, shuffled = (
        view_of(clip, clip, tmp_path, control)
        for control in ("copy", "frozen", "shifted", "shuffled")
    )
    assert np.array_equal(copy.edit_pictures.motion_THWC, copy.source.pictures.motion_THWC)
    assert np.ptp(frozen.edit_pictures.motion_THWC, axis=0).max() == 0
    assert lavfi.beeps_s(copy.edit_wave(48_000)[0], 48_000)[0] == pytest.approx(1.0, abs=0.01)
    assert lavfi.beeps_s(shifted.edit_wave(48_000)[0], 48_000)[0] == pytest.approx(1.5, abs=0.01)
    tone = lavfi.write(tmp_path / "tone.mp4", audio="sine=d=1")
    heard = dataclasses.replace(shuffled, sound=MediaView(tone, tmp_path)).edit_wave(48_000)
    assert heard.shape == (2, 96_000)
    assert heard[:, :40_000].any()


@pytest.mark.parametrize("kind", ["masks.json", "png", "mkv"])
def test_masks_of_all_kinds_are_one(kind: str, tmp_path: Path) -> None:
    mask_HW = np.zeros((120, 160), np.bool_)
    mask_HW[30:90, 40:80] = True
    path = tmp_path / f"mask.{kind}"
    if kind == "png":
        cv2.imwrite(str(path), mask_HW.astype(np.uint8) * 255)
    elif kind == "mkv":
        box = "drawbox=x=40:y=30:w=40:h=60:color=white:t=fill"
        graph = f"color=black:s=160x120:r=24:d=1,{box}"
        lavfi.write(path, video=graph, audio=None)
    else:
        write_masks(path, [encode(mask_HW)] * 24, size=(120, 160))
    found = MaskView(path, tmp_path).masks(24, (160, 120), step=8)
    assert found.shape == (3, 120, 160)
    assert np.mean(found == mask_HW) > 0.995
    half = MaskView(path, tmp_path).masks(24, (80, 60))
    assert np.mean(half == mask_HW[::2, ::2]) > 0.98
