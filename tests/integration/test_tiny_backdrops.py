"""The videos of backdrops that sound, of which tiny models of AudioScenic learn."""

from pathlib import Path

import numpy as np
import pytest

from avipipe.manifests.rle import read_masks
from avipipe.media.normalize import SAMPLE_RATE_HZ
from avipipe.media.probe import probe
from examples.tiny.backdrops import LOUD, QUIET, Backdrop, backdrop_colour, draw_backdrop
from examples.tiny.shapes import PITCH_HZ, RGB


def loud_at_last(seed: int) -> Backdrop:
    return draw_backdrop(np.random.default_rng(seed), halves=(QUIET, LOUD))


def test_the_backdrop_has_the_more_colour_the_louder_it_is() -> None:
    for seed in range(20):
        scene = loud_at_last(seed)
        frames, mask = scene.frames(), scene.mask
        for half, loudness in ((slice(None, 8), QUIET), (slice(8, None), LOUD)):
            expected = backdrop_colour(scene.colour, np.array(loudness))
            assert frames[half][~mask[half]].mean(0) == pytest.approx(expected, abs=6)
        assert scene.colour != scene.shape.colour
        assert frames[mask].mean(0) == pytest.approx(RGB[scene.shape.colour], abs=15)


def test_the_tone_is_that_of_the_backdrop() -> None:
    scene = loud_at_last(0)
    tone_N = scene.tone()
    soft, loud = np.abs(np.array_split(tone_N, 2)).mean(1)
    assert loud / soft == pytest.approx(LOUD / QUIET, rel=0.2)
    loudest = np.argmax(abs(np.fft.rfft(tone_N)))
    assert loudest * SAMPLE_RATE_HZ / len(tone_N) == pytest.approx(PITCH_HZ[scene.colour], abs=2)


def test_the_same_seed_draws_the_same() -> None:
    one, same, other = (loud_at_last(seed).frames() for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_what_is_written_is_what_was_drawn(tmp_path: Path) -> None:
    scene = loud_at_last(0)
    scene.write(tmp_path)
    width, height = map(int, probe(tmp_path / "video.mp4").video.shape)
    assert (width, height) == (96, 64)
    masks = read_masks(tmp_path / "shape.masks.json")
    assert np.array_equal(masks.mask(15), scene.mask[15])
