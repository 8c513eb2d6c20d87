"""Tiny checkpoints where `avipipe.weights` finds them, each file held to its hash."""

import hashlib
from pathlib import Path

import pytest
import yaml


def lock(patch: pytest.MonkeyPatch, folder: Path, name: str) -> None:
    """Make `folder`/`name`, as it is now, the weight `name`."""
    files = sorted(path for path in (folder / name).rglob("*") if path.is_file())
    entry = {
        "url": f"hf://example/{name}",
        "licence": "none",
        "purpose": "a test",
        "files": [
            {
                "name": path.relative_to(folder / name).as_posix(),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in files
        ],
    }
    (folder / f"{name}.lock.yaml").write_text(yaml.safe_dump({name: entry}), encoding="utf-8")
    patch.setenv("AVIPIPE_WEIGHTS_DIR", str(folder))
    patch.setenv("AVIPIPE_WEIGHTS_LOCK", str(folder / f"{name}.lock.yaml"))
