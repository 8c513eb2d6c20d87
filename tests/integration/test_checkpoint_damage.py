"""Training goes on from a whole checkpoint or says what is wrong; nothing in one is run."""

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from avipipe.editor.avi_edit.train.checkpoint import STATE, Checkpoints
from avipipe.editor.avi_edit.train.trainer import Trainer
from avipipe.editor.common.sealed import sealed
from avipipe.errors import RunError
from tests.damage import SPOILT, flipped
from tests.editor_batches import BatchStream, tiny_config
from tests.integration.test_trainer import ALONE, assert_equal, state, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with a checkpoint after each."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    trained(folder, tiny_config(steps=2, checkpoint={"every_steps": 1}))
    return folder


@pytest.fixture
def spoilt(run: Path, tmp_path: Path) -> Path:
    """A copy of the run; its newest checkpoint."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run" / "checkpoints" / "step-00000002"


def beginner(checkpoint: Path, **options: Any) -> Trainer:
    folder = checkpoint.parent.parent
    return Trainer(tiny_config(steps=3), ALONE, folder, BatchStream(1), **options)


def resumed(checkpoint: Path, **options: Any) -> Trainer:
    trainer = beginner(checkpoint, **options)
    assert trainer.resume()
    return trainer


def files_of(checkpoint: Path) -> Iterator[Path]:
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    assert {path.name for path in files} == {".metadata", "__0_0.distcp", "rng-0.pt", STATE}
    yield from files


@pytest.mark.parametrize("how", SPOILT)
def test_damage_of_any_file_is_one_error_that_names_it(spoilt: Path, how: str) -> None:
    trainer = beginner(spoilt)
    for path in files_of(spoilt):
        whole = path.read_bytes()
        content = SPOILT[how](whole)
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(RunError, match="step-00000002 is damaged: ") as refused:
            trainer.resume()
        assert path.name in str(refused.value)
        assert "Name an older one in" in str(refused.value)
        path.write_bytes(whole)
    assert trainer.resume()


def test_every_bit_of_the_state_counts(spoilt: Path) -> None:
    path = spoilt / STATE
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(flipped(whole, place))
        try:
            found = resumed_state(spoilt)
        except RunError:
            continue
        assert found == json.loads(whole)  # white space, or another way to write the same


def resumed_state(checkpoint: Path) -> dict[str, Any]:
    return Checkpoints(checkpoint.parent, ALONE, keep=1, identity={}).read_state(checkpoint)


@pytest.mark.parametrize(
    "content", [b"", b"../../elsewhere\n", b"\xff\xfe\x00", b"step-00000002/../step-00000001"]
)
def test_a_broken_marker_is_told(spoilt: Path, content: bytes) -> None:
    (spoilt.parent / "latest").write_bytes(content)
    with pytest.raises(RunError, match="latest: expected the name of a checkpoint"):
        resumed(spoilt)


def test_without_a_marker_the_newest_is_taken(spoilt: Path) -> None:
    (spoilt.parent / "latest").unlink()
    assert resumed(spoilt).progress.step == 2


def test_an_older_one_may_be_named(spoilt: Path) -> None:
    (spoilt / "__0_0.distcp").write_bytes(b"")
    (spoilt.parent / "latest").write_text("step-00000001\n")
    assert resumed(spoilt).progress.step == 1


def without_hashes(checkpoint: Path) -> None:
    """As an older avipipe wrote it."""
    told = json.loads((checkpoint / STATE).read_text())
    del told["files"], told["sha256"]
    (checkpoint / STATE).write_text(json.dumps(told))


def test_a_checkpoint_without_hashes_must_be_trusted(spoilt: Path) -> None:
    before = state(resumed(spoilt))
    without_hashes(spoilt)
    with pytest.raises(RunError, match=r"no hashes of its files.*--trust-checkpoint"):
        resumed(spoilt)
    assert_equal(state(resumed(spoilt, trust_checkpoint=True)), before)


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


def hashed_anew(checkpoint: Path) -> None:
    """What whoever plants a file would do as well."""
    import hashlib

    told = json.loads((checkpoint / STATE).read_text())
    for name in told["files"]:
        told["files"][name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    (checkpoint / STATE).write_text(json.dumps(sealed(told)))


@pytest.mark.parametrize("hides_it", [False, True])
def test_metadata_that_runs_code_is_refused(spoilt: Path, tmp_path: Path, hides_it: bool) -> None:
    mark = tmp_path / "mark"
    (spoilt / ".metadata").write_bytes(pickle.dumps(Bomb(mark)))
    if hides_it:
        hashed_anew(spoilt)
    with pytest.raises(RunError, match="is damaged"):
        resumed(spoilt)
    assert not mark.exists()
    with pytest.raises(RunError, match="cannot be loaded"):
        resumed(spoilt, trust_checkpoint=True)
    assert mark.exists()  # the test would see it


def test_metadata_beside_the_metadata_is_not_read(spoilt: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (spoilt / "__0.metadata").write_bytes(pickle.dumps(Bomb(mark)))
    (spoilt / ".metadata").write_bytes(b"")
    hashed_anew(spoilt)
    with pytest.raises(RunError, match="is damaged"):
        resumed(spoilt)
    assert not mark.exists()


def test_shards_that_run_code_are_refused(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    trainer = Trainer(tiny_config(steps=3), ALONE, tmp_path / "planted", BatchStream(1))
    trainer.optimiser.param_groups[0]["base_lr"] = Bomb(mark)
    trainer.save()
    planted = next((tmp_path / "planted" / "checkpoints").glob("step-*"))
    with pytest.raises(RunError, match="is damaged"):
        resumed(planted)
    assert not mark.exists()
    resumed(planted, trust_checkpoint=True)
    assert mark.exists()
