"""What a run leaves behind: weights to edit with, and to begin other runs with."""

import shutil
from pathlib import Path
from typing import cast

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from avipipe.editor.avi_edit.lora import save_lora
from avipipe.editor.avi_edit.network.loading import blank
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.train.config import TrainConfig
from avipipe.editor.avi_edit.train.parallel import World

WEIGHTS = "diffusion_pytorch_model{suffix}.safetensors"


def export(model: EditorTransformer, config: TrainConfig, folder: Path, world: World) -> None:
    """Write the network: what `load_editor` reads, or adapters and new modules for `load_lora`.

    All processes call this together.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = cast(dict[str, Tensor], get_model_state_dict(model, options=options))
    if world.is_first:
        # A folder does not take the place of another, and what is left of a killed run is large.
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if config.lora is not None:
            save_lora(model, partial, config.lora, weights)
        else:
            with torch.device("meta"):
                blank(config.network.sizes).save_config(partial)
            save_torch_state_dict(
                {name: _own(weight) for name, weight in weights.items()},
                partial,
                filename_pattern=WEIGHTS,
            )
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    world.barrier()


def _own(weight: Tensor) -> Tensor:
    """With memory of its own: what was gathered may lie in a longer piece, which is not saved."""
    return weight if weight.untyped_storage().nbytes() == weight.nbytes else weight.clone()
