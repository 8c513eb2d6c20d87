"""Run real builds on small synthetic clips, and compare what they published."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avipipe import weights
from avipipe.annotators.registry import create, profile
from avipipe.annotators.weighted import needs_of
from avipipe.errors import WeightsError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from avipipe.cli import main; main()", *map(str, words)]


def environment() -> dict[str, str]:
    # Annotators of the tests are imported by name, in Ray's workers too.
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def avipipe(*words: str | Path, timeout_s: float = 280.0) -> Ended:
    done = subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
        env=environment(),
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def light_runs() -> bool:
    """Whether all weights of `light` are here."""
    try:
        weights.require(
            {
                need
                for role, name in profile("light").items()
                for need in needs_of(create(role, name))
            }
        )
    except WeightsError:
        return False
    return True


def build(source: Path, out: Path, *options: str) -> Ended:
    done = avipipe("build", "--source", source, "--out", out, *options)
    assert done.code == 0, done.err
    return done


def published(out: Path) -> dict[str, str]:
    """Name -> sha256 of everything that a dataset publishes and that must not vary."""
    paths = [*out.glob("shards/*.tar"), *out.glob("manifest/*.parquet"), out / "dataset.json"]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def unpublish(out: Path) -> None:
    """Leave a dataset as it was before its first publication: made, with nothing to be read."""
    for path in out.iterdir():
        if path.is_dir() and path.name != "work":
            shutil.rmtree(path)
        elif path.is_file() and path.name != "config.yaml":
            path.unlink()


def status(out: Path) -> dict[str, dict[str, Any]]:
    """Stage -> counts."""
    done = avipipe("status", "--out", out, "--json")
    assert done.code == 0, done.err
    return {stage["stage"]: stage for stage in json.loads(done.out)}


def assert_adds_up(counts: dict[str, dict[str, Any]]) -> None:
    for stage in counts.values():
        parts = (stage[name] for name in ("keep", "drop", "fail", "pending"))
        assert stage["in"] == sum(parts), stage
    for before, after in zip(list(counts.values())[3:], list(counts.values())[4:], strict=False):
        assert after["in"] == before["keep"], (before, after)
