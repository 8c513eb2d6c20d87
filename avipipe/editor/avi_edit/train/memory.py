"""The memory plan of training: its states, and what a pass keeps for the backward pass."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from avipipe.editor.avi_edit.network.loading import blank, blank_clip
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.train.begin import outline
from avipipe.editor.avi_edit.train.config import TrainConfig
from avipipe.editor.avi_edit.train.parallel import World, autocast
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.memory import (
    MemoryPlan,
    device_bytes,
    saved_bytes,
    size_in_words,
    without_storage,
)
from avipipe.errors import RunError

ADAM_BYTES = {"adamw": 8, "adamw_8bit": 2}
"""Optimiser -> bytes of its state for each weight."""


@dataclass(frozen=True, slots=True)
class Activations:
    """What one pass forward keeps, in bytes, for one clip.

    Attributes:
        around: by what stands before and after the layers.
        layers: by each layer, if it keeps all.
        inputs: what is handed to each layer, which is all that a checkpointed one keeps.
    """

    around: int
    layers: tuple[int, ...]
    inputs: tuple[int, ...]

    def peak_bytes(self, checkpointed: Collection[int]) -> int:
        """All that is kept, and the largest of the layers that are computed again."""
        kept = sum(
            self.inputs[index] if index in checkpointed else self.layers[index]
            for index in range(len(self.layers))
        )
        return self.around + kept + max((self.layers[index] for index in checkpointed), default=0)


def trace_activations(config: EditorConfig, bucket: Bucket, dtype: torch.dtype) -> Activations:
    """Run the network on a clip of this size without computing anything."""
    layers: list[int] = []
    inputs: list[int] = []
    with without_storage():
        model, clip = blank(config).train(), blank_clip(config, bucket)

        def layer(run: Callable[..., Any], index: str, *given: Any) -> Any:
            inputs.append(sum(part.nbytes for part in given[:2] if isinstance(part, Tensor)))
            with saved_bytes(model) as kept:
                result = run(index, *given)
            layers.append(sum(kept.values()))
            return result

        model.enable_gradient_checkpointing(layer)
        with saved_bytes(model) as around, autocast(torch.device("cpu"), dtype):
            model(**clip)
    return Activations(sum(around.values()), tuple(layers), tuple(inputs))


def plan_memory(config: TrainConfig, world: World, *, encoders_bytes: int = 0) -> MemoryPlan:
    """What training will hold on this process's device, before anything is loaded.

    Args:
        encoders_bytes: of the models that make features on the fly.
    """
    alike = {(size.num_frames, size.tokens_per_frame): size for size in config.data.buckets}
    traces = {
        bucket: trace_activations(config.network.sizes, bucket, DTYPES[config.precision])
        for bucket in alike.values()  # upright and lying clips need the same
    }
    always = _states(config, world.size) | {"encoders": encoders_bytes}
    activations = {
        f"activations for {bucket.num_frames} x {bucket.width_px}x{bucket.height_px}": (
            config.batch_size * trace.peak_bytes(config.checkpointed)
        )
        for bucket, trace in traces.items()
    }
    advice = _advice(config, always, traces.values(), world)
    return MemoryPlan(activations, device_bytes(world.device), advice, always)


@contextmanager
def memory_explained(config: TrainConfig, world: World, *, encoders_bytes: int) -> Iterator[None]:
    """Say what would help where the memory is too small.

    Raises:
        RunError: it was.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        plan = plan_memory(config, world, encoders_bytes=encoders_bytes)
        found = str(error).splitlines()[0]
        lines = [f"out of memory: {found}", *plan.lines(), *(plan.help() if plan.fits else ())]
        raise RunError("\n".join(lines)) from error


def _advice(
    config: TrainConfig, always: Mapping[str, int], traces: Collection[Activations], world: World
) -> tuple[str, ...]:
    """Changes of the configuration that save memory, and how much; the least costly first."""
    every = range(config.network.sizes.num_layers)
    peak, least = (
        config.batch_size * max(trace.peak_bytes(checkpointed) for trace in traces)
        for checkpointed in (config.checkpointed, every)
    )
    batch = f"batch_size=1 accumulate={config.accumulate * config.batch_size}"
    encoders, optimiser = always["encoders"], always["optimiser"]
    savings = {
        "data.cache=CACHE (of `avipipe train cache`)": encoders,
        "checkpoint_layers=all": peak - least,
        batch: peak - peak // config.batch_size,
        "ema_decay=null": always["moving average"],
    }
    if config.optimiser.name == "adamw":
        smaller = optimiser * ADAM_BYTES["adamw_8bit"] // ADAM_BYTES["adamw"]
        savings["optimiser.name=adamw_8bit"] = optimiser - smaller
    lines = [
        f"--set {change}: {size_in_words(saved)} less"
        for change, saved in savings.items()
        if saved > 0
    ]
    if config.lora is None:
        lines.append("the configuration lora-24g: adapters instead of the whole backbone")
    halved = size_in_words((sum(always.values()) - encoders) // 2)
    return (
        *lines,
        f"torchrun with {2 * world.size} GPUs instead of {world.size}: {halved} less on each",
        "smaller or shorter clips: fewer or smaller buckets",
    )


def _states(config: TrainConfig, num_processes: int) -> dict[str, int]:
    """Weights, gradients, optimiser and average -> bytes of what each of the processes holds."""
    parameters = list(outline(config).parameters())
    learning = [weight for weight in parameters if weight.requires_grad]
    gradients = sum(weight.nbytes for weight in learning)
    num_learning = sum(weight.numel() for weight in learning)
    states = {
        "weights": sum(weight.nbytes for weight in parameters),
        "gradients": gradients,
        "optimiser": num_learning * ADAM_BYTES[config.optimiser.name],
        "moving average": 0 if config.ema_decay is None else gradients,
    }
    return {name: math.ceil(count / num_processes) for name, count in states.items()}
