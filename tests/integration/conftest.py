"""Synthetic clips and a build of them, and an S3 server, made once a session."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from avipipe.synth import generate
from tests.integration.builds import build
from tests.s3 import Bucket, Proxy, start_server


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
def clip(small_clips: Path) -> Path:
    """2.25 s of something that bounces."""
    return next((small_clips / "clips").glob("bounce*"))


@pytest.fixture(scope="session")
def built(small_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that the inline executor makes of them."""
    out = tmp_path_factory.mktemp("built") / "dataset"
    build(small_clips / "sources.txt", out, "--executor", "inline")
    return out


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Proxy]:
    server, port = start_server()
    with Proxy(port) as proxy:
        yield proxy
    server.stop()


@pytest.fixture
def s3(s3_server: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The way to the server, which goes wrong as asked; this process knows how to go it."""
    s3_server.reset()
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    return s3_server


@pytest.fixture
def bucket(s3: Proxy) -> Bucket:
    """An empty one."""
    return Bucket(s3.port, f"set-{uuid.uuid4().hex[:12]}").create()
