"""HTSAT of LAION-CLAP, out of its checkpoint, in the network that transformers has of it.

Only the audio tower is read. The checkpoint's sizes are those of its tensors.

Source: Wu et al., Large-scale contrastive language-audio pretraining (ICASSP 2023);
LAION-AI/CLAP (CC0-1.0), of which transformers' network gives the stages within 4e-6.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import ClapAudioConfig, ClapAudioModel

from avipipe import weights
from avipipe.annotators.reading import pull_again, reading
from avipipe.evaluate.extractors.networks.running import filled, with_numpy

_FILE = "music_speech_epoch_15_esc_89.25.pt"
_TOWER = "audio_branch."
_NAMES = (
    (r"^bn0\.", "batch_norm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.self."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
"""Names of LAION-CLAP -> those of transformers, one after another."""
_UNUSED = re.compile(
    r"^(spectrogram_extractor|logmel_extractor|tscam_conv|head)\."
    r"|\.(attn_mask|relative_position_index)$|num_batches_tracked$"
)
"""What follows from sizes alone, or classifies, which no feature needs."""


def load_htsat(weight: str) -> ClapAudioModel:
    """The audio tower of a checkpoint of LAION-CLAP, for inference on `device()`.

    Raises:
        WeightsError: it is missing, corrupted, or holds no such tower.
    """
    state = dict(_tower(weight))
    with reading(weights.locate(weight), "a tower of LAION-CLAP", pull_again(weight)):
        network = ClapAudioModel(_config_of(state))
    tensors = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name.endswith((".relative_position_index", ".num_batches_tracked"))
    }
    tensors |= dict(_renamed(state))
    return filled(network, tensors, weight=weight)


def stages(network: ClapAudioModel, log_mel_B1FM: Tensor) -> list[Tensor]:
    """Output (B, tokens, channels) of each stage, after its patches were merged."""
    hidden = network(log_mel_B1FM, output_hidden_states=True).hidden_states
    return [stage_BChw.flatten(2).transpose(1, 2) for stage_BChw in hidden[1:]]


def _tower(weight: str) -> Iterator[tuple[str, Tensor]]:
    path = weights.locate(weight) / _FILE
    with reading(path, "LAION-CLAP", pull_again(weight)), with_numpy():
        checkpoint: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        tensors = checkpoint.get("state_dict", checkpoint)
    for name, tensor in tensors.items():
        name = name.removeprefix("module.")
        if name.startswith(_TOWER) and not _UNUSED.search(name.removeprefix(_TOWER)):
            yield name.removeprefix(_TOWER), tensor


def _config_of(state: Mapping[str, Tensor]) -> ClapAudioConfig:
    """The sizes of a tower: HTSAT-base of the official checkpoint, or any other."""
    blocks = [re.match(r"layers\.(\d+)\.blocks\.(\d+)\.norm1\.weight", name) for name in state]
    places = [(int(found[1]), int(found[2])) for found in blocks if found]
    tables = [
        state[f"layers.{layer}.blocks.0.attn.relative_position_bias_table"]
        for layer in sorted({layer for layer, _ in places})
    ]
    embedding = state["patch_embed.proj.weight"]
    return ClapAudioConfig(
        patch_embeds_hidden_size=len(embedding),
        hidden_size=len(state["norm.weight"]),
        depths=[sum(layer == number for layer, _ in places) for number in range(len(tables))],
        num_attention_heads=[table.shape[1] for table in tables],
        num_hidden_layers=len(tables),
        enable_fusion=False,
    )


def _renamed(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state.items():
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        if ".self.qkv." not in name:
            yield f"audio_encoder.{name}", tensor
            continue
        for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            yield f"audio_encoder.{name.replace('.qkv.', f'.{part}.')}", third.clone()
