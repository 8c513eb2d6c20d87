"""The videos of shapes that tiny models learn from."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from avipipe.manifests.rle import read_masks
from avipipe.media.decode import read_audio, read_frames
from avipipe.media.normalize import FPS, SAMPLE_RATE_HZ
from avipipe.media.probe import probe
from examples.tiny.shapes import KINDS, PITCH_HZ, RGB, draw_scene, names_in


def test_a_caption_names_what_is_seen() -> None:
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed))
        names = names_in(scene.caption)
        frames, masks = scene.frames(), scene.masks
        assert not (masks[0] & masks[1]).any()
        for (colour, kind), mask, shape in zip(names, masks, scene.shapes, strict=True):
            assert (colour, kind) == (shape.colour, shape.kind)
            assert (frames[mask] == RGB[colour]).all()
            sizes = mask.sum((1, 2))
            assert sizes.min() > 0.8 * sizes.max() > 100  # it never leaves the picture


def test_the_same_seed_draws_the_same() -> None:
    one, same, other = (draw_scene(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one.frames(), same.frames())
    assert not np.array_equal(one.frames(), other.frames())


@pytest.mark.parametrize("colour", RGB)
def test_the_tone_is_that_of_the_first_colour(colour: str) -> None:
    names = [(colour, "square"), ("blue", "circle")]
    tone = draw_scene(np.random.default_rng(0), names, num_frames=49).tone()
    loudest = np.argmax(abs(np.fft.rfft(tone)))
    assert loudest * SAMPLE_RATE_HZ / len(tone) == pytest.approx(PITCH_HZ[colour], abs=1)


def test_all_kinds_have_the_middle_in_their_mask() -> None:
    for colour, kind in itertools.product(("red",), KINDS):
        scene = draw_scene(np.random.default_rng(3), [(colour, kind), ("blue", "circle")])
        x, y = scene.shapes[0].middle_px
        assert scene.masks[0][0, int(y), int(x)]


def test_what_is_written_is_what_was_drawn(tmp_path: Path) -> None:
    scene = draw_scene(np.random.default_rng(0), names_in("a red square and a blue circle"))
    video = scene.write(tmp_path / "out")
    info = probe(video)
    end_s = float(scene.num_frames / FPS)
    pictures = read_frames(video, info, start_s=0.0, end_s=end_s, fps=FPS, height_px=64)
    frames = np.stack(list(pictures))
    assert abs(frames.astype(int) - scene.frames()).mean() < 5
    heard = read_audio(video, info, start_s=0.0, end_s=end_s, sample_rate_hz=16_000, mono=True)
    assert heard.std() > 0.1
    masks = read_masks(tmp_path / "out" / "first.masks.json")
    assert np.array_equal(masks.mask(16), scene.masks[0][16])
    assert json.loads((tmp_path / "out" / "second.masks.json").read_bytes())["fps"] == 24


def test_other_captions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected two of red, green"):
        names_in("a red square and a dog")
