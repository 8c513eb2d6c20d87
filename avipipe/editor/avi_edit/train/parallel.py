"""One process, or several under torchrun whose weights are shared out with FSDP2."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from avipipe.editor.avi_edit.network.transformer import EditorTransformer


@dataclass(frozen=True, slots=True)
class World:
    """This process among those that train together."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def gather(self, value: Any) -> list[Any]:
        """What each process has, in the order of their ranks."""
        found = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(found, value)
        return found


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun (or Ray Train) has started; alone, there is but this one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size == 1:
        yield World(0, 1, device)
        return
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size, device)
    finally:
        if ours:
            dist.destroy_process_group()


def shard(model: EditorTransformer, world: World, dtype: torch.dtype) -> None:
    """Share out the weights, block by block; they are computed with in `dtype`.

    Inputs keep their types: a timestep in bfloat16 errs by up to 2 of 1000.
    """
    mesh = init_device_mesh(world.device.type, (world.size,))
    policy = MixedPrecisionPolicy(
        param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    parts = [*model.blocks, *model.audio_injections.values(), *model.refiner.blocks.values()]
    for part in (*parts, model):
        fully_shard(part, mesh=mesh, mp_policy=policy)


def scatter(model: torch.nn.Module, whole: torch.nn.Module | None) -> None:
    """Give each process its shards of the weights that the first one has.

    Args:
        whole: those weights in the first process, None in the others.
    """
    weights = {} if whole is None else whole.state_dict()
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, weights, options=options)


def reshard(model: torch.nn.Module) -> None:
    """Give back the weights that a pass without backward has left gathered."""
    if isinstance(model, FSDPModule):
        model.reshard()


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute in `dtype`; shards see to it themselves, and need this not."""
    if dtype == torch.float32:
        yield
        return
    with warnings.catch_warnings():
        # Wan's norm of queries and keys is not fused then; it costs next to nothing
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight", UserWarning)
        # casts are not kept: with checkpointing they would hold a second copy of all weights
        with torch.autocast(device.type, dtype, cache_enabled=False):
            yield


def computing(
    model: torch.nn.Module, device: torch.device, dtype: torch.dtype
) -> AbstractContextManager[None]:
    """What a pass forward of a network runs in."""
    return nullcontext() if isinstance(model, FSDPModule) else autocast(device, dtype)


def in_full(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded; all processes must ask together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
