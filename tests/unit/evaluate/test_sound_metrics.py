"""What the metrics of sound and synchrony say of inputs whose answer is known."""

import numpy as np
import numpy.typing as npt
import pytest

from avipipe.evaluate.metrics.audio_consistency import coherent_consistency, ib_score
from avipipe.evaluate.metrics.audio_kept import audio_kept
from avipipe.evaluate.metrics.audio_kl import kl_scores, kl_sigmoid
from avipipe.evaluate.metrics.clap_score import clap_score
from avipipe.evaluate.metrics.desync import OFFSETS_S, desync_s, expected_desync_s
from avipipe.evaluate.metrics.javis import avh_score, javis_score, paired_spans, window_spans
from avipipe.evaluate.metrics.lpaps import lpaps_channels, lpaps_zeus, mean_over_windows
from avipipe.evaluate.metrics.sync import (
    Features,
    LipSync,
    distances_at_offsets,
    latentsync,
    lip_sync,
    lip_sync_inside,
    offset_histogram,
    share_in_sync,
)
from avipipe.evaluate.metrics.undefined import Undefined


def features(num: int, seed: int = 5) -> Features:
    return np.random.default_rng(seed).standard_normal((num, 16))


def of_track(video_TD: Features, audio_TD: Features) -> LipSync:
    return lip_sync(distances_at_offsets(video_TD, audio_TD))


@pytest.mark.parametrize("early", [-12, -3, 0, 1, 15])
def test_the_offset_is_by_how_much_the_sound_is_early(early: int) -> None:
    video_TD = features(120)
    found = of_track(video_TD, np.roll(video_TD, -early, axis=0))
    assert found.offset_frames == early


def test_sync_c_is_blind_to_a_constant_shift_and_its_value_at_0_is_not() -> None:
    video_TD = features(200)
    exact, shifted = (of_track(video_TD, np.roll(video_TD, k, axis=0)) for k in (0, 4))
    assert shifted.confidence == pytest.approx(exact.confidence, rel=0.05)
    assert exact.confidence_at_0 > 10 * abs(shifted.confidence_at_0)
    assert shifted.distance_at_0 > exact.distance_at_0 + 1


def test_windows_without_padding_need_a_track_of_more_than_thirty() -> None:
    with pytest.raises(Undefined, match="30 windows"):
        lip_sync_inside(distances_at_offsets(features(30), features(30)))
    video_TD = features(31)
    assert lip_sync_inside(distances_at_offsets(video_TD, video_TD)).offset_frames == 0


def test_without_a_face_there_is_no_sync() -> None:
    with pytest.raises(Undefined, match="fewer than 6 frames"):
        distances_at_offsets(features(0), features(0))
    with pytest.raises(Undefined, match="no face"):
        latentsync([])
    with pytest.raises(Undefined, match="no face"):
        share_in_sync([])


def test_offsets_of_a_set() -> None:
    offsets = [-15, 0, 0, 1, 3, 15]
    histogram = offset_histogram(offsets)
    assert histogram.tolist() == [1, *[0] * 14, 2, 1, 0, 1, *[0] * 11, 1]
    assert share_in_sync(offsets) == pytest.approx(0.5)


def test_desync_of_sure_and_of_unsure_logits() -> None:
    logits_EK = np.zeros((2, len(OFFSETS_S)))
    assert expected_desync_s(logits_EK) == pytest.approx(0, abs=1e-9)
    logits_EK[0, 13] = logits_EK[1, 6] = 100.0  # 0.6 s late, 0.8 s early
    assert desync_s(logits_EK) == pytest.approx(0.7)
    assert expected_desync_s(logits_EK) == pytest.approx(0.7)
    with pytest.raises(Undefined, match=r"4\.8 s"):
        desync_s(np.zeros((0, 21)))


def stages(seed: int) -> list[npt.NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in ((16, 4), (4, 8))]


@pytest.mark.parametrize("distance", [lpaps_zeus, lpaps_channels])
def test_lpaps_is_0_for_the_same_sound_grows_with_noise_and_ignores_scale(distance: object) -> None:
    assert callable(distance)
    one, other = stages(1), stages(2)
    assert distance(one, one) == 0
    assert distance(one, [3 * stage for stage in one]) == pytest.approx(0, abs=1e-9)
    ladder = [
        distance(one, [a + noise * b for a, b in zip(one, other, strict=True)])
        for noise in (0.1, 0.3, 1.0)
    ]
    assert 0 < ladder[0] < ladder[1] < ladder[2]


def test_lpaps_of_broken_or_empty_sound_is_undefined() -> None:
    broken = stages(1)
    broken[1][0, 0] = np.nan
    with pytest.raises(Undefined):
        lpaps_zeus(stages(1), broken)
    with pytest.raises(Undefined, match="empty"):
        mean_over_windows(lpaps_zeus, [])


def test_cosines_ignore_scale_and_refuse_nothing() -> None:
    audio_D, text_D = features(2)
    assert clap_score(20 * audio_D, text_D) == pytest.approx(clap_score(audio_D, text_D))
    assert clap_score(audio_D, audio_D) == pytest.approx(1)
    for broken_D in (0 * audio_D, np.full_like(audio_D, np.nan)):
        with pytest.raises(Undefined):
            clap_score(broken_D, text_D)


def test_only_what_is_of_the_same_time_is_coherent() -> None:
    clips_KD = features(5)
    assert coherent_consistency(clips_KD, clips_KD) == pytest.approx(1)
    turned_KD = clips_KD[::-1]
    assert coherent_consistency(clips_KD, turned_KD) < 0.5
    assert ib_score(clips_KD, turned_KD) == pytest.approx(1)
    with pytest.raises(Undefined):
        coherent_consistency(clips_KD, clips_KD[:3])


def test_javis_score_looks_at_the_worst_frames_of_each_window() -> None:
    frames_TD = np.eye(16)[[0, 0, 0, 1, 1]].astype(float)
    audio_D = np.eye(16)[0]
    assert javis_score(frames_TD, audio_D[None], [(0, 5)]) == pytest.approx(0)
    assert javis_score(frames_TD, audio_D[None], [(0, 5)], lowest=4) == pytest.approx(0.5)
    assert avh_score(frames_TD, audio_D) == pytest.approx(0.6)


def test_javis_windows_of_picture_and_sound_go_in_pairs() -> None:
    pairs = paired_spans(
        num_frames=25, fps=10, num_samples=2400, sample_rate_hz=1000, window_s=1, overlap_s=0.5
    )
    assert pairs == [
        ((0, 10), (0, 1000)),
        ((5, 15), (500, 1500)),
        ((10, 20), (1000, 2000)),
        ((15, 25), (1400, 2400)),
    ]
    with pytest.raises(Undefined, match="never end"):
        window_spans(100, rate=10, window_s=1, overlap_s=1)


def test_divergence_of_classes_that_are_each_there_or_not() -> None:
    reference_C, edit_C = features(2, seed=3)
    assert kl_sigmoid(reference_C, reference_C) == pytest.approx(0)
    assert kl_sigmoid(reference_C, edit_C) > 0.1
    with pytest.raises(Undefined):
        kl_sigmoid(reference_C, np.full_like(edit_C, np.inf))


def test_kept_sound_falls_with_noise_but_not_with_a_shift() -> None:
    rng = np.random.default_rng(3)
    bursts = np.repeat(rng.random(60) < 0.5, 1024) * 8000
    source_N = (bursts * rng.standard_normal(bursts.size) / 3).astype(np.int16)
    noise_N = 1000 * rng.standard_normal(bursts.size)
    noisy = [audio_kept(source_N, (source_N + k * noise_N).astype(np.int16)) for k in (0, 1, 4)]
    assert noisy[0].score > noisy[1].score > noisy[2].score
    shifted = audio_kept(source_N, np.roll(source_N, 5 * 512))
    assert shifted.score > 0.95
    assert shifted.lag_frames == -5
    with pytest.raises(Undefined, match="64 ms"):
        audio_kept(source_N, source_N[:100])


def test_kl_of_scores_is_that_of_coins() -> None:
    """Two coins: one is the same, the other falls otherwise nine times of ten."""
    found = kl_scores(np.array([0.5, 0.9]), np.array([0.5, 0.1]))
    assert found == pytest.approx(0.8 * np.log(9))
    sure = kl_scores(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert 30 < sure < 35, "a sure class that is gone costs much, and not everything"
    with pytest.raises(Undefined):
        kl_scores(np.array([np.nan]), np.array([0.5]))
