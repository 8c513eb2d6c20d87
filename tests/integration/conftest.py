"""Synthetic clips and a build of them, made once a session."""

from pathlib import Path

import pytest

from avipipe.synth import generate
from tests.integration.builds import build


@pytest.fixture(scope="session")
def small_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five small clips, two of them to keep, and their `sources.txt`."""
    sources = generate(
        tmp_path_factory.mktemp("synth"),
        num_clips=5,
        seed=5,
        kinds=("bounce", "music_over", "strike", "voice_over_still", "silent"),
        duration_s=2.25,
        height_px=160,
    )
    return sources.parent


@pytest.fixture(scope="session")
def built(small_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that the inline executor makes of them."""
    out = tmp_path_factory.mktemp("built") / "dataset"
    build(small_clips / "sources.txt", out, "--executor", "inline")
    return out
