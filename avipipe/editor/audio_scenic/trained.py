"""What was trained on many videos, in the folder of a Stable Diffusion, before tuning on one."""

from pathlib import Path
from typing import Any

import safetensors.torch

from avipipe.annotators.reading import few, incomplete, reading
from avipipe.editor.audio_scenic.inflate import tuned
from avipipe.errors import WeightsError
from avipipe.files import written_whole

FOLDER = "audio_scenic"
"""Beside `unet` and the other parts; nothing else looks into it."""

_FILE = "model.safetensors"


def save_trained(unet: Any, diffusion: Path) -> None:
    """Write all that is tuned of an inflated UNet to where `load_trained` finds it.

    Args:
        diffusion: folder of the Stable Diffusion that was inflated.
    """
    path = diffusion / FOLDER / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in tuned(unet).items()}
    with written_whole(path) as draft:
        safetensors.torch.save_file(tensors, draft)


def load_trained(unet: Any, diffusion: Path, remedy: str) -> None:
    """Give an inflated UNet what was trained before; where there is nothing, it stays as it is.

    Args:
        diffusion: folder of the Stable Diffusion that was inflated.
        remedy: what to do where the file is no whole one.
    Raises:
        WeightsError: it cannot be read, is not whole, or of another network or sound's embedding.
    """
    path = diffusion / FOLDER / _FILE
    if not path.exists():
        return
    names = tuned(unet).keys()
    with reading(path, "what AudioScenic trains", remedy):
        tensors = safetensors.torch.load_file(path)
        if missing := names - tensors.keys():
            raise incomplete(path, "what AudioScenic trains", missing, remedy)
        if unknown := sorted(tensors.keys() - names):
            raise WeightsError(
                f"{path}: expected what AudioScenic trains of this network alone, found "
                f"{len(unknown)} more tensors: {few(unknown)}. {remedy}"
            )
        unet.load_state_dict(tensors, strict=False)
