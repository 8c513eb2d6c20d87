"""A tiny network in one file where `avipipe.weights` finds it, held to its hash."""

import hashlib
from pathlib import Path

import pytest
import yaml

from avipipe import weights


def lock_file(patch: pytest.MonkeyPatch, path: Path, name: str) -> None:
    """Make the file at `path`, as it is now, the weight `name`, under the name it has there."""
    known = weights.entry(name).files[0].name
    assert path.name == known, f"{name} lies in {known}"
    file = {"name": known, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    entry = {"url": "https://example.org/v1", "licence": "none", "purpose": "a test"}
    lock = path.with_name(f"{name}.lock.yaml")
    lock.write_text(yaml.safe_dump({name: entry | {"files": [file]}}), encoding="utf-8")
    patch.setenv("AVIPIPE_WEIGHTS_DIR", str(path.parent))
    patch.setenv("AVIPIPE_WEIGHTS_LOCK", str(lock))
