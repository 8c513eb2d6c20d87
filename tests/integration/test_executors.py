"""The same bytes from every executor, and bad items that cost nobody else anything."""

import json
from pathlib import Path

import pytest

from avipipe.synth import render, write_clip
from tests.integration import faulty
from tests.integration.builds import assert_adds_up, avipipe, build, published, status


@pytest.mark.slow
def test_ray_with_one_and_two_workers_gives_the_bytes_of_inline(
    small_clips: Path, built: Path, tmp_path: Path
) -> None:
    expected = published(built)
    assert any(name.endswith(".tar") for name in expected)
    for num_cpus in (1, 2):
        out = tmp_path / f"ray-{num_cpus}"
        build(small_clips / "sources.txt", out, "--set", f"executor.num_cpus={num_cpus}")
        assert published(out) == expected


@pytest.mark.slow
def test_items_that_kill_hang_or_raise_fail_alone(tmp_path: Path) -> None:
    lengths = {
        "kills": faulty.KILLS_S,
        "hangs": faulty.HANGS_S,
        "raises": faulty.RAISES_S,
        "fills_memory": faulty.FILLS_MEMORY_S,
        "fine_1": 2.5,
        "fine_2": 3.0,
    }
    (tmp_path / "clips").mkdir()
    for seed, (name, duration_s) in enumerate(lengths.items()):
        clip = render("bounce", seed, duration_s=duration_s, height_px=120)
        write_clip(clip, tmp_path / "clips" / f"{name}.mp4")
    out = tmp_path / "out"
    options = ["annotators.vad=tests.integration.faulty:FaultyVad", "executor.timeout_s.listen=6"]
    build(tmp_path / "clips", out, *(word for each in options for word in ("--set", each)))
    counts = status(out)
    assert_adds_up(counts)
    listen = counts["listen"]
    assert (listen["in"], listen["keep"], listen["fail"]) == (6, 2, 4)
    assert listen["reasons"] == {
        "fail:worker_died": 1,
        "fail:timeout": 1,
        "fail:internal": 1,
        "fail:out_of_memory": 1,
    }
    story = json.loads(avipipe("why", "raises.mp4", "--out", out, "--json").out)
    assert story


def test_a_model_that_does_not_load_is_no_fault_of_an_item(tmp_path: Path) -> None:
    write_clip(render("bounce", 3, duration_s=2.5, height_px=120), tmp_path / "clip.mp4")
    words = ("build", "--source", tmp_path / "clip.mp4", "--out", tmp_path / "out")
    broken = ("--set", "annotators.vad=tests.integration.faulty:UnloadableVad")
    done = avipipe(*words, "--executor", "inline", *broken)
    assert done.code == 5
    assert "`listen` cannot load its models" in done.err
    assert "these are not the bytes of a model" in done.err
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert sum(stage["fail"] for stage in status(tmp_path / "out").values()) == 0


def test_retry_runs_failures_again(tmp_path: Path) -> None:
    clip = render("bounce", 3, duration_s=2.5, height_px=120)
    source = tmp_path / "clips" / "late.mp4"
    listing = tmp_path / "list.txt"
    listing.write_text(f"{source}\n")
    out = tmp_path / "out"
    build(listing, out, "--executor", "inline")
    assert status(out)["fetch"]["reasons"] == {"fail:no_such_file": 1}
    source.parent.mkdir()
    write_clip(clip, source)
    build(listing, out, "--executor", "inline")
    assert status(out)["fetch"]["fail"] == 1, "a failure stays until it is retried"
    assert avipipe("retry", "--kind", "no_such_file", "--out", out).code == 0
    build(listing, out, "--executor", "inline")
    assert status(out)["fetch"]["keep"] == 1
