"""Views of ImageBind: which moments they show, and what shared buffers do to them."""

import numpy as np
import pytest

from avipipe.annotators.imagebind.views import (
    audio_views,
    audio_window_views,
    clip_frames,
    video_views,
)
from avipipe.errors import AnnotatorError


def sound(seconds: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Noise that rises from silence, with an offset that rises as well."""
    num = round(16_000 * seconds)
    noise = np.random.default_rng(2).standard_normal((1, num))
    rise = np.linspace(0, 1, num)
    return (0.1 * rise * noise + 0.2 * rise).astype(np.float32)


def test_windows_that_overlap_in_one_buffer_differ_from_windows_alone() -> None:
    wave = sound(3.0)
    before = wave.copy()
    spans = [(0, 32_000), (16_000, 48_000)]
    shared, alone = (audio_window_views(wave, spans, is_shared=kept) for kept in (True, False))
    assert shared.shape == (2, 3, 1, 128, 204)
    np.testing.assert_allclose(shared[0], alone[0], atol=1e-3)
    assert np.abs(shared[1] - alone[1]).max() > 0.1
    np.testing.assert_array_equal(wave, before)
    (whole,) = audio_window_views(wave, [(0, 48_000)])
    np.testing.assert_array_equal(whole, audio_views(wave, sample_rate_hz=16_000))


def test_less_than_a_window_of_sound_is_refused() -> None:
    with pytest.raises(AnnotatorError, match="25 ms"):
        audio_views(sound(0.02), sample_rate_hz=16_000)


def test_only_one_rule_sees_the_end() -> None:
    ends = [
        clip_frames(250, fps=25.0, num_clips=5, rule=rule)[-1][1] for rule in ("pinned", "pypi015")
    ]
    assert ends == [249, 209]


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (30, 30)])
def test_crops_are_square_and_a_single_frame_stands(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(3).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    views = video_views(frames, fps=24.0)
    assert views.shape == (15, 3, 2, 224, 224)
    np.testing.assert_array_equal(views[:, :, 0], views[:, :, 1])
    (middle,) = video_views(frames, fps=24.0, num_clips=1, num_crops=1)
    np.testing.assert_array_equal(middle, views[1])
    with pytest.raises(AnnotatorError, match="at least one frame"):
        video_views(frames[:0], fps=24.0)
