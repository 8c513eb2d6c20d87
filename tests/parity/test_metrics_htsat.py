"""HTSAT-base and LPAPS of whole sounds against numbers of LAION-CLAP, with recipe weights."""

import numpy as np
import pytest
import torch

from avipipe.evaluate.extractors.htsat import HtsatBase
from avipipe.evaluate.metrics.lpaps import (
    lpaps_channels,
    lpaps_zeus,
    mean_over_windows,
    stage_distances,
)
from tests.parity.metric_fixtures import Arrays, arrays, close
from tests.parity.metric_recipes import noisy_tone, recipe_state, stats

Wave = np.ndarray[tuple[int], np.dtype[np.float32]]


@pytest.fixture(scope="module")
def fixture() -> Arrays:
    return arrays("htsat_lpaps")


@pytest.fixture(scope="module")
def htsat(tmp_path_factory: pytest.TempPathFactory) -> HtsatBase:
    folder = tmp_path_factory.mktemp("weights")
    state = {f"module.audio_branch.{k}": v for k, v in recipe_state("htsat_base").items()}
    path = folder / "clap_htsat_base" / "music_speech_epoch_15_esc_89.25.pt"
    path.parent.mkdir()
    torch.save({"epoch": 15, "state_dict": state}, path)
    extractor = HtsatBase()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVIPIPE_WEIGHTS_DIR", str(folder))
        extractor.setup()
    path.unlink()
    return extractor


def sounds(fixture: Arrays) -> tuple[Wave, Wave, int]:
    num, seed, rate_hz = fixture["audio_params"].tolist()
    a = noisy_tone(num, seed, sample_rate_hz=rate_hz)
    noise = np.random.Generator(np.random.PCG64(seed + 1)).standard_normal(num)
    b = (0.7 * a + 0.02 * noise).astype(np.float32)
    b[num // 3 : num // 2] = 0
    close([a.sum(dtype=float), a[-1], b.sum(dtype=float), b[-1]], fixture["audio_check"], 1e-6)
    return a, b, rate_hz


@pytest.mark.slow  # 70 million weights are drawn, and hear 26 s of sound
def test_stages_and_lpaps(htsat: HtsatBase, fixture: Arrays) -> None:
    a, b, rate_hz = sounds(fixture)
    wave = htsat.resampled(a, sample_rate_hz=rate_hz)
    close(
        [wave.size, wave.sum(dtype=float), (wave.astype(float) ** 2).sum()],
        fixture["resampled48k_check"],
        1e-5,
    )
    close(wave[1000:1400], fixture["resampled48k_part"], 1e-5)
    close(htsat.log_mel(wave)[::50, ::3], fixture["logmel_part"], 1e-3)
    both = [htsat.stages(x, sample_rate_hz=rate_hz) for x in (a, b)]
    for number, stage in enumerate(both[0], start=1):
        tokens, channels = stage.shape
        part = stage[:: tokens // 16, :: channels // 24]
        close(part, fixture[f"swin{number}_a_part"], 1e-4)
        for row, side in enumerate(both):
            found = stats(side[number - 1][None])
            np.testing.assert_allclose(found[:3], fixture[f"swin{number}_shape_stats"][row, :3])
            np.testing.assert_allclose(
                found[4], fixture[f"swin{number}_shape_stats"][row, 4], rtol=1e-4
            )
    np.testing.assert_allclose(lpaps_zeus(*both), fixture["lpaps"], rtol=1e-4)
    distances = stage_distances(*both, normalised_axis=0)
    np.testing.assert_allclose(distances, fixture["lpaps_stages"], rtol=1e-4)
    np.testing.assert_allclose(lpaps_channels(*both), fixture["lpaps_chan"], rtol=1e-4)
    assert lpaps_zeus(both[0], both[0]) == fixture["lpaps_identity"]


@pytest.mark.slow  # as above
def test_lpaps_of_windows(htsat: HtsatBase, fixture: Arrays) -> None:
    a, b, rate_hz = sounds(fixture)
    first, second = (htsat.windows(x, sample_rate_hz=rate_hz, window_s=3.0) for x in (a, b))
    found = mean_over_windows(lpaps_zeus, list(zip(first, second, strict=True)))
    np.testing.assert_allclose(found, fixture["lpaps_win3"], rtol=1e-4)
