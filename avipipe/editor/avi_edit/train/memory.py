"""What a training step will need of the device's memory, told before it begins.

Activations are not guessed: the network runs on tensors without storage, and what it keeps for the
backward pass is added up, layer by layer.
"""

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from avipipe.editor.avi_edit.network.loading import blank
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.train.begin import outline
from avipipe.editor.avi_edit.train.config import TrainConfig
from avipipe.editor.avi_edit.train.parallel import World, autocast
from avipipe.editor.common.dtypes import DTYPES
from avipipe.errors import RunError

GIB = 2**30
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
    """Run the network on a clip of this size without computing anything.

    It runs as on a CPU, whose attention keeps what flash attention on a GPU does; imitating a GPU,
    torch takes the one that keeps all scores.
    """
    device = "cpu"
    num_frames, height, width = bucket.latent_size
    with FakeTensorMode(), torch.device(device):
        model = blank(config).train()
        weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
        layers: list[int] = []
        inputs: list[int] = []

        def layer(run: Callable[..., Any], index: str, *given: Any) -> Any:
            inputs.append(sum(part.nbytes for part in given[:2] if isinstance(part, Tensor)))
            with _saved(weights) as kept:
                result = run(index, *given)
            layers.append(sum(kept.values()))
            return result

        model.enable_gradient_checkpointing(layer)
        with _saved(weights) as around, autocast(torch.device(device), dtype):
            model(
                torch.empty(1, config.in_channels, num_frames, height, width),
                torch.empty(1),
                torch.empty(1, config.text_len, config.text_dim),
                mask=torch.empty(1, 1, num_frames, height, width),
                precision=torch.empty(1),
                audio=torch.empty(1, bucket.num_frames, config.num_audio_states, config.audio_dim),
            )
    return Activations(sum(around.values()), tuple(layers), tuple(inputs))


@contextmanager
def _saved(weights: Collection[int]) -> Iterator[dict[int, int]]:
    """Storage that autograd keeps -> its bytes; weights do not count."""
    kept: dict[int, int] = {}
    alive: list[Any] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights and storage._cdata not in kept:
            kept[storage._cdata] = storage.nbytes()
            alive.append(storage)  # else its number might be given anew
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes that training holds on one device.

    Attributes:
        encoders: of video, text and sound; none where their features are cached.
        activations: bucket -> bytes, for a micro-batch.
        device_bytes: what there is.
    """

    weights: int
    gradients: int
    optimiser: int
    ema: int
    encoders: int
    activations: Mapping[Bucket, int]
    device_bytes: int
    advice: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """With the largest bucket."""
        held = self.weights + self.gradients + self.optimiser + self.ema + self.encoders
        return held + max(self.activations.values(), default=0)

    @property
    def fits(self) -> bool:
        """Whether it is less than there is."""
        return self.total <= self.device_bytes

    def lines(self) -> list[str]:
        """The plan in words, a line each."""
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimiser": self.optimiser,
            "moving average": self.ema,
            "encoders": self.encoders,
        }
        lines = [f"{name:<16}{_size(count)}" for name, count in parts.items()]
        for bucket, count in self.activations.items():
            name = f"{bucket.num_frames} x {bucket.width_px}x{bucket.height_px}"
            lines.append(f"activations     {_size(count)}  for {name}")
        lines.append(f"{'together':<16}{_size(self.total)}  of {_size(self.device_bytes).strip()}")
        if not self.fits:
            lines += ["This is unlikely to fit.", *self.help()]
        return lines

    def help(self) -> list[str]:
        """What to change where it does not fit, a line each."""
        return ["What would help:", *(f"  {advice}" for advice in self.advice)]


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
    plan = MemoryPlan(
        *state_bytes(config, world.size),
        encoders=encoders_bytes,
        activations={
            bucket: config.batch_size * trace.peak_bytes(config.checkpointed)
            for bucket, trace in traces.items()
        },
        device_bytes=device_bytes(world.device),
    )
    return replace(plan, advice=_advice(config, plan, traces, world))


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
    config: TrainConfig, plan: MemoryPlan, traces: Mapping[Bucket, Activations], world: World
) -> tuple[str, ...]:
    """Changes of the configuration that save memory, and how much; the least costly first."""
    peak = max(plan.activations.values(), default=0)
    least = max(
        (trace.peak_bytes(range(len(trace.layers))) for trace in traces.values()), default=0
    )
    held = plan.total - peak - plan.encoders
    savings = [
        ("data.cache=CACHE (of `avipipe train cache`)", plan.encoders),
        ("checkpoint_layers=all", peak - config.batch_size * least),
        (
            f"batch_size=1 accumulate={config.accumulate * config.batch_size}",
            peak - peak // config.batch_size,
        ),
        ("ema_decay=null", plan.ema),
    ]
    if config.optimiser.name == "adamw":
        saved = plan.optimiser - plan.optimiser * ADAM_BYTES["adamw_8bit"] // ADAM_BYTES["adamw"]
        savings.append(("optimiser.name=adamw_8bit", saved))
    lines = [
        f"--set {change}: {_size(saved).strip()} less" for change, saved in savings if saved > 0
    ]
    if config.lora is None:
        lines.append("the configuration lora-24g: adapters instead of the whole backbone")
    lines.append(
        f"torchrun with {2 * world.size} GPUs instead of {world.size}: "
        f"{_size(held // 2).strip()} less on each"
    )
    return (*lines, "smaller or shorter clips: fewer or smaller buckets")


def state_bytes(config: TrainConfig, num_processes: int) -> tuple[int, int, int, int]:
    """Weights, gradients, optimiser and average of what each of the processes holds."""
    parameters = list(outline(config).parameters())
    learning = [weight for weight in parameters if weight.requires_grad]
    weights = sum(weight.nbytes for weight in parameters)
    gradients = sum(weight.nbytes for weight in learning)
    states = sum(weight.numel() for weight in learning) * ADAM_BYTES[config.optimiser.name]
    average = 0 if config.ema_decay is None else gradients
    weights, gradients, states, average = (
        math.ceil(part / num_processes) for part in (weights, gradients, states, average)
    )
    return weights, gradients, states, average


def device_bytes(device: torch.device) -> int:
    """All memory of a GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _size(count: int) -> str:
    return f"{count / GIB:8.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:8.2f} MiB"
