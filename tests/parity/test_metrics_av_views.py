"""What ImageBind and Synchformer are shown, against numbers of their own loaders."""

import numpy as np
import pytest

from avipipe.annotators.imagebind.views import (
    ClipRule,
    audio_views,
    av_benchmark_frames,
    av_benchmark_views,
    clip_frames,
    clip_spans_s,
    video_views,
)
from avipipe.evaluate.extractors.synchformer_views import audio_segments, pictures, video_segments
from tests.parity.metric_fixtures import Arrays, arrays, close, named
from tests.parity.metric_recipes import noisy_tone, offset_tone, stats

RULES: list[ClipRule] = ["pinned", "pypi015"]


@pytest.fixture(scope="module")
def imagebind() -> Arrays:
    return arrays("imagebind")


@pytest.fixture(scope="module")
def synchformer() -> Arrays:
    return arrays("synchformer_input")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("num_clips", [3, 5])
def test_times_of_clips(imagebind: Arrays, rule: ClipRule, num_clips: int) -> None:
    found = [
        [tuple(map(float, span)) for span in clip_spans_s(duration_s, num_clips, rule=rule)]
        for duration_s in imagebind["durations"].tolist()
    ]
    close(found, imagebind[f"clips{num_clips}_{rule}"], 1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_sounds_of_imagebind(imagebind: Arrays, rule: ClipRule) -> None:
    for case in named(imagebind, "(.*)_params"):
        num, channels, rate_hz, seed = imagebind[f"{case}_params"].tolist()
        wave = offset_tone(num, channels, seed, sample_rate_hz=rate_hz)
        check = [wave.sum(dtype=float), wave[0, 0], wave[-1, -1]]
        close(check, imagebind[f"{case}_sum_first"], 1e-6)
        views = audio_views(wave, sample_rate_hz=rate_hz, rule=rule)
        close(views[:, :, ::9, ::11], imagebind[f"{case}_{rule}"], 3e-3)
        sums = [stats(view)[-2:] for view in views]
        close(sums, imagebind[f"{case}_{rule}_stats"], 3e-3)
        if rule == "pinned":
            alone = audio_views(wave, sample_rate_hz=rate_hz, is_shared=False)
            step = float(np.abs(alone - views).max())
            expected = float(imagebind[f"{case}_independent_clips_maxdiff"])
            assert step == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("rule", RULES)
def test_pictures_of_imagebind(imagebind: Arrays, rule: ClipRule) -> None:
    frames, fps = imagebind["video_frames"], float(imagebind["video_fps"])
    pairs = imagebind[f"video_{rule}_frame_pairs"]
    found = clip_frames(len(frames), fps=fps, num_clips=len(pairs), rule=rule)
    np.testing.assert_array_equal(found, pairs[:, :2])
    views = video_views(frames, fps=fps, rule=rule)
    close(views[..., ::29, ::31], imagebind[f"video_{rule}"], 1e-4)
    close([stats(view)[-2:] for view in views], imagebind[f"video_{rule}_stats"], 1e-4)


def test_sounds_of_synchformer(synchformer: Arrays) -> None:
    wave = noisy_tone(*synchformer["audio_params"].tolist())
    close([wave.sum(dtype=float), wave[0], wave[-1]], synchformer["audio_check"], 1e-6)
    segments = audio_segments(wave)
    close(segments[None][..., ::9, ::5], synchformer["audio_segments_part"], 3e-4)
    close(stats(segments[None]), synchformer["audio_segments_stats"], 3e-4)


def test_pictures_of_synchformer_and_of_av_benchmark(synchformer: Arrays) -> None:
    base = synchformer["video_base"]
    num, num_slow = (int(count) for count in synchformer["video_params"][1:])
    shown = pictures(np.stack([np.roll(base, k, axis=1) for k in range(num)]))
    assert np.abs(shown[::5, :, ::19, ::23] - synchformer["sync_video_part"]).max() < 1e-2
    np.testing.assert_allclose(stats(shown)[-2:], synchformer["sync_video_stats"], rtol=1e-2)
    means = video_segments(shown).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(means, synchformer["sync_segment_frame_means"], atol=1e-2)
    slow = np.stack([np.roll(base, 7 * k, axis=1) for k in range(num_slow)])
    found = av_benchmark_frames(slow)
    expected = synchformer["ib_video_stats"].tolist()
    assert list(found.shape) == expected[:5]
    assert np.abs(found[..., ::29, ::31] - synchformer["ib_video_part"]).max() < 2e-2
    np.testing.assert_allclose(stats(found)[-2:], expected[5:], rtol=1e-2)


def test_av_benchmark_shows_each_frame_with_the_next(synchformer: Arrays) -> None:
    base = synchformer["video_base"]
    slow = np.stack([np.roll(base, 7 * k, axis=1) for k in range(3)])
    frames, views = av_benchmark_frames(slow), av_benchmark_views(slow)
    assert views.shape == (6, 3, 2, 224, 224)
    np.testing.assert_array_equal(views[4, :, 1], frames[1, 2])
    assert av_benchmark_views(slow[:1]).shape == (0, 3, 2, 224, 224)
