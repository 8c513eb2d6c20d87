"""Sizes of network and clips, and audio features at the frames of a video."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from avipipe.editor.avi_edit.audio_features import resample_states
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.errors import ConfigError

# --- sizes ---------------------------------------------------------------------------------------


def test_the_real_network_is_as_wide_as_wan() -> None:
    assert EditorConfig.preset("wan2.2-5b").dim == 3072


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"choose one of tiny, wan2\.2-5b"):
        EditorConfig.preset("wan3")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"audio_layers": (0, 30)}, "audio_layers: expected increasing numbers from 0 to 29"),
        ({"gamr_layers": (4, 0)}, "gamr_layers: expected increasing"),
        ({"gamr_layers": (4, 4)}, "gamr_layers: expected increasing"),
        ({"audio_layers": ()}, "at least 1 item"),
        ({"num_attention_heads": 3, "attention_head_dim": 14}, "that 4 divides, got 42"),
        ({"layers": 3}, "layers"),
    ],
)
def test_sizes_that_fit_no_network_are_refused(changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        EditorConfig(**changed)


def test_tokens_of_a_bucket() -> None:
    bucket = Bucket(121, 704, 1280)
    assert bucket.latent_size == (31, 44, 80)
    assert bucket.tokens_per_frame == 880
    assert bucket.num_tokens == 27_280


@pytest.mark.parametrize(
    "size", [(80, 704, 1280), (81, 720, 1280), (81, 704, 1270), (-3, 32, 32), (1, 0, 32)]
)
def test_buckets_that_the_vae_cannot_encode_are_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="expected 4 n \\+ 1 frames"):
        Bucket(*size)


# --- audio ---------------------------------------------------------------------------------------


def ramp(num_states: int) -> torch.Tensor:
    """Each state tells its own time in seconds, in layers of one and of two times that."""
    times_s = torch.arange(num_states, dtype=torch.float64) / 50
    return torch.stack([times_s, 2 * times_s])[:, :, None]


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(24000, 1001), Fraction(25), Fraction(60)])
def test_frames_hear_their_own_time(fps: Fraction) -> None:
    heard = resample_states(ramp(201), fps, 81)
    times_s = torch.tensor([float(frame / fps) for frame in range(81)], dtype=torch.float64)
    assert heard.shape == (81, 2, 1)
    torch.testing.assert_close(heard[:, :, 0], torch.stack([times_s, 2 * times_s], dim=1))


def test_states_at_frames_are_taken_as_they_are() -> None:
    """At 25 fps every second state stands at a frame; the released way drifts off them."""
    states = torch.randn(3, 100, 4, generator=torch.Generator().manual_seed(0))
    heard = resample_states(states, Fraction(25), 49)
    assert torch.equal(heard, states[:, :98:2].transpose(0, 1))
    assert not torch.equal(resample_states(states, Fraction(25), 49, "released"), heard)


def test_after_the_audio_there_is_silence() -> None:
    """The last state is held for the 20 ms that it may stand for."""
    states = torch.ones(1, 50, 1)
    heard = resample_states(states, Fraction(50), 60)[:, 0, 0]
    assert heard.tolist() == [1.0] * 51 + [0.0] * 9
    released = resample_states(states, Fraction(50), 200, "released")[:, 0, 0]
    assert released[:50].all()
    assert not released[51:].any()
