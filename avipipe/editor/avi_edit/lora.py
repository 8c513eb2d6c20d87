"""Low-rank adapters; what the editor adds to the backbone is trained whole, or adapted too."""

import json
from pathlib import Path
from typing import Any, Literal, cast

import peft
import safetensors.torch
import torch
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from avipipe.annotators.reading import few, incomplete, reading
from avipipe.editor.avi_edit.network.transformer import NEW_MODULES, EditorTransformer
from avipipe.errors import WeightsError

_LAYERS = r"(attn\d?\.(to_q|to_k|to_v|to_out\.0)|ffn\.net\.(0\.proj|2))"
TARGETS = {
    "whole": rf"blocks\.\d+\.{_LAYERS}",
    "adapted": rf"((refiner\.)?blocks|audio_injections)\.\d+\.{_LAYERS}",
}
"""What becomes of new modules -> attention and feed-forward layers that get adapters."""

ADAPTER_NAME = "default"
ADAPTER_FILE = "adapter.safetensors"
NEW_FILE = "new_modules.safetensors"
CONFIG_FILE = "lora.json"

_WHAT = "the adapters of a run"
_REMEDY = "Name the folder of another run, or train it again"


class LoraConfig(BaseModel):
    """Sizes of the adapters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: PositiveInt = 64
    new_modules: Literal["whole", "adapted"] = Field(
        "whole",
        description="How what the editor adds to Wan learns; `adapted` where it has learnt before.",
    )
    alpha: PositiveInt = Field(64, description="The adapter is scaled by alpha / rank.")


def add_lora(model: EditorTransformer, config: LoraConfig, *, seed: int = 0) -> None:
    """Freeze weights and put adapters in float32 on them, which change nothing at first."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_adapter(
            peft.LoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                target_modules=TARGETS[config.new_modules],
            )
        )
    whole = config.new_modules == "whole"
    for name, weight in model.named_parameters():
        if is_adapter := "lora_" in name:
            weight.data = weight.data.float()  # peft gives them the type of what they adapt
        weight.requires_grad_(is_adapter or (whole and is_new(name)))


def merge_lora(model: EditorTransformer) -> None:
    """Add the adapters to the weights they adapt; a plain network is left."""
    cast(Any, model).fuse_lora()
    cast(Any, model).unload_lora()


def save_lora(
    model: EditorTransformer, folder: Path, config: LoraConfig, weights: dict[str, torch.Tensor]
) -> None:
    """Write adapters, and new modules unless they are adapted.

    Args:
        weights: of the whole model, in full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    adapters = get_peft_model_state_dict(model, weights, adapter_name=ADAPTER_NAME)
    files = {ADAPTER_FILE: adapters}
    if config.new_modules == "whole":
        files[NEW_FILE] = {name: weight for name, weight in weights.items() if is_new(name)}
    for file_name, group in files.items():
        contiguous = {name: weight.contiguous() for name, weight in group.items()}
        safetensors.torch.save_file(contiguous, folder / file_name)
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2), encoding="utf-8")


def load_lora(model: EditorTransformer, folder: Path) -> None:
    """Put saved adapters and new modules on the network that they were trained on.

    Raises:
        WeightsError: files are missing, or do not fit the network.
    """
    with reading(folder, _WHAT, _REMEDY):
        config = LoraConfig(**json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
        adapters = safetensors.torch.load_file(folder / ADAPTER_FILE)
        whole = config.new_modules == "whole"
        new = safetensors.torch.load_file(folder / NEW_FILE) if whole else {}
    add_lora(model, config)
    with reading(folder, f"{_WHAT} on this network", _REMEDY):
        found: Any = set_peft_model_state_dict(model, adapters, adapter_name=ADAPTER_NAME)
        keys = model.load_state_dict(new, strict=False)
    missing = [name for name in found.missing_keys if "lora_" in name]
    missing += [name for name in keys.missing_keys if whole and is_new(name)]
    if missing:
        raise incomplete(folder, _WHAT, missing, _REMEDY)
    if unknown := [*found.unexpected_keys, *keys.unexpected_keys]:
        raise WeightsError(f"{folder}: expected {_WHAT}, found others: {few(unknown)}. {_REMEDY}")


def is_new(name: str) -> bool:
    """Whether a weight is of a module that plain Wan does not have."""
    return name.split(".")[0] in NEW_MODULES
