"""Tensors of pickled checkpoints: read as numbers, whatever else the pickle names."""

import os
import pickle
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from avipipe.errors import WeightsError
from avipipe.weights.tensors import convert, read_tensors


class Metadata:
    """A class of a training framework, which is not there where weights are pulled."""

    def __init__(self) -> None:
        self.notes = ["a", "b"]


class Runs:
    """What an attacker would put into a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "half": torch.rand(3).half(),
        "float": torch.rand(2, 3),
        "double": torch.rand(2, 1, 2).double(),
        "count": torch.arange(4),
        "flag": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "part": torch.arange(12.0)[4:10].reshape(2, 3),
    }


def test_the_tensors_are_those_that_were_saved(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "alone.pt")
    found = read_tensors(tmp_path / "alone.pt")
    assert list(found) == list(state())
    for name, tensor in state().items():
        assert found[name].dtype == tensor.numpy().dtype
        assert np.array_equal(found[name], tensor.numpy())


def test_a_training_checkpoint_gives_its_model_alone_and_the_same_bytes(tmp_path: Path) -> None:
    notes: dict[str, list[Metadata]] = defaultdict(list)
    notes["of"].append(Metadata())
    checkpoint = {
        "state_dict": state(),
        "optimizer_states": [{"step": torch.zeros(9)}],
        "hyper_parameters": {"meta": Metadata(), "notes": notes, "kind": Metadata},
    }
    torch.save(checkpoint, tmp_path / "a.pt")
    first = convert(tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert set(load_file(first)) == set(state())
    again = convert(tmp_path / "a.pt", tmp_path / "again.safetensors")
    assert first.read_bytes() == again.read_bytes()


def test_nothing_that_a_pickle_names_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": state(), "trap": Runs(tmp_path / "ran")}, tmp_path / "a.pt")
    assert set(read_tensors(tmp_path / "a.pt")) == set(state())
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert (tmp_path / "ran").exists(), "the trap is one"


def write(path: Path, content: Any) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content))


@pytest.mark.parametrize("content", [{"a": 1}, {"a": Metadata()}, [1, 2], None, "text"])
def test_what_holds_no_model_is_refused(tmp_path: Path, content: Any) -> None:
    write(tmp_path / "a.pt", content)
    with pytest.raises(WeightsError, match="expected a model as torch"):
        read_tensors(tmp_path / "a.pt")


def test_what_is_no_checkpoint_at_all_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"text", pickle.dumps({"a": 1})):
        (tmp_path / "a.pt").write_bytes(data)
        with pytest.raises(WeightsError, match="expected a model as torch"):
            read_tensors(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02torn")
    with pytest.raises(WeightsError, match="expected a model as torch"):
        read_tensors(tmp_path / "a.pt")


def test_a_tensor_in_another_order_is_refused_rather_than_misread(tmp_path: Path) -> None:
    torch.save({"turned": torch.rand(2, 3).T}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="strides"):
        read_tensors(tmp_path / "a.pt")


def test_a_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.rand(4)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(tmp_path / "short.pt", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data[:8] if name.endswith("data/0") else data)
    with pytest.raises(WeightsError, match="expected a model as torch"):
        read_tensors(tmp_path / "short.pt")
