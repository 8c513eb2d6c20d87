"""Reads networks from checkpoints and runs them so that a GPU gives the numbers of a CPU."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from avipipe import weights
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading

Network = TypeVar("Network", bound=nn.Module)

BATCH_FRAMES = 16
"""Frames that a network sees at a time: enough to keep a GPU busy, and what a clip of FVD has."""


def read_state(weight: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU.

    Raises:
        WeightsError: it is missing, corrupted, or no file of named tensors.
    """
    path = weights.locate(weight)
    with reading(path, f"`{weight}`", pull_again(weight)):
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return dict(state.items())


@contextmanager
def with_numpy() -> Iterator[None]:
    """Read checkpoints here that hold numbers and arrays of numpy beside their tensors.

    Trainers save losses and the order of their samples so, in names of numpy 1 or 2. None of it can
    run code.
    """
    makers = {
        "scalar": np.float64(0).__reduce__()[0],
        "_reconstruct": np.zeros(0).__reduce__()[0],
    }
    known: list[Any] = [
        (maker, f"{package}.multiarray.{name}")
        for name, maker in makers.items()
        for package in ("numpy.core", "numpy._core")
    ]
    known += [np.ndarray, np.dtype, np.dtypes.Float64DType, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(known):
        yield


def built(
    build: Callable[[Mapping[str, Tensor]], Network], state: Mapping[str, Tensor], *, weight: str
) -> Network:
    """A network with the tensors of a checkpoint, ready on `device()`.

    Args:
        build: lays the network out, by what the tensors tell of its sizes.
    Raises:
        WeightsError: tensors are missing, of another shape, or unknown to the network.
    """
    with (
        reading(weights.locate(weight), f"`{weight}`", pull_again(weight)),
        torch.device("meta"),
    ):
        network = build(state)
    return filled(network, state, weight=weight)


def filled(network: Network, state: Mapping[str, Tensor], *, weight: str) -> Network:
    """A network that was laid out on the `meta` device, with its tensors, ready on `device()`.

    Raises:
        WeightsError: tensors are missing, of another shape, or unknown to the network.
    """
    with reading(weights.locate(weight), type(network).__name__, pull_again(weight)):
        network.load_state_dict(dict(state), assign=True)
    return network.float().to(device()).eval()


@contextmanager
def exact() -> Iterator[None]:
    """Run networks here in full float32, without gradients.

    TF32, which torch lets convolutions use on a GPU, moves features by a hundredth: more than the
    methods of a table differ by.
    """
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
