"""Reading the checkpoint that AVI-Edit released (`suimu/AVI-Edit`)."""

from pathlib import Path

import torch

from avipipe.editor.config import EditorConfig
from avipipe.editor.network.transformer import EditorTransformer


def load_released(
    path: Path, config: EditorConfig, *, dtype: torch.dtype = torch.float32
) -> EditorTransformer:
    """The released network; controls and references, which it does not have, are fresh.

    Args:
        path: of the `.pt`, `.ckpt` or `.safetensors` file.
        config: sizes; the preset `wan2.2-5b` for the released file.
    Raises:
        WeightsError: it lacks weights, has others, or they have other shapes.
    """
    raise NotImplementedError
