"""Reading models and tokenizers from folders as hubs have them, and saying what they are."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from avipipe.annotators.reading import reading
from avipipe.weights.digests import digest


def ready(model: Any, device: torch.device | str) -> Any:
    """A model on a device, that is not trained."""
    return model.requires_grad_(False).eval().to(device)


def read_part(kind: Any, folder: Path, remedy: str) -> Any:
    """A tokenizer, or whatever else is no network.

    Args:
        kind: class with `from_pretrained`.
        remedy: what to do where there is none.
    Raises:
        WeightsError: it cannot be read.
    """
    with reading(folder, f"what {kind.__name__} reads", remedy):
        return kind.from_pretrained(folder, local_files_only=True)


def whole_config(kind: Any, folder: Path) -> dict[str, Any]:
    """All that a model of diffusers is made of; older files do not say everything.

    Args:
        kind: class of the model, whose configuration is in the folder.
    """
    with torch.device("meta"):
        return dict(kind.from_config(kind.load_config(folder, local_files_only=True)).config)


def identity_of(settings: str, *folders: Path) -> str:
    """What all depends on that a model in some folders computes: their files, and settings."""
    names = [
        f"{digest(path)}  {folder.name}/{path.relative_to(folder).as_posix()}"
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".json", ".safetensors", ".model", ".bin")
    ]
    return hashlib.sha256("\n".join([settings, *names]).encode()).hexdigest()
