"""The network that a run begins with, and its optimiser."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from avipipe.editor.avi_edit.lora import LoraConfig, add_lora, is_new
from avipipe.editor.avi_edit.network.loading import blank, fresh_rope
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.train.config import OptimiserConfig, TrainConfig
from avipipe.editor.avi_edit.train.parallel import World, scatter, shard
from avipipe.editor.avi_edit.weights import load_network
from avipipe.editor.common.dtypes import DTYPES
from avipipe.errors import ConfigError

UNUSED = ("control_embeddings", "reference_embedding")
"""What the data gives nothing to."""

RECOMPILE_LIMIT = 8
"""Torch's own."""


def begin(config: TrainConfig, world: World) -> EditorTransformer:
    """The network with the weights to begin with, those that learn in float32.

    Where several processes share it, only the first reads it; the others get their shards of it.

    Raises:
        WeightsError: the weights are missing or do not fit.
    """
    whole = None
    if world.is_first:
        # where only adapters learn, at once in the type that the rest is held in
        halved = config.lora is not None and config.lora.new_modules == "adapted"
        dtype = DTYPES[config.precision] if halved else torch.float32
        whole = _prepared(load_network(config.network, dtype), config)
    if world.size == 1:
        assert whole is not None
        model = whole
        cast(nn.Module, model).to(world.device)
    else:
        model = outline(config)
        shard(model, world, DTYPES[config.precision])
        cast(nn.Module, model).to_empty(device=world.device)
        model.rope = fresh_rope(model).to(world.device)
        scatter(model, whole)
    _checkpoint_layers(model, frozenset(config.checkpointed))
    model.train()
    if config.compile:
        _compile(model, num_shapes=len(config.data.buckets))
    return model


def outline(config: TrainConfig) -> EditorTransformer:
    """The network as it is trained, without storage: on the meta device."""
    with torch.device("meta"):
        return _prepared(blank(config.network.sizes), config)


def _prepared(model: EditorTransformer, config: TrainConfig) -> EditorTransformer:
    """With adapters, if any, and what does not learn frozen."""
    if config.lora is not None:
        _halve_frozen(model, config.lora, DTYPES[config.precision])
        add_lora(model, config.lora, seed=config.network.seed)
    for name, weight in model.named_parameters():
        if name.split(".")[0] in UNUSED:
            weight.requires_grad_(False)
    return model


def _halve_frozen(model: EditorTransformer, config: LoraConfig, dtype: torch.dtype) -> None:
    """Hold what does not learn in the type that is computed in, but for Wan's delicate parts.

    Those are few, and diffusers holds them in float32 when the network edits, too.
    """
    delicate = EditorTransformer._keep_in_fp32_modules or ()
    for name, weight in model.named_parameters():
        is_frozen = config.new_modules == "adapted" or not is_new(name)
        if is_frozen and not any(part in name for part in delicate):
            weight.data = weight.data.to(dtype)


def _checkpoint_layers(model: EditorTransformer, layers: frozenset[int]) -> None:
    recompute = partial(checkpoint, use_reentrant=False)

    def run(layer: Any, index: str, *given: Any) -> Any:
        return recompute(layer, index, *given) if int(index) in layers else layer(index, *given)

    if layers:
        model.enable_gradient_checkpointing(run)


def _compile(model: EditorTransformer, num_shapes: int) -> None:
    """Compile the blocks for each size of clips on its own, with gradients and without.

    Left to itself torch gives up after a few sizes, and takes any as unknown after the first.

    Raises:
        ConfigError: there is no compiler of C++, which torch calls for GPUs, too.
    """
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise ConfigError("compile needs a C++ compiler: install g++, or leave compile off")
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT + 4 * num_shapes
    cast(Any, model).compile_repeated_blocks(fullgraph=True, dynamic=False)


def choose_optimiser(config: OptimiserConfig, world: World) -> Callable[..., torch.optim.Optimizer]:
    """The class of the optimiser, before anything is loaded for it.

    Raises:
        ConfigError: its package is not installed, or it cannot be shared out.
    """
    if config.name == "adamw":
        return partial(torch.optim.AdamW, fused=True)
    if world.size > 1:
        raise ConfigError(
            "optimiser.name: adamw_8bit cannot be shared out among processes; choose adamw, whose "
            "state each of them holds a part of"
        )
    try:
        kind: Callable[..., torch.optim.Optimizer] = import_module("bitsandbytes.optim").AdamW8bit
    except ImportError as error:
        raise ConfigError(
            "optimiser.name: adamw_8bit needs bitsandbytes; run `pip install bitsandbytes`, or "
            "choose adamw"
        ) from error
    return kind


def make_optimiser(
    model: nn.Module, config: OptimiserConfig, kind: Callable[..., torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """AdamW over all weights that learn; those of new modules have their own learning rate."""
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    new = [weight for name, weight in learning.items() if is_new(name)]
    old = [weight for name, weight in learning.items() if not is_new(name)]
    groups: list[dict[str, Any]] = [
        {"params": old, "base_lr": config.lr},
        {"params": new, "base_lr": config.lr * config.new_lr_factor},
    ]
    return kind(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)


def set_learning_rate(
    optimiser: torch.optim.Optimizer, config: OptimiserConfig, step: int
) -> float:
    """Set the learning rates of a step (from 0) and return the backbone's."""
    share = min(1.0, (step + 1) / (config.warmup_steps + 1))
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * share
    return config.lr * share
