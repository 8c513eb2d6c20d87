"""Low-rank adapters on the backbone; what the editor adds to it is trained whole."""

import json
from pathlib import Path
from typing import Any, cast

import peft
import safetensors.torch
import torch
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from avipipe.editor.network.loading import few
from avipipe.editor.network.transformer import NEW_MODULES, EditorTransformer
from avipipe.errors import WeightsError

TARGETS = r"blocks\.\d+\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ffn\.net\.(0\.proj|2))"
"""Attention and feed-forward layers of the backbone; those of the refiner start otherwise."""

ADAPTER_NAME = "default"
ADAPTER_FILE = "adapter.safetensors"
NEW_FILE = "new_modules.safetensors"
CONFIG_FILE = "lora.json"


class LoraConfig(BaseModel):
    """Sizes of the adapters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: PositiveInt = 64
    alpha: PositiveInt = Field(64, description="The adapter is scaled by alpha / rank.")


def add_lora(model: EditorTransformer, config: LoraConfig, *, seed: int = 0) -> None:
    """Freeze the backbone and put adapters on it, which change nothing at first."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_adapter(
            peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=TARGETS)
        )
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name or _is_new(name))


def merge_lora(model: EditorTransformer) -> None:
    """Add the adapters to the weights they adapt; a plain network is left."""
    cast(Any, model).fuse_lora()
    cast(Any, model).unload_lora()


def save_lora(
    model: EditorTransformer, folder: Path, config: LoraConfig, weights: dict[str, torch.Tensor]
) -> None:
    """Write adapters and new modules.

    Args:
        weights: of the whole model, in full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    adapters = get_peft_model_state_dict(model, weights, adapter_name=ADAPTER_NAME)
    new = {name: weight for name, weight in weights.items() if _is_new(name)}
    for name, group in ((ADAPTER_FILE, adapters), (NEW_FILE, new)):
        whole = {key: weight.contiguous() for key, weight in group.items()}
        safetensors.torch.save_file(whole, folder / name)
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2), encoding="utf-8")


def load_lora(model: EditorTransformer, folder: Path) -> None:
    """Put saved adapters and new modules on the backbone that they were trained on.

    Raises:
        WeightsError: files are missing, or do not fit the network.
    """
    try:
        sizes = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        adapters = safetensors.torch.load_file(folder / ADAPTER_FILE)
        new = safetensors.torch.load_file(folder / NEW_FILE)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{folder}: expected {ADAPTER_FILE}, {NEW_FILE} and {CONFIG_FILE}: {error}"
        ) from error
    add_lora(model, LoraConfig(**sizes))
    try:
        set_peft_model_state_dict(model, adapters, adapter_name=ADAPTER_NAME)
        keys = model.load_state_dict(new, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{folder}: trained on a network of other sizes: {error}") from error
    if wrong := [*filter(_is_new, keys.missing_keys), *keys.unexpected_keys]:
        raise WeightsError(f"{folder}: new modules differ in {few(wrong)}")


def _is_new(name: str) -> bool:
    return name.split(".")[0] in NEW_MODULES
