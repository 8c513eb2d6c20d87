"""Making the network: anew, on Wan's weights, or from a checkpoint of our own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import nn

from avipipe.editor.config import EditorConfig
from avipipe.editor.network.gamr import GamrBlock
from avipipe.editor.network.transformer import NEW_MODULES, EditorTransformer
from avipipe.errors import WeightsError

Model = TypeVar("Model", bound=WanTransformer3DModel)


def build(config: EditorConfig, *, seed: int = 0) -> EditorTransformer:
    """A network with random weights, on the CPU, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _random(config)
    _begin_like_backbone(model)
    model.eval()
    return model


def load_backbone(
    folder: Path, config: EditorConfig, *, dtype: torch.dtype = torch.float32, seed: int = 0
) -> EditorTransformer:
    """Wan's weights, and fresh ones for all that is new.

    Args:
        folder: what diffusers saved of a `WanTransformer3DModel`; the `transformer` folder of
            `Wan-AI/Wan2.2-TI2V-5B-Diffusers`.
        config: sizes; those of the backbone must be the folder's.
        seed: of the fresh weights.
    Raises:
        WeightsError: not a whole checkpoint of Wan, or one of other sizes.
    """
    wan = _from_pretrained(WanTransformer3DModel, folder, dtype)
    with torch.device("meta"):
        model = _random(config)
    try:
        keys = model.load_state_dict(wan.state_dict(), strict=False, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{folder}: not of the sizes that were asked for: {error}") from error
    old = [key for key in keys.missing_keys if not is_new(key)]
    if old or keys.unexpected_keys:
        raise WeightsError(
            f"{folder}: expected a Wan of {config.num_layers} layers; "
            f"it differs in {few([*old, *keys.unexpected_keys])}"
        )
    model.rope = wan.rope  # its tables are in no checkpoint
    _fill_new(model, dtype, seed)
    _begin_like_backbone(model)
    model.eval()
    return model


def load_editor(folder: Path, *, dtype: torch.dtype = torch.float32) -> EditorTransformer:
    """A checkpoint that `save_pretrained` of an `EditorTransformer` wrote.

    Raises:
        WeightsError: it is not one, or not whole.
    """
    return _from_pretrained(EditorTransformer, folder, dtype)


def is_new(key: str) -> bool:
    """Whether plain Wan has no weight of this name."""
    return key.split(".")[0] in NEW_MODULES


def few(keys: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _random(config: EditorConfig) -> EditorTransformer:
    return EditorTransformer(**config.model_dump(), out_channels=config.in_channels)


def _from_pretrained(kind: type[Model], folder: Path, dtype: torch.dtype) -> Model:
    load = cast(Callable[..., tuple[Model, dict[str, list[str]]]], kind.from_pretrained)
    try:
        model, info = load(
            folder, torch_dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{folder}: cannot be loaded as {kind.__name__}: {error}") from error
    if wrong := [*info["missing_keys"], *info["unexpected_keys"]]:
        raise WeightsError(
            f"{folder}: not a whole checkpoint of {kind.__name__}; it differs in {few(wrong)}"
        )
    return model


def _fill_new(model: EditorTransformer, dtype: torch.dtype, seed: int) -> None:
    """Give the weights that Wan does not have memory and their first values."""
    for name in NEW_MODULES:
        match getattr(model, name):
            case nn.Module() as module:
                module.to_empty(device="cpu").to(dtype)
            case nn.Parameter() as weight:
                setattr(
                    model, name, nn.Parameter(torch.empty_like(weight, device="cpu", dtype=dtype))
                )
    new = [module for name, module in model.named_modules() if is_new(name)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in (*reversed(new), model):  # the whole after its parts: it knows better
            if hasattr(module, "reset_parameters"):
                cast(Any, module).reset_parameters()


def _begin_like_backbone(model: EditorTransformer) -> None:
    """Begin new attention with that of the block it belongs to.

    Audio is attended to as text was; the refiner's blocks are those of the video, and look at the
    video where those read the text.
    """
    for layer, injection in model.audio_injections.items():
        text = model.get_submodule(f"blocks.{layer}.attn2").state_dict()
        kept = {key: value for key, value in text.items() if not key.startswith("to_out")}
        injection.get_submodule("attn").load_state_dict(kept, strict=False)
    for layer, refiner in model.refiner.blocks.items():
        assert isinstance(refiner, GamrBlock)
        block = model.get_submodule(f"blocks.{layer}").state_dict()
        if model.config["gamr_ffn_dim"] != model.config["ffn_dim"]:
            block = {key: value for key, value in block.items() if not key.startswith("ffn.")}
        refiner.load_state_dict(block, strict=False)
        with torch.no_grad():
            refiner.video_table.copy_(refiner.scale_shift_table[:, :3])
