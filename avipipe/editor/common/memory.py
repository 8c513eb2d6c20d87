"""What work will need of a device's memory, told before anything is loaded.

Nothing is guessed: models run on tensors without storage, and what they hold is added up. What the
libraries below take for themselves comes on top.
"""

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from avipipe.annotators.base import Frames
from avipipe.annotators.batching import is_out_of_memory
from avipipe.errors import RunError

GIB = 2**30

_ADVICE = (
    "--offload models or blocks, with which it goes on from here; or, with another --out, "
    "--tile-vae, fewer frames at once (--set output.chunk_frames=49), or a smaller picture (--set "
    "output.size=[832,480])"
)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes on one device.

    Attributes:
        phases: what is done, one after the other -> bytes meanwhile.
        device_bytes: what there is.
        advice: what would need less.
        always: what is held all the while -> bytes, on top of those of the phases.
    """

    phases: Mapping[str, int]
    device_bytes: int
    advice: tuple[str, ...]
    always: Mapping[str, int] = field(default_factory=dict)

    @property
    def peak_bytes(self) -> int:
        """Bytes held in the phase that needs most."""
        return sum(self.always.values()) + max(self.phases.values())

    @property
    def fits(self) -> bool:
        """Whether that is no more than there is."""
        return self.peak_bytes <= self.device_bytes

    def lines(self) -> list[str]:
        """The plan in words, a line each."""
        rows = {**self.always, **self.phases, "at most": self.peak_bytes}
        width = 2 + max(map(len, rows))
        lines = [f"{name:<{width}}{size_in_words(count):>10}" for name, count in rows.items()]
        lines[-1] += f" of {size_in_words(self.device_bytes)}"
        return lines if self.fits else [*lines, "This is more than there is.", *self.help()]

    def help(self) -> list[str]:
        """The advice in words, a line each."""
        return ["What would help:", *(f"  {advice}" for advice in self.advice)]

    def check(self) -> None:
        """Refuse what does not fit.

        Raises:
            RunError: with the plan, and what to change.
        """
        if not self.fits:
            raise RunError("too little memory\n" + "\n".join(self.lines()))


def less_by(peak_bytes: int, ways: Iterable[tuple[Mapping[str, str], int]]) -> list[str]:
    """Which settings need less, and how much, in words.

    Args:
        ways: settings of `models` -> bytes at most with these.
    """
    return [
        f"{' '.join(f'--set models.{key}={value}' for key, value in way.items())}: "
        f"{size_in_words(count)}"
        for way, count in ways
        if count < peak_bytes
    ]


@contextmanager
def too_little_told(frames_FHWC: Frames, advice: str = _ADVICE) -> Iterator[None]:
    """Edit frames in this context.

    Args:
        advice: what would need less.
    Raises:
        RunError: there is too little memory; what would help.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        num_frames, height_px, width_px, _ = frames_FHWC.shape
        raise RunError(
            f"too little memory for {num_frames} frames of {width_px}x{height_px} ({error}); try "
            f"{advice}"
        ) from error


def size_in_words(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def weight_bytes(model: nn.Module, dtype: torch.dtype | None = None) -> int:
    """Bytes of a model's weights, as they are or in a type."""
    return sum(weight.numel() * (dtype or weight.dtype).itemsize for weight in model.parameters())


def device_bytes(device: torch.device) -> int:
    """Bytes of all memory of a GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def without_storage(dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Tensors made here only look like tensors; floats are of a type.

    They are as on a CPU, whose attention holds what flash attention on a GPU does; imitating a GPU,
    torch takes the one that keeps all scores.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with FakeTensorMode(), torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(default)


def peak_bytes(model: nn.Module, work: Callable[[], object]) -> int:
    """The most that is held at once at some work, beside weights and what was there before."""
    held = _Held(model)
    with held:
        work()
    return held.peak_bytes


@contextmanager
def saved_bytes(model: nn.Module) -> Iterator[dict[int, int]]:
    """Storage that autograd keeps for the backward pass -> its bytes; weights do not count."""
    weights, alive = _weights(model), list[Any]()
    kept = dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights and storage._cdata not in kept:
            kept[storage._cdata] = storage.nbytes()
            alive.append(storage)  # else its number might be given anew
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


class _Held(TorchDispatchMode):
    """Adds up the storage of all that operations give, for as long as it lives.

    Torch's own `MemTracker` finds the same peaks of a network, but refuses modules that are called
    more than once, as a VAE's decoder is, frame by frame.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._now_bytes = 0
        self._weights = _weights(model)
        self._alive = dict[int, int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._hold(leaf.untyped_storage())
        self.peak_bytes = max(self.peak_bytes, self._now_bytes)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._weights and key not in self._alive:
            self._alive[key] = storage.nbytes()
            self._now_bytes += storage.nbytes()
            weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self._now_bytes -= self._alive.pop(key)


def _weights(model: nn.Module) -> set[int]:
    """The storage of a model's own tensors."""
    own = (*model.parameters(), *model.buffers())
    return {int(weight.untyped_storage()._cdata) for weight in own}
