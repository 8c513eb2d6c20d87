"""Metrics of sound and synchrony against numbers of their reference implementations."""

from itertools import pairwise

import numpy as np
import pytest

from avipipe.evaluate.metrics.audio_consistency import (
    audio_consistency,
    coherent_consistency,
    ib_score,
)
from avipipe.evaluate.metrics.audio_kept import audio_kept, best_lag, correlation_at_lag
from avipipe.evaluate.metrics.audio_kl import kl_sigmoid_half
from avipipe.evaluate.metrics.clap_score import clap_score
from avipipe.evaluate.metrics.desync import (
    OFFSETS_S,
    ave_compass_sync,
    desync_s,
    expected_abs_desync_s,
    expected_desync_s,
)
from avipipe.evaluate.metrics.five_acc import FiveAnswers, five_acc, shown_frames
from avipipe.evaluate.metrics.javis import avh_score, javis_score, window_spans
from avipipe.evaluate.metrics.lpaps import (
    lpaps_channels,
    lpaps_zeus,
    stage_distances,
)
from avipipe.evaluate.metrics.lpaps import window_spans as lpaps_windows
from avipipe.evaluate.metrics.sync import (
    LipSync,
    ave_compass_lip_sync,
    distances_at_offsets,
    framewise_confidence,
    latentsync,
    lip_sync,
    lip_sync_inside,
)
from avipipe.evaluate.metrics.undefined import Undefined
from tests.parity.metric_fixtures import arrays, close, named
from tests.parity.metric_recipes import offset_tone


def triple(found: LipSync) -> list[float]:
    return [found.offset_frames, found.confidence, found.distance]


def test_sync_of_features() -> None:
    fixture = arrays("syncnet")
    for case in named(fixture, "(feat.*)_video"):
        features = fixture[f"{case}_video"], fixture[f"{case}_audio"]
        for reach in (15, 10):
            distances = distances_at_offsets(*features, reach=reach)
            name = f"{case}_vshift{reach}"
            close(distances.mean(axis=0), fixture[f"{name}_mdist"], 1e-5)
            expected = fixture[f"{name}_offset_conf_min"]
            close(triple(lip_sync(distances)), expected, 1e-5)
            assert lip_sync(distances).offset_frames == expected[0]
        distances = distances_at_offsets(*features)
        close(framewise_confidence(distances), fixture[f"{case}_fconf_medfilt9"], 1e-5)
        found = lip_sync(distances)
        at_0 = [found.confidence_at_0, found.distance_at_0]
        close(at_0, fixture[f"{case}_conf_dist_at_offset0"], 1e-5)
        if f"{case}_mdist_inner" in fixture:
            inner = lip_sync_inside(distances)
            assert inner.distance == pytest.approx(fixture[f"{case}_mdist_inner"].min(), rel=1e-5)


def test_latentsync_takes_the_mean_over_tracks() -> None:
    fixture = arrays("syncnet")
    videos = [
        latentsync([LipSync(int(o), float(c), 0, 0, 0) for o, c in zip(os, cs, strict=True)])
        for os, cs in zip(fixture["set_track_offset"], fixture["set_track_conf"], strict=True)
    ]
    close(videos, fixture["set_latentsync_video"], 1e-5)
    close(np.mean([conf for _, conf in videos]), fixture["set_latentsync_mean_conf"], 1e-5)


def test_desync() -> None:
    fixture = arrays("avbench")
    close(OFFSETS_S, fixture["sync_grid"], 1e-6)
    clips = np.moveaxis(fixture["sync_logits"], 0, 1)
    for measure, name in (
        (desync_s, "out_DeSync"),
        (expected_desync_s, "own_desync_expected"),
        (expected_abs_desync_s, "own_desync_expected_abs"),
    ):
        close(np.mean([measure(logits) for logits in clips]), fixture[name], 1e-5)


def test_scores_of_av_benchmark() -> None:
    fixture = arrays("avbench")
    pairs = list(zip(fixture["gt_pann_logits"], fixture["pred_pann_logits"], strict=True))
    close(np.mean([kl_sigmoid_half(*pair) for pair in pairs]), fixture["kl_sigmoid"], 1e-5)
    ib = zip(fixture["ib_video"], fixture["ib_audio"], strict=True)
    close(np.mean([ib_score(v[None], a[None]) for v, a in ib]), fixture["out_IB_Score"], 1e-5)
    for audio, name in (("clap_audio", "LAION_CLAP"), ("ib_audio", "MS_CLAP")):
        rows = zip(fixture[audio], fixture["clap_text"], strict=True)
        close(np.mean([clap_score(*row) for row in rows]), fixture[f"out_{name}_Score"], 1e-5)


def test_lpaps_of_stages() -> None:
    fixture = arrays("lpaps")
    names = named(fixture, "(.*)_a")
    a, b = ([fixture[f"{name}_{side}"][0] for name in names] for side in "ab")
    close(stage_distances(a, b, normalised_axis=0), fixture["lpaps_zeus_stages"], 1e-5)
    close(stage_distances(a, b, normalised_axis=1), fixture["lpaps_chan_stages"], 1e-5)
    close(lpaps_zeus(a, b), fixture["lpaps_zeus"], 1e-5)
    close(lpaps_channels(a, b), fixture["lpaps_chan"], 1e-5)
    rows = zip(fixture["clap_audio"], fixture["clap_text"], strict=True)
    close(np.mean([clap_score(*row) for row in rows]), fixture["clap_score"], 1e-5)


def test_lpaps_windows() -> None:
    fixture = arrays("lpaps")
    for case in named(fixture, "(.*)_params"):
        num_a, rate_a, num_b, rate_b, window_s, overlap = fixture[f"{case}_params"].tolist()
        a, b = (
            lpaps_windows(
                int(num),
                sample_rate_hz=int(rate),
                window_s=window_s if window_s > 0 else 10.0,
                overlap=overlap,
            )
            for num, rate in ((num_a, rate_a), (num_b, rate_b))
        )
        found = [[a0, a1 - a0, b0, b1 - b0] for (a0, a1), (b0, b1) in zip(a, b, strict=False)]
        np.testing.assert_array_equal(found, fixture[f"{case}_start_len"])


def test_javis() -> None:
    fixture = arrays("javis")
    for case in named(fixture, "(.*)_params"):
        num, fps, window_s, overlap_s, lowest = fixture[f"{case}_params"].tolist()
        spans = window_spans(int(num), rate=fps, window_s=window_s, overlap_s=overlap_s)
        np.testing.assert_array_equal(spans, fixture[f"{case}_windows"])
        frames = fixture[f"{case}_frames"]
        whole = fixture[f"{case}_audio_global"][0]
        close(avh_score(frames, whole), fixture[f"{case}_avhscore"], 1e-6)
        lowest = int(lowest) if lowest >= 1 else lowest
        windows = fixture[f"{case}_audio_windows"]
        expected = fixture[f"{case}_javisscore"]
        if np.isnan(expected):
            with pytest.raises(Undefined, match="frame rate is too low"):
                javis_score(frames, windows, spans, lowest=lowest)
        else:
            close(javis_score(frames, windows, spans, lowest=lowest), expected, 1e-6)


def test_consistency_of_embeddings() -> None:
    fixture = arrays("ac_coherent")
    pairs = list(zip(fixture["video"], fixture["audio"], strict=True))
    close([coherent_consistency(*pair) for pair in pairs], fixture["score"], 1e-6)
    close([ib_score(*pair) for pair in pairs], fixture["score_mean_embedding"], 1e-6)
    fixture = arrays("imagebind")
    rows = list(zip(fixture["ac_video"], fixture["head_in"], strict=True))
    found = [audio_consistency(v[None], a[None]) for v, a in rows]
    close(found, fixture["ac_cosine_x100"], 1e-6)
    scaled = [
        audio_consistency(v[None], a[None])
        for v, a in zip(fixture["ac_video"], fixture["head_audio_x20"], strict=True)
    ]
    close(scaled, fixture["ac_cosine_x100"], 1e-6)


def test_kept_sound_of_ave_compass() -> None:
    fixture = arrays("avecompass")
    num, seed, shift = fixture["audio_params"].tolist()
    wave = offset_tone(num, 1, seed, sample_rate_hz=16_000)[0]
    source = (wave * 20_000).astype(np.int16)
    assert [int(source.sum(dtype=np.int64)), source[0], source[-1]] == fixture[
        "audio_source_check"
    ].tolist()
    shifted = np.roll(source, shift).astype(np.float64)
    shifted[: max(shift, 0)] = 0
    noise = np.random.Generator(np.random.PCG64(seed + 1)).standard_normal(num)
    edit = (0.8 * shifted + 600 * noise).astype(np.int16)
    assert [int(edit.sum(dtype=np.int64)), edit[5000], edit[-1]] == fixture[
        "audio_edit_check"
    ].tolist()
    other = np.random.Generator(np.random.PCG64(seed + 2)).standard_normal(num) * 3000
    silence = np.zeros(num, np.int16)
    for name, a, b in (
        ("pair", source, edit),
        ("same", source, source),
        ("unrelated", source, other.astype(np.int16)),
        ("silent_edit", source, silence),
        ("both_silent", silence, silence),
        ("short_edit", source, edit[: num // 3]),
    ):
        score, rho, lag = fixture[f"sim_{name}"].tolist()
        found = audio_kept(a, b)
        close(found.score, score, 1e-4)
        if np.isnan(rho):
            assert found.correlation is None
            assert found.lag_frames is None
        else:
            assert found.correlation == pytest.approx(rho, abs=1e-4)
            assert found.lag_frames == lag


def test_spectra_and_formulas_of_ave_compass() -> None:
    fixture = arrays("avecompass")
    a, b = fixture["spec_a"], fixture["spec_b"]
    rho, lag = best_lag(a, b, max_lag_frames=90)
    close(rho, fixture["spec_best"][0], 1e-4)
    assert lag == fixture["spec_best"][1]
    reach = len(fixture["spec_corr_lags"]) // 2
    found = [correlation_at_lag(a, b, lag) for lag in range(-reach, reach + 1)]
    close(found, fixture["spec_corr_lags"], 1e-4)
    close([ave_compass_sync(float(dt)) for dt in fixture["sync_dt"]], fixture["sync_score"], 1e-9)
    close(
        [ave_compass_lip_sync(float(conf)) for conf in fixture["lip_conf"]],
        fixture["lip_score"],
        1e-9,
    )


def test_five_acc() -> None:
    fixture = arrays("five_acc")
    answers = [
        FiveAnswers(None if source == "<none>" else str(source), str(target), str(choice))
        for source, target, choice in fixture["answers"]
    ]
    rights = [(each.is_yes_no_right, each.is_choice_right()) for each in answers]
    np.testing.assert_array_equal(rights, fixture["yn_mc"])
    found = five_acc(rights)
    expected = [found.yes_no, found.choice, found.union, found.intersection, found.mean]
    close(expected, fixture["acc"], 1e-12)
    for num, stride, count in fixture["frame_sampling"].tolist():
        shown = shown_frames(num)
        assert shown[0] == stride // 2
        assert len(shown) == count
        assert all(b - a == stride for a, b in pairwise(shown))
