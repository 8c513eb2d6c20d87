"""Pools of workers and the replacement of those that leak, on a real Ray."""

from pathlib import Path

import pytest

from avipipe.synth import generate
from tests.integration.builds import assert_adds_up, build, status
from tests.integration.leaky import PIDS_ENV

MODULE = "tests.integration.leaky"
POOLED = [
    f"annotators.vad={MODULE}:GpuLeakyVad",
    f"annotators.localize={MODULE}:GpuLocalizer",
    f"annotators.detect={MODULE}:GpuDetector",
    f"annotators.caption={MODULE}:GpuCaptioner",
]


def options(*settings: str) -> list[str]:
    limits = ("executor.num_cpus=2", "executor.max_worker_gb=0.5")
    return [word for setting in (*settings, *limits) for word in ("--set", setting)]


@pytest.fixture
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pids"
    folder.mkdir()
    monkeypatch.setenv(PIDS_ENV, str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("num_gpus", [0, 2])
def test_four_pools_share_two_cpus_and_leaks_cost_no_item(
    num_gpus: int,
    small_clips: Path,
    tmp_path: Path,
    pids: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", f'{{"GPU": {num_gpus}}}')
    out = tmp_path / "out"
    build(small_clips / "sources.txt", out, *options(*POOLED))
    counts = status(out)
    assert_adds_up(counts)
    assert (counts["listen"]["in"], counts["listen"]["fail"]) == (5, 0)
    assert counts["caption"]["keep"] == counts["pair"]["keep"] == 2
    assert len(list(pids.iterdir())) >= 2


@pytest.mark.slow
def test_workers_without_a_pool_are_replaced_too(tmp_path: Path, pids: Path) -> None:
    source = generate(tmp_path, num_clips=6, kinds=["silent"], duration_s=2.25, height_px=120)
    build(source, tmp_path / "out", *options(f"annotators.vad={MODULE}:LeakyVad"))
    listen = status(tmp_path / "out")["listen"]
    assert (listen["in"], listen["keep"]) == (6, 6)
    assert len(list(pids.iterdir())) >= 3, "there are two at a time"
