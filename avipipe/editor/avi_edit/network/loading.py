"""Making the network: anew, on Wan's weights, or from a checkpoint of our own."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.transformers.transformer_wan import (
    WanRotaryPosEmbed,
    WanTransformer3DModel,
)
from torch import Tensor, nn

from avipipe.annotators.loading import read_model
from avipipe.annotators.reading import few, incomplete
from avipipe.editor.avi_edit.network.gamr import GamrBlock
from avipipe.editor.avi_edit.network.transformer import NEW_MODULES, EditorTransformer
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.errors import WeightsError

_REMEDY = "Name the folder of a whole one, or pull or train it again"


def blank(config: EditorConfig) -> EditorTransformer:
    """A network of these sizes, drawn from torch's global generator on its default device."""
    model: EditorTransformer = EditorTransformer(
        **config.model_dump(), out_channels=config.in_channels
    )
    return model


def blank_clip(config: EditorConfig, bucket: Bucket) -> dict[str, Tensor]:
    """What a network is given of one clip with mask and audio, uninitialised.

    As `blank`, it is of torch's default type (but for the time step) and on its default device.
    """
    num_latent, height, width = bucket.latent_size
    return {
        "hidden_states": torch.empty(1, config.in_channels, num_latent, height, width),
        "timestep": torch.empty(1, dtype=torch.float32),
        "encoder_hidden_states": torch.empty(1, config.text_len, config.text_dim),
        "mask": torch.empty(1, 1, num_latent, height, width),
        "precision": torch.empty(1),
        "audio": torch.empty(1, bucket.num_frames, config.num_audio_states, config.audio_dim),
    }


def build(config: EditorConfig, *, seed: int = 0) -> EditorTransformer:
    """A network with random weights, on the CPU, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = blank(config)
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
    wan = read_model(
        WanTransformer3DModel, folder, remedy=_REMEDY, is_exact=True, torch_dtype=dtype
    )
    model = assemble(config, wan.state_dict(), where=folder, dtype=dtype, seed=seed)
    _begin_like_backbone(model)
    return model


def load_editor(folder: Path, *, dtype: torch.dtype = torch.float32) -> EditorTransformer:
    """A checkpoint that `save_pretrained` of an `EditorTransformer` wrote.

    Raises:
        WeightsError: it is not one, or not whole.
    """
    model: EditorTransformer = read_model(
        EditorTransformer, folder, remedy=_REMEDY, is_exact=True, torch_dtype=dtype
    )
    return model


def assemble(
    config: EditorConfig,
    weights: Mapping[str, Tensor],
    *,
    where: Path,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> EditorTransformer:
    """A network of given weights, which are not copied; those of new modules may be missing.

    Args:
        where: they come from, for errors.
        seed: of the new modules that are missing, which are begun afresh.
    Raises:
        WeightsError: other names or shapes than `config` asks for.
    """
    with torch.device("meta"):
        model = blank(config)
    try:
        keys = model.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()  # of what may be a thousand
        raise WeightsError(f"{where}: other sizes than were asked for: {first}") from error
    absent = set(NEW_MODULES) - {_part(key) for key in weights}
    what = f"a network of {config.num_layers} layers"
    if lacking := [key for key in keys.missing_keys if _part(key) not in absent]:
        raise incomplete(where, what, lacking, _REMEDY)
    if keys.unexpected_keys:
        raise WeightsError(
            f"{where}: expected the weights of {what}, found others: {few(keys.unexpected_keys)}"
        )
    model.rope = fresh_rope(model)
    _begin_afresh(model, {_part(key) for key in keys.missing_keys}, dtype, seed)
    model.eval()
    return model


def fresh_rope(model: EditorTransformer) -> WanRotaryPosEmbed:
    """The table of positions of a network, which no checkpoint holds."""
    names = ("attention_head_dim", "patch_size", "rope_max_seq_len")
    return WanRotaryPosEmbed(*(model.config[name] for name in names))


def _part(key: str) -> str:
    return key.split(".")[0]


def _begin_afresh(
    model: EditorTransformer, names: Collection[str], dtype: torch.dtype, seed: int
) -> None:
    """Give new modules, which are on the meta device, memory and their first values."""
    for name in names:
        if isinstance(part := getattr(model, name), nn.Module):
            part.to_empty(device="cpu").to(dtype)
        else:
            setattr(model, name, nn.Parameter(torch.zeros_like(part, device="cpu", dtype=dtype)))
    fresh = [part for name, part in model.named_modules() if _part(name) in names]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in reversed(fresh):  # the whole after its parts: it knows better
            if hasattr(part, "reset_parameters"):
                cast(Any, part).reset_parameters()


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
