"""Tiny networks in one file each where `avipipe.weights` finds them, held to their hashes."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from avipipe import weights


def lock_file(patch: pytest.MonkeyPatch, path: Path, name: str) -> None:
    """Make the file at `path`, as it is now, the weight `name`, under the name it has there."""
    known = weights.entry(name).files[0].name
    assert path.name == known, f"{name} lies in {known}"
    lock_files(patch, path.parent, name)


def lock_files(patch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
    """Make the files of a folder, as they are now, the weights of whose names they are."""
    entries = {name: _entry(folder, weights.entry(name).files[0].name) for name in names}
    lock = folder / f"{'-'.join(names)}.lock.yaml"
    lock.write_text(yaml.safe_dump(entries), encoding="utf-8")
    patch.setenv("AVIPIPE_WEIGHTS_DIR", str(folder))
    patch.setenv("AVIPIPE_WEIGHTS_LOCK", str(lock))


def _entry(folder: Path, name: str) -> dict[str, Any]:
    file = {"name": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}
    told = {"url": "https://example.org/v1", "licence": "none", "purpose": "a test"}
    return told | {"files": [file]}
