"""What `look` measures of pictures as such, on written clips that were made for it."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from avipipe.manifests.evidence import PictureSeen
from avipipe.media.decode import read_frames
from avipipe.media.normalize import FPS
from avipipe.media.probe import probe
from avipipe.stages.look import seen_picture
from avipipe.synth import SynthClip, render, write_clip

SEED = 1
DURATION_S = 3.0
WHOLE = (0.0, 0.0, 1.0, 1.0)


def clip_of(kind: str) -> SynthClip:
    return render(kind, SEED, duration_s=DURATION_S, height_px=240, fps=Fraction(24))


def seen(kind: str, folder: Path) -> PictureSeen:
    path = folder / f"{kind}.mp4"
    write_clip(clip_of(kind), path)
    info = probe(path)
    return seen_picture(
        read_frames(path, info, start_s=0.0, end_s=DURATION_S, fps=FPS, height_px=180)
    )


def test_black_bars_are_no_content(tmp_path: Path) -> None:
    found = seen("letterboxed", tmp_path)
    assert found.content_box == pytest.approx((0.0, 0.12, 1.0, 0.88), abs=0.012)
    assert (found.overlays, found.num_panels) == ([], 1)


@pytest.mark.parametrize(
    ("kind", "place"),
    [("logo_over", (0.73, 0.03, 0.99, 0.24)), ("captioned", (0.15, 0.78, 0.87, 0.98))],
)
def test_what_is_laid_over_is_found_and_in_no_mask(
    kind: str, place: tuple[float, float, float, float], tmp_path: Path
) -> None:
    found = seen(kind, tmp_path)
    assert found.overlays
    for x0, y0, x1, y1 in found.overlays:
        assert place[0] <= x0 < x1 <= place[2]
        assert place[1] <= y0 < y1 <= place[3]
    assert (found.content_box, found.num_panels) == (WHOLE, 1)
    clip = clip_of(kind)
    bare = clip.scene.shots[0]
    (label,) = (sprite.label for sprite in bare.overlays)
    assert label not in {track.label for track in clip.truth.objects}
    frame = next(clip.frames())
    over = np.asarray(cv2.inRange(frame, (243, 243, 243), (245, 245, 245)) > 0)
    assert not (clip.truth.masks()[0] & over).any()


@pytest.mark.parametrize("kind", ["split_screen", "picture_in_picture"])
def test_pictures_in_a_picture_are_two(kind: str, tmp_path: Path) -> None:
    assert seen(kind, tmp_path).num_panels == 2


@pytest.mark.parametrize("kind", ["bounce", "bounce_handheld", "speaker", "dialogue", "motor"])
def test_a_whole_picture_is_one_with_nothing_over_it(kind: str, tmp_path: Path) -> None:
    found = seen(kind, tmp_path)
    assert (found.content_box, found.overlays, found.num_panels) == (WHOLE, [], 1)


def test_the_camera_is_told_from_what_moves(tmp_path: Path) -> None:
    carried, zoomed = seen("carried", tmp_path), seen("zoomed_still", tmp_path)
    followed, alone = seen("vehicle_followed", tmp_path), seen("vehicle", tmp_path)
    found = [each.residual_ratio for each in (zoomed, carried, followed, alone)]
    residual = [ratio for ratio in found if ratio is not None]
    assert len(residual) == 4
    assert residual == sorted(residual)
    assert residual[1] < 0.1 < residual[2] < 0.5
    assert residual[3] > 0.9
    assert min(carried.camera_px, followed.camera_px) > 1
    assert zoomed.camera_px > 0.1
    assert alone.camera_px < 0.05


def test_pictures_that_stand_still_are_counted(tmp_path: Path) -> None:
    found = seen("static_sound", tmp_path)
    assert found.still_ratio > 0.95
    assert found.residual_ratio is None
