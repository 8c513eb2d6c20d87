"""Tensors in safetensors files, by name; the headers of the files are the index."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from avipipe.editor.common.shards import write_file
from avipipe.errors import ManifestError

Stamp = Any
"""A JSON value that says what a tensor is of."""


class TensorStore:
    """What the files of a folder hold; those that come later are not seen.

    Raises:
        ManifestError: a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, str] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(path, "pt") as file:
                    names, noted = set(file.keys()), set(file.metadata() or ())
            except (OSError, SafetensorError) as error:
                raise _damaged(path, str(error)) from error
            if names != noted:
                raise _damaged(path, f"{len(names ^ noted)} of them have lost their checksums")
            self._files.update(dict.fromkeys(names, path.name))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._files)

    def read(self, name: str) -> tuple[Tensor, Stamp]:
        """A tensor and what it is of.

        Raises:
            KeyError: there is none of this name.
            ManifestError: its bytes have changed.
        """
        path = self._folder / self._files[name]
        try:
            with safe_open(path, "pt") as file:
                tensor: Tensor = file.get_tensor(name)
                note = json.loads(file.metadata()[name])
                crc32, of = note["crc32"], note["of"]
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, str(error)) from error
        if crc32 != _checksum(tensor):
            raise _damaged(path, f"the bytes of {name} have changed")
        return tensor, of


class TensorWriter:
    """Collects tensors, and writes them to a file of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tensors: dict[str, Tensor] = {}
        self._notes: dict[str, str] = {}
        self.num_bytes_written = 0

    @property
    def num_bytes(self) -> int:
        """Bytes that are not written yet."""
        return sum(tensor.nbytes for tensor in self._tensors.values())

    def add(self, tensors: Mapping[str, Tensor], of: Stamp = None) -> None:
        """Collect tensors that are of the same."""
        for name, tensor in tensors.items():
            self._tensors[name] = tensor.contiguous()
            note = {"crc32": _checksum(self._tensors[name]), "of": of}
            self._notes[name] = json.dumps(note)

    def flush(self) -> None:
        """Write what was collected, whole or not at all.

        Raises:
            RunError: it cannot be written.
        """
        if not self._tensors:
            return
        content = safetensors.torch.save(self._tensors, metadata=self._notes)
        names = "\n".join(sorted(self._tensors))
        number = hashlib.sha256(names.encode()).hexdigest()[:32]
        write_file(self._folder / f"{number}.safetensors", content)
        self.num_bytes_written += len(content)
        self._tensors, self._notes = {}, {}


def _checksum(tensor: Tensor) -> int:
    content: Any = tensor.view(torch.uint8).numpy()
    return zlib.crc32(content)


def _damaged(path: Path, what: str) -> ManifestError:
    return ManifestError(
        f"{path}: expected whole tensors, but {what}; delete this file, and run `avipipe train "
        "cache` again, which makes what was in it anew"
    )
