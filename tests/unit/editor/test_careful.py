"""What stands in a checkpoint's `.metadata` beside what this Python would write."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import (
    _MEM_FORMAT_ENCODING as MEMORY_FORMAT,
)
from torch.distributed.checkpoint.metadata import Metadata

from avipipe.editor.avi_edit.train.careful import CarefulReader


@dataclass
class Asked:
    """Is written as Pythons before 3.11.4 write a member of an enumeration."""

    kind: type
    name: str

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.kind, self.name)


def read(folder: Path, asked: Asked) -> Metadata:
    content = Metadata({}, planner_data=asked)
    (folder / ".metadata").write_bytes(pickle.dumps(content))
    return CarefulReader(folder).read_metadata()


def test_members_of_enumerations_are_read_as_older_pythons_write_them(tmp_path: Path) -> None:
    member = MEMORY_FORMAT.TORCH_CONTIGUOUS_FORMAT
    assert read(tmp_path, Asked(MEMORY_FORMAT, member.name)).planner_data is member


@pytest.mark.parametrize("kind", [torch.Size, Metadata])
def test_no_other_attribute_is_asked_for(tmp_path: Path, kind: type) -> None:
    with pytest.raises(pickle.UnpicklingError, match="which no checkpoint needs"):
        read(tmp_path, Asked(kind, "__init__"))
