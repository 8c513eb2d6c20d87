"""Reads torch's distributed checkpoints without running what is in them.

`.metadata` is a pickle, and so is each value in the shards that is no tensor, such as a learning
rate. torch reads both with all that pickles can do; here they can only be what torch writes.
"""

import enum
import io
import pickle
from typing import Any

import torch
from torch.distributed.checkpoint import metadata
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import ReadItem

_ALLOWED = {
    *((metadata.__name__, name) for name in (*metadata.__all__, "_MEM_FORMAT_ENCODING")),
    (FileSystemReader.__module__, "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
}
"""Module and name of what torch's `.metadata` is made of, beside the types of numbers."""


class CarefulReader(FileSystemReader):
    """Knows `.metadata` alone, and takes nothing but descriptions of tensors from it."""

    def read_metadata(self) -> Metadata:
        """What lies where.

        Raises:
            UnpicklingError: the file holds something else.
        """
        with self.fs.create_stream(self.fs.concat_path(self.path, ".metadata"), "rb") as file:
            found = _Unpickler(file).load()
        if not isinstance(found, Metadata):
            raise pickle.UnpicklingError(f"expected Metadata, found {type(found).__name__}")
        return found


class CarefulPlanner(DefaultLoadPlanner):
    """Takes nothing but numbers and what holds them from the shards."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """One value that is no tensor."""
        torch.load(value, weights_only=True)  # raises where there is more
        value.seek(0)
        super().load_bytes(read_item, value)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or (module, name) in _ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which no checkpoint needs")


def _member(kind: Any, name: str) -> enum.Enum:
    """A member of an enumeration, which Pythons before 3.11.4 write as an attribute of it."""
    if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        raise pickle.UnpicklingError(f"it asks {kind!r} for {name!r}, which no checkpoint needs")
    return kind[name]
