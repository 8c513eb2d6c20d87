"""The tensors of a pickled checkpoint, read without running anything that it names."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avipipe.errors import WeightsError

_STATE = "state_dict"
_TYPES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "BoolStorage": "?",
}
"""PyTorch's name of a storage -> how its numbers lie in the file."""


def convert(checkpoint: Path, target: Path) -> Path:
    """Write the tensors of a checkpoint's model as safetensors, the same bytes every time.

    Raises:
        WeightsError: it is no such checkpoint, or safetensors is not installed.
    """
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise WeightsError(
            f"cannot read {checkpoint.name}: safetensors is not installed. Run: pip install "
            "'avipipe[light]'"
        ) from error
    save_file(dict(read_tensors(checkpoint)), target)
    return target


def read_tensors(checkpoint: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Name -> tensor of a model that `torch.save` wrote, alone or as the `state_dict` of more.

    Whatever else the pickle is made of is read as things without any behaviour.

    Raises:
        WeightsError: it is no such checkpoint.
    """
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(index) as file:
                found = _TensorsOnly(file).load()
            state = found.get(_STATE, found)
            root = index.removesuffix("data.pkl")
            return {name: _read(tensor, archive, root) for name, tensor in state.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise _not_a_checkpoint(checkpoint, error) from error
    except (zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise _not_a_checkpoint(checkpoint, error) from error


def _not_a_checkpoint(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: expected a model as torch.save writes it, found: {error}")


class _Tensor(NamedTuple):
    """What a checkpoint says of a tensor, in the order of PyTorch's own reader."""

    storage: tuple[str, str, str, str, int]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(*told: Any) -> _Tensor:
    return _Tensor(*told[:4])


class _Inert:
    """Stands for an object of a class that is not loaded."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def extend(self, values: object) -> None:
        """What a list would be told."""


class _TensorsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        return name if module == "torch" and name in _TYPES else _Inert

    def persistent_load(self, pid: Any) -> Any:
        return pid


def _read(tensor: Any, archive: zipfile.ZipFile, root: str) -> npt.NDArray[Any]:
    if not isinstance(tensor, _Tensor):
        raise ValueError(f"{type(tensor).__name__} where a tensor should be")
    _, kind, key, *_ = tensor.storage
    values = np.frombuffer(archive.read(f"{root}data/{key}"), _TYPES[kind])
    packed = tuple(prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape)))
    if tensor.strides != packed:
        raise ValueError(f"a tensor of shape {tensor.shape} with strides {tensor.strides}")
    return values[tensor.offset :][: prod(tensor.shape)].reshape(tensor.shape)
