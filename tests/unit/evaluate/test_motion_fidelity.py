"""Motion fidelity of tracks that are drawn, and of textures whose motion is known."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from avipipe.evaluate.extractors.dis_tracks import STEP, WINDOW, dis_tracks
from avipipe.evaluate.metrics.motion_fidelity import fidelity_moving
from avipipe.evaluate.metrics.undefined import Undefined

Frames = npt.NDArray[np.uint8]
NUM_PLACES = 7


def tracks(*velocities_px: tuple[float, float]) -> npt.NDArray[np.float64]:
    """A window of points that go straight on, (1, P, 7, xy)."""
    steps_PC = np.array(velocities_px, np.float64).reshape(-1, 2)
    return (np.arange(NUM_PLACES)[:, None] * steps_PC[:, None])[None] + 50.0


def texture(seed: int, height: int = 96, width: int = 128) -> npt.NDArray[np.float64]:
    noise = np.random.default_rng(seed).standard_normal((height, width))
    smooth = gaussian_filter(noise, 2.0, mode="wrap")
    return np.asarray((smooth - smooth.min()) / np.ptp(smooth) * 255)


def moving(still_HW: npt.NDArray[np.float64], step_px: tuple[int, int], num: int) -> Frames:
    """A texture that wraps around while it moves by whole pixels a picture, (T, H, W, RGB)."""
    columns, rows = step_px
    frames = [np.roll(still_HW, (rows * n, columns * n), axis=(0, 1)) for n in range(num)]
    return np.repeat(np.stack(frames)[..., None], 3, axis=3).astype(np.uint8)


def fidelity(edit: Frames, source: Frames) -> float:
    return fidelity_moving(dis_tracks(edit), dis_tracks(source))


def test_the_best_match_counts_and_what_stands_still_does_not() -> None:
    source = tracks((3, 0), (0, 2), (0, 0), (0, 0))
    assert fidelity_moving(source, source) == pytest.approx(1)
    assert fidelity_moving(source[:, ::-1], source) == pytest.approx(1)
    assert fidelity_moving(2 * source, source) == pytest.approx(1)
    # Of the edit both match, of the source one of two.
    assert fidelity_moving(tracks((3, 0), (4, 0)), source) == pytest.approx((1 + 0.5) / 2)
    half_turn = tracks((2, 2))
    assert fidelity_moving(half_turn, tracks((2, 0))) == pytest.approx(np.sqrt(0.5))
    for worst in (tracks((0, 0)), tracks((-3, 0), (0, -2)), tracks()):
        assert fidelity_moving(worst, source) == 0


def test_a_step_of_one_alone_adds_nothing() -> None:
    source, edit = tracks((3, 0)), tracks((3, 0))
    edit[:, :, 4:] = edit[:, :, 3:4]  # it stops halfway
    assert fidelity_moving(edit, source) == pytest.approx(0.5)
    source[:, :, 4:] = source[:, :, 3:4]
    assert fidelity_moving(edit, source) == pytest.approx(1)


def test_tracks_that_are_lost_are_left_out_and_nothing_left_is_undefined() -> None:
    source = tracks((3, 0), (0, 2))
    lost = source.copy()
    lost[0, 1, 5:] = np.nan
    assert fidelity_moving(lost, source) == pytest.approx((1 + 0.5) / 2)
    for none in (tracks((0, 0)), tracks(), np.full_like(source, np.nan)):
        with pytest.raises(Undefined, match="moves in the source"):
            fidelity_moving(source, none)
    with pytest.raises(Undefined, match="windows and frames"):
        fidelity_moving(source[:, :, 1:], source)


@pytest.mark.parametrize(("num", "num_windows"), [(WINDOW + 1, 1), (2 * WINDOW - 5, 2)])
def test_points_follow_a_texture(num: int, num_windows: int) -> None:
    found_WPKC = dis_tracks(moving(texture(0), (2, -1), num))
    assert found_WPKC.shape == (num_windows, 16 * 12, WINDOW // STEP + 1, 2)
    whole = found_WPKC[np.isfinite(found_WPKC).all(axis=(2, 3))]
    assert len(whole) > 0.3 * found_WPKC.shape[0] * found_WPKC.shape[1]
    step = STEP * np.array([2, -1])
    wrong_px = np.linalg.norm(np.diff(whole, axis=1) - step, axis=2)
    assert np.quantile(wrong_px, 0.9) < 0.1 * np.linalg.norm(step)
    gone = ~np.isfinite(found_WPKC[0, :, -1, 0])
    assert gone[found_WPKC[0, :, 0, 0] + 2 * WINDOW > 128].all()  # out of the picture


def test_points_are_lost_at_a_cut() -> None:
    before, after = (moving(texture(seed), (1, 0), 6) for seed in (1, 2))
    found_WPKC = dis_tracks(np.concatenate([before, after])[: 2 * STEP + 1])
    assert np.isfinite(found_WPKC[0, :, 1]).mean() > 0.8
    assert np.isfinite(found_WPKC[0, :, 2]).mean() < 0.2


def test_what_moves_alike_has_one_and_what_moves_back_or_not_at_all_has_none() -> None:
    num = WINDOW + 1
    source = moving(texture(0), (2, 0), num)
    assert fidelity(source, source) == pytest.approx(1)
    assert fidelity(moving(texture(3), (2, 0), num), source) > 0.98
    assert fidelity(source[::-1], source) < 0.02
    assert fidelity(np.broadcast_to(source[:1], source.shape), source) == 0
    across = fidelity(moving(texture(3), (0, 2), num), source)
    assert across < 0.2
    with pytest.raises(Undefined, match="at least 5 frames"):
        dis_tracks(source[:STEP])


def test_noise_is_no_motion() -> None:
    rng = np.random.default_rng(4)
    still = moving(texture(0), (0, 0), WINDOW + 1)
    noisy = np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8)
    with pytest.raises(Undefined, match="moves in the source"):
        fidelity(still, noisy)
