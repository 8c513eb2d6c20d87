"""What lies in the folder of an edit is as it was written, or is told to be damaged."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from avipipe.editor.avi_edit.method import AviEdit
from avipipe.editor.edit.kept import NAME as KEPT
from avipipe.editor.edit.run import edit
from avipipe.errors import RunError
from tests.damage import SPOILT, flipped
from tests.edit_models import Quiet, avi_edit, fresh_run, sha256
from tests.integration.test_edit import change, job

RESULTS = ("edited.mp4", "preview.mp4", "mask.mkv")


class Stopped(Quiet):
    """Stops the run after some steps, as a signal would."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self._num_steps = num_steps

    def stepped(self) -> None:
        super().stepped()
        if self.num_done == self._num_steps:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AviEdit:
    torch.set_num_threads(1)
    return avi_edit(fresh_run(tmp_path_factory.mktemp("model") / "run"))


def run(clip: Path, out: Path, model: AviEdit, listener: Quiet | None = None) -> None:
    edit(job(clip, change()), out, model, listener or Quiet())


@pytest.fixture(scope="module")
def done(clip: Path, model: AviEdit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished edit."""
    out = tmp_path_factory.mktemp("done") / "out"
    run(clip, out, model)
    return out


@pytest.fixture(scope="module")
def halfway(clip: Path, model: AviEdit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that is stopped in the second of its chunks."""
    out = tmp_path_factory.mktemp("halfway") / "out"
    with pytest.raises(KeyboardInterrupt):
        run(clip, out, model, Stopped(5))
    return out.with_name("out.partial")


def spoilings(folder: Path, how: str) -> Iterator[Path]:
    """Each file of a folder in turn, spoilt, and whole again afterwards."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        if not whole:
            continue  # only that it is there says anything
        content = SPOILT[how](whole)
        path.unlink() if content is None else path.write_bytes(content)
        yield path
        path.write_bytes(whole)


@pytest.mark.parametrize("how", SPOILT)
def test_a_finished_edit_that_is_damaged_is_told(
    done: Path, clip: Path, model: AviEdit, tmp_path: Path, how: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    for path in spoilings(out, how):
        if path.name == KEPT and "flipped" not in how:
            continue  # no line of it is left, and all others are whole
        with pytest.raises(RunError, match="out is damaged") as refused:
            run(clip, out, model)
        assert path.name in str(refused.value) or path.name == KEPT
        assert "Delete the folder" in str(refused.value)
    run(clip, out, model)


@pytest.mark.parametrize("how", SPOILT)
def test_work_that_is_damaged_is_told(
    halfway: Path, clip: Path, model: AviEdit, tmp_path: Path, how: str
) -> None:
    partial = tmp_path / "out.partial"
    shutil.copytree(halfway, partial)
    names = {path.name for path in partial.rglob("*") if path.is_file()}
    assert {"audio.flac", "00000000.mkv", "chunk-0000.json", "chunk-0001.pt"} <= names
    for path in spoilings(partial, how):
        if path.name == KEPT or (path.suffix == ".pt" and how == "deleted"):
            continue  # what was noted in it is made again
        with pytest.raises(RunError) as refused:
            run(clip, tmp_path / "out", model, Stopped(1))
        assert path.name in str(refused.value)
        assert "delete the f" in str(refused.value).lower()


@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_work_whose_list_is_damaged_is_done_again_or_told(
    halfway: Path, done: Path, clip: Path, model: AviEdit, tmp_path: Path, how: str
) -> None:
    partial, out = tmp_path / "out.partial", tmp_path / "out"
    shutil.copytree(halfway, partial)
    path = partial / KEPT
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
        run(clip, out, model)
        assert [sha256(out / name) for name in RESULTS] == [sha256(done / n) for n in RESULTS]
    else:
        path.write_bytes(flipped(path.read_bytes(), 10))
        with pytest.raises(RunError, match="is damaged"):
            run(clip, out, model)


def test_what_was_being_written_is_made_again(
    halfway: Path, done: Path, clip: Path, model: AviEdit, tmp_path: Path
) -> None:
    partial, out = tmp_path / "out.partial", tmp_path / "out"
    shutil.copytree(halfway, partial)
    stray = partial / "work" / "edit-01" / "frames" / "00000013.mkv"
    assert not stray.exists()
    stray.write_bytes(b"half a segment")
    (partial / ".edited.mp4.0123456789ab.partial").write_bytes(b"half a video")
    run(clip, out, model)
    assert [sha256(out / name) for name in RESULTS] == [sha256(done / name) for name in RESULTS]
    assert not list(out.glob(".*"))
    assert not (out / "work").exists()  # unless it is asked for
