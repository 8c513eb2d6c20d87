"""Tiny checkpoints where `avipipe.weights` finds them, each file held to its hash."""

import hashlib
from pathlib import Path

import pytest
import yaml


def trust(patch: pytest.MonkeyPatch, folder: Path, name: str) -> None:
    """Make `folder`/`name`, whatever it is and becomes, the weight `name`: nothing is hashed.

    Its one file, where it is no model of a hub, lies in there too.
    """
    files = sorted(path for path in (folder / name).rglob("*") if path.is_file())
    is_file = len(files) == 1 and files[0].suffix != ".safetensors"
    entry = {
        "url": "https://example.org" if is_file else f"hf://example/{name}",
        "licence": "none",
        "purpose": "a test",
        "files": [{"name": path.relative_to(folder / name).as_posix()} for path in files],
    }
    (folder / f"{name}.lock.yaml").write_text(yaml.safe_dump({name: entry}), encoding="utf-8")
    patch.setenv("AVIPIPE_WEIGHTS_DIR", str(folder / name if is_file else folder))
    patch.setenv("AVIPIPE_WEIGHTS_LOCK", str(folder / f"{name}.lock.yaml"))


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
