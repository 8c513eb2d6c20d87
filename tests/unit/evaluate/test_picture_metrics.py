"""Metrics of pixels: they know equal pictures, fall with damage, and refuse what has no value."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from avipipe.annotators.base import Frames, Mask
from avipipe.evaluate.metrics.leakage import background_leakage
from avipipe.evaluate.metrics.pixel_error import mse, mse_zero_fill, psnr_db, psnr_zero_fill_db
from avipipe.evaluate.metrics.ssim import ssim, ssim_inside, ssim_uniform, ssim_zero_fill
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.metrics.warp_error import dis_flows, warp_error

Masked = Callable[[Frames, Frames, Mask], float]

SIMILARITIES: list[Masked] = [ssim_zero_fill, ssim_inside, psnr_db, psnr_zero_fill_db]
ERRORS: list[Masked] = [mse, mse_zero_fill]


def outside(source: Frames, edit: Frames, inside: Mask) -> float:
    return background_leakage(source, edit, ~inside)


def textured(num_frames: int = 3, size: tuple[int, int] = (64, 80)) -> Frames:
    """A soft random texture that moves two pixels a frame to the right."""
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    soft = cv2.normalize(cv2.GaussianBlur(noise, (9, 9), 2.0), None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([np.roll(soft, 2 * frame, axis=1) for frame in range(num_frames)])


def disc(num_frames: int = 3, size: tuple[int, int] = (64, 80), radius_px: int = 20) -> Mask:
    rows, columns = np.indices(size)
    mask = (rows - size[0] / 2) ** 2 + (columns - size[1] / 2) ** 2 < radius_px**2
    return np.stack([mask] * num_frames)


def blurred(video: Frames, step: int) -> Frames:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 0.8 * step) for frame in video])


def noisy(video: Frames, step: int) -> Frames:
    noise = np.random.default_rng(1).normal(0.0, 6.0 * step, video.shape)
    return np.clip(video + noise, 0, 255).astype(np.uint8)


def moved(video: Frames, step: int) -> Frames:
    return np.roll(video, step, axis=1)


@pytest.mark.parametrize("damage", [blurred, noisy, moved])
@pytest.mark.parametrize("metric", [*SIMILARITIES, *ERRORS, outside])
def test_more_damage_is_a_worse_score(
    metric: Masked, damage: Callable[[Frames, int], Frames]
) -> None:
    source, mask = textured(), disc()
    scores = [metric(source, source, mask)]
    scores += [metric(source, damage(source, step), mask) for step in (1, 2, 3)]
    falls = np.diff(scores) < 0
    assert falls.all() if metric in SIMILARITIES else (~falls).all()


@pytest.mark.parametrize("metric", [*SIMILARITIES, *ERRORS, outside])
def test_only_what_is_inside_counts(metric: Masked) -> None:
    source, mask = textured(), disc()
    edit = np.where(mask[..., None], source, 255 - source)
    assert metric(source, edit, mask) == metric(source, source, mask)
    assert metric(source, edit, ~mask) != metric(source, source, ~mask)


@pytest.mark.parametrize("metric", [*SIMILARITIES, *ERRORS, outside])
def test_order_of_frames_does_not_count(metric: Masked) -> None:
    source, mask = textured(), disc()
    edit = noisy(source, 2)
    order = [2, 0, 1]
    shuffled = metric(source[order], edit[order], mask[order])
    assert shuffled == pytest.approx(metric(source, edit, mask), rel=1e-12)


@pytest.mark.parametrize("metric", [*SIMILARITIES, *ERRORS, outside])
def test_what_has_no_value_says_why(metric: Masked) -> None:
    source, mask = textured(), disc()
    with pytest.raises(Undefined, match="expected the edit to have the shape"):
        metric(source, source[1:], mask)
    with pytest.raises(Undefined, match=r"every frame|no background in any frame"):
        metric(source, source, np.zeros_like(mask))


def test_frames_without_a_mask_do_not_count() -> None:
    source, mask = textured(), disc()
    edit = noisy(source, 2)
    mask[1] = False
    kept = [0, 2]
    for metric in (*SIMILARITIES, *ERRORS):
        found = metric(source, edit, mask)
        assert found == pytest.approx(metric(source[kept], edit[kept], mask[kept]))


def test_zero_fill_flatters_small_masks() -> None:
    source, mask = textured(), disc(radius_px=12)
    edit = 255 - source
    share = mask.mean()
    inflated = ssim_zero_fill(source, edit, mask)
    assert inflated > 1 - 3 * share > ssim_inside(source, edit, mask)
    assert mse_zero_fill(source, edit, mask) == pytest.approx(share * mse(source, edit, mask))


def test_a_mask_thinner_than_the_window_has_no_ssim() -> None:
    source = textured()
    thin = np.zeros(source.shape[:3], np.bool_)
    thin[:, 30:38] = True
    with pytest.raises(Undefined, match="nowhere holds a window of 11 x 11 px"):
        ssim_inside(source, source, thin)
    assert ssim_inside(source, source, thin, is_eroded=False) == pytest.approx(1.0)


def test_flat_pictures_have_known_scores() -> None:
    black, grey = np.zeros((1, 32, 32, 3), np.uint8), np.full((1, 32, 32, 3), 51, np.uint8)
    assert ssim(black, grey) == pytest.approx(1e-4 / (0.2**2 + 1e-4), rel=1e-4)
    assert mse(black, grey) == pytest.approx(0.04)
    assert psnr_db(black, grey) == pytest.approx(-10 * np.log10(0.04))
    assert psnr_db(black, black) == 100.0
    assert background_leakage(black, grey, np.zeros((1, 32, 32), np.bool_)) == pytest.approx(0.2)


def test_warp_error_knows_motion_from_flicker() -> None:
    video = textured(6)
    flows = dis_flows(video)
    steady = warp_error(video, flows).valid
    flickering = noisy(video, 2)
    assert steady < 0.2 * warp_error(flickering, flows).valid
    frozen = np.stack([video[0]] * len(video))
    assert warp_error(frozen, dis_flows(frozen)).valid == pytest.approx(0.0, abs=1e-6)
    assert warp_error(frozen, flows).valid > 5 * steady
    ladder = [warp_error(noisy(video, step), flows).valid for step in range(1, 4)]
    assert (np.diff(ladder) > 0).all()


def test_warp_error_refuses_what_has_no_flow() -> None:
    video = textured(2)
    flow = np.zeros((64, 80, 2), np.float32)
    with pytest.raises(Undefined, match="at least 2 frames, got 1"):
        warp_error(video[:1], [])
    with pytest.raises(Undefined, match="expected 1 flow fields, got 2"):
        warp_error(video, [flow, flow])
    with pytest.raises(Undefined, match="every pixel out of the frame"):
        warp_error(video, [flow + 500])
    with pytest.raises(Undefined, match="NaN"):
        warp_error(video, [flow * np.nan])


def test_one_flat_window_has_the_ssim_of_its_formula() -> None:
    rng = np.random.default_rng(5)
    source, edit = (rng.integers(0, 256, (1, 7, 7, 3), np.uint8) for _ in range(2))
    expected = []
    for channel in range(3):
        x, y = (each[0, ..., channel].ravel() / 255 for each in (source, edit))
        (var_x, both), (_, var_y) = np.cov(x, y)
        means = (2 * x.mean() * y.mean() + 1e-4) / (x.mean() ** 2 + y.mean() ** 2 + 1e-4)
        expected.append(means * (2 * both + 9e-4) / (var_x + var_y + 9e-4))
    assert ssim_uniform(source, edit) == pytest.approx(np.mean(expected), abs=1e-5)
    assert ssim_uniform(source, source) == pytest.approx(1.0)
    with pytest.raises(Undefined, match="no window"):
        ssim_uniform(source[:, :6], edit[:, :6])
