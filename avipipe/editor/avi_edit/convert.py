"""Reading the checkpoint that AVI-Edit released (`suimu/AVI-Edit`).

Source: names and shapes of AVI-Edit-Framework@3d6f200 (Apache-2.0).
"""

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from avipipe.annotators.reading import few, incomplete, reading
from avipipe.editor.avi_edit.network.loading import assemble
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.sizes import EditorConfig
from avipipe.errors import WeightsError

_REMEDY = "Give the file that AVI-Edit released, or run: avipipe weights pull avi_edit"

NOT_RELEASED = ("control_embeddings", "reference_embedding")
"""Parts of ours that the released network does not have."""

_NAMES: Mapping[str, str] = {
    "patch_embedding": "patch_embedding",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "blocks.#.scale_shift_table": "blocks.#.modulation",
    "blocks.#.attn1": "blocks.#.self_attn",
    "blocks.#.norm2": "blocks.#.norm3",
    "blocks.#.attn2": "blocks.#.cross_attn",
    "blocks.#.ffn.net.0.proj": "blocks.#.ffn.0",
    "blocks.#.ffn.net.2": "blocks.#.ffn.2",
    "scale_shift_table": "head.modulation",
    "proj_out": "head.head",
    "audio_encoder.state_weights": "casual_audio_encoder.weights",
    "audio_encoder.padding_token": "casual_audio_encoder.encoder.padding_tokens",
    "audio_encoder.conv1_local": "casual_audio_encoder.encoder.conv1_local.conv",
    "audio_encoder.conv1_overall": "casual_audio_encoder.encoder.conv1_global.conv",
    "audio_encoder.conv2": "casual_audio_encoder.encoder.conv2.conv",
    "audio_encoder.conv3": "casual_audio_encoder.encoder.conv3.conv",
    "audio_encoder.proj_overall": "casual_audio_encoder.encoder.final_linear",
    "audio_injections.#.attn": "audio_injector.injector.#",
    "audio_injections.#.modulation": "audio_injector.injector_adain_layers.#.linear",
    "precision.linear_1": "masktype_embedding.0",
    "precision.linear_2": "masktype_embedding.2",
    "precision.proj": "masktype_embedding_projection.1",
    "refiner.patch_embedding": "mask_refine_wan.patch_embedding",
    "refiner.precision.linear_1": "masktype_embedding_refine.0",
    "refiner.precision.linear_2": "masktype_embedding_refine.2",
    "refiner.precision.proj": "masktype_embedding_projection_refine.1",
    "refiner.blocks.#.scale_shift_table": "mask_refine_wan.injector.#.modulation",
    "refiner.blocks.#.video_table": "mask_refine_wan.injector.#.modulation_t",
    "refiner.blocks.#.norm1": "mask_refine_wan.injector.#.norm1",
    "refiner.blocks.#.attn1": "mask_refine_wan.injector.#.self_attn",
    "refiner.blocks.#.norm2": "mask_refine_wan.injector.#.norm3",
    "refiner.blocks.#.attn2": "mask_refine_wan.injector.#.maskattn",
    "refiner.blocks.#.ffn.net.0.proj": "mask_refine_wan.injector.#.ffn.0",
    "refiner.blocks.#.ffn.net.2": "mask_refine_wan.injector.#.ffn.2",
    "refiner.blocks.#.attn3": "mask_refine_wan.injector.#.audio_attn",
    "refiner.head.scale_shift_table": "mask_refine_wan.head.modulation",
    "refiner.head.proj": "mask_refine_wan.head.head",
}
"""Our names to the released ones; # is the number of a layer."""

_LEAVES = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
_LAYERED = re.compile(r"(?P<of>blocks|audio_injections|refiner\.blocks)\.(?P<layer>\d+)\.")


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
    weights = convert(_read(path), config, where=path)
    weights = {key: weight.to(_type_of(key, dtype)) for key, weight in weights.items()}
    return assemble(config, weights, where=path, dtype=dtype)


def convert(
    released: Mapping[str, Tensor], config: EditorConfig, *, where: Path
) -> dict[str, Tensor]:
    """Give released weights our names; all but the patch embedding are the same tensors.

    Args:
        where: they come from, for errors.
    Raises:
        WeightsError: weights are missing, left over, or of other shapes.
    """
    with torch.device("meta"):
        ours = EditorTransformer(
            **config.model_dump(), out_channels=config.in_channels
        ).state_dict()
    names = {key: released_name(key, config) for key in ours if not key.startswith(NOT_RELEASED)}
    what, expected = "the released network in these sizes", set(names.values())
    if missing := expected - released.keys():
        raise incomplete(where, what, missing, _REMEDY)
    if unknown := sorted(released.keys() - expected):
        raise WeightsError(
            f"{where}: expected {what}, found {len(unknown)} weights that are not its: "
            f"{few(unknown)}. {_REMEDY}"
        )
    weights = {key: _fitted(key, released[name], config) for key, name in names.items()}
    misfits = [
        f"{names[key]} (expected {tuple(ours[key].shape)}, found {tuple(weight.shape)})"
        for key, weight in weights.items()
        if weight.shape != ours[key].shape
    ]
    if misfits:
        raise WeightsError(f"{where}: weights of other shapes: {few(misfits)}")
    return weights


def _type_of(key: str, dtype: torch.dtype) -> torch.dtype:
    """As diffusers loads Wan: what is small and delicate stays in float32."""
    delicate = EditorTransformer._keep_in_fp32_modules or ()
    return torch.float32 if any(part in key for part in delicate) else dtype


def released_name(key: str, config: EditorConfig) -> str:
    """What the released network calls one of our weights."""
    if key == "mask_embedding.weight":
        return "patch_embedding.weight"
    number = 0
    if match := _LAYERED.match(key):
        number = int(match["layer"])
        if match["of"] != "blocks":
            layers = config.gamr_layers if "refiner" in match["of"] else config.audio_layers
            number = layers.index(number)
        key = _LAYERED.sub(r"\g<of>.#.", key, count=1)
    part = max((name for name in _NAMES if f"{key}.".startswith(f"{name}.")), key=len)
    leaf = key.removeprefix(part)
    for ours, theirs in _LEAVES.items():
        leaf = leaf.replace(f".{ours}.", f".{theirs}.")
    return _NAMES[part].replace("#", str(number)) + leaf


def _fitted(key: str, weight: Tensor, config: EditorConfig) -> Tensor:
    """What we keep apart cut out, and dimensions of size one that we do not have left away."""
    match key:
        case "patch_embedding.weight":
            return weight[:, : config.in_channels].contiguous()  # of its own, so it can be saved
        case "mask_embedding.weight":
            return weight[:, config.in_channels :].contiguous()
        case "audio_encoder.state_weights" | "audio_encoder.padding_token":
            return weight.flatten()
    return weight


def _read(path: Path) -> dict[str, Tensor]:
    with reading(path, "a checkpoint", _REMEDY):
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise WeightsError(f"{path}: expected a file of named tensors, found something else")
    return weights
