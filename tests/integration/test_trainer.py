"""The loop, on batches that need no media."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.annotators.base import Frames
from avipipe.editor.avi_edit.config import SampleConfig
from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.data.encoders import tiny_encoders
from avipipe.editor.avi_edit.lora import load_lora
from avipipe.editor.avi_edit.network.loading import build, load_editor
from avipipe.editor.avi_edit.train.config import TrainConfig
from avipipe.editor.avi_edit.train.export import export
from avipipe.editor.avi_edit.train.memory import memory_explained
from avipipe.editor.avi_edit.train.metrics import Values, VideoFiles
from avipipe.editor.avi_edit.train.parallel import World
from avipipe.editor.avi_edit.train.samples import Sampler
from avipipe.editor.avi_edit.train.trainer import Trainer
from avipipe.editor.common.dtypes import DTYPES
from avipipe.errors import ConfigError, RunError
from tests.editor_batches import BatchStream, batch_of, tiny_config
from tests.integration.builds import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = World(0, 1, torch.device("cpu"))


def trainer(folder: Path, config: TrainConfig, **options: Any) -> Trainer:
    return Trainer(config, ALONE, folder, BatchStream(config.batch_size, **options))


def trained(folder: Path, config: TrainConfig, *, resume: bool = False) -> Trainer:
    run = trainer(folder, config)
    assert run.resume() == resume
    assert run.run()
    return run


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings and sequences as one mapping of dotted names."""
    if isinstance(value, Mapping):
        items = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(number), part) for number, part in enumerate(value)]
    else:
        return {name: value}
    return {key: v for part, inner in items for key, v in flat(inner, f"{name}.{part}").items()}


def state(run: Trainer) -> dict[str, Any]:
    """All that a run's future depends on."""
    assert run.ema is not None
    return flat(
        {
            "weights": dict(run.model.state_dict()),
            "optimiser": run.optimiser.state_dict(),
            "average": run.ema.weights,
            "rng": torch.get_rng_state(),
            "stream": run.stream.state_dict(),
            "progress": (run.progress.step, run.progress.num_updates),
        }
    )


def assert_equal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, Tensor) else None
        assert same if same is not None else value == theirs[name], name


def test_five_and_five_steps_are_ten(tmp_path: Path) -> None:
    torch.manual_seed(3)
    whole = state(trained(tmp_path / "whole", tiny_config(steps=10)))
    torch.manual_seed(3)
    trained(tmp_path / "parts", tiny_config(steps=5))
    torch.manual_seed(99)
    parts = state(trained(tmp_path / "parts", tiny_config(steps=10), resume=True))
    assert_equal(parts, whole)


def test_accumulated_micro_batches_are_a_batch(tmp_path: Path) -> None:
    together = trained(tmp_path / "a", tiny_config(steps=3, batch_size=4))
    apart = trained(tmp_path / "b", tiny_config(steps=3, batch_size=1, accumulate=4))
    for ours, theirs in zip(together.model.parameters(), apart.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


def test_checkpointed_layers_change_no_gradient(tmp_path: Path) -> None:
    runs = [
        trained(tmp_path / str(layers), tiny_config(steps=2, checkpoint_layers=layers))
        for layers in ("none", "all", (1,))
    ]
    for others in zip(*(run.model.parameters() for run in runs), strict=True):
        assert torch.equal(others[0], others[1])
        assert torch.equal(others[0], others[2])


@pytest.mark.slow
def test_half_precision_learns_too(tmp_path: Path) -> None:
    config = tiny_config(steps=30, precision="bf16", batch_size=2)
    run = Trainer(config, ALONE, tmp_path, BatchStream(2), [batch_of([0, 2])])
    before = run.validate()["val/flow"]
    run.run()
    assert run.validate()["val/flow"] < 0.8 * before
    assert {weight.dtype for weight in run.model.parameters()} == {torch.float32}


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, tiny_config(steps=1))
    other = trainer(tmp_path, tiny_config(steps=2, loss={"mask_weight": 0.5}))
    with pytest.raises(ConfigError, match=r"loss\.mask_weight: 1\.0 -> 0\.5"):
        other.resume()


def test_a_run_may_be_lengthened_and_validated_more_often(tmp_path: Path) -> None:
    trained(tmp_path, tiny_config(steps=1))
    config = tiny_config(steps=2, validation={"every_steps": 1})
    assert trained(tmp_path, config, resume=True).progress.step == 2


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    trained(tmp_path, tiny_config(steps=5, checkpoint={"every_steps": 1, "keep": 2}))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["latest", "step-00000004", "step-00000005"]


def test_a_checkpoint_that_was_not_finished_is_never_loaded(tmp_path: Path) -> None:
    trained(tmp_path, tiny_config(steps=2))
    (tmp_path / "checkpoints" / "step-00000009.partial").mkdir()
    assert trained(tmp_path, tiny_config(steps=3), resume=True).progress.step == 3
    assert not list((tmp_path / "checkpoints").glob("*.partial"))


def test_a_loss_that_is_not_finite_changes_no_weight(tmp_path: Path) -> None:
    run = trainer(tmp_path, tiny_config(steps=1), bad_turns=frozenset({0}))
    before = {name: weight.clone() for name, weight in run.model.named_parameters()}
    assert run.run()
    assert all(torch.equal(before[name], w) for name, w in run.model.named_parameters())
    assert (run.progress.num_bad, run.progress.num_updates) == (1, 0)
    (saved,) = (tmp_path / "bad_batches").iterdir()
    (batch,) = torch.load(saved, weights_only=True)
    assert batch["keys"] == ("clip-0",)
    assert batch["latents"].isnan().all()


def test_too_many_bad_losses_in_a_row_end_the_run(tmp_path: Path) -> None:
    config = tiny_config(steps=20, max_bad_steps=3)
    run = trainer(tmp_path, config, bad_turns=frozenset({1, 2, 5, 6, 7}))
    with pytest.raises(RunError, match="3 steps in a row"):
        run.run()
    assert run.progress.step == 8


class Full(BatchStream):
    """Finds the device full at its second batch."""

    def __next__(self) -> Batch:
        if self.turn == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.\nGPU 0 ...")
        return super().__next__()


def test_too_little_memory_ends_in_advice(tmp_path: Path) -> None:
    config = tiny_config(steps=3, checkpoint_layers="none")
    with pytest.raises(RunError) as caught, memory_explained(config, ALONE, encoders_bytes=0):
        Trainer(config, ALONE, tmp_path, Full(1)).run()
    text = str(caught.value)
    assert "Tried to allocate 1 GiB." in text
    assert "GPU 0" not in text
    assert "activations" in text
    assert text.count("--set checkpoint_layers=all: ") == 1


class Stopper:
    """Sends a signal to this process in the middle of a run."""

    def __init__(self, step: int) -> None:
        self._step = step
        self.saved_steps: list[int] = []

    def stepped(self, step: int, values: Values) -> None:
        if step == self._step:
            signal.raise_signal(signal.SIGTERM)

    def validated(self, step: int, values: Values) -> None: ...

    def saved(self, step: int, path: Path) -> None:
        self.saved_steps.append(step)


def test_a_signal_stops_it_at_a_checkpoint(tmp_path: Path) -> None:
    config, stopper = tiny_config(steps=9, checkpoint={"every_steps": 100}), Stopper(3)
    run = Trainer(config, ALONE, tmp_path / "a", BatchStream(1), listeners=[stopper])
    assert not run.run()
    assert stopper.saved_steps == [run.progress.step]
    assert 3 <= run.progress.step <= 4
    stopped = state(trained(tmp_path / "a", config, resume=True))
    assert_equal(stopped, state(trained(tmp_path / "b", config)))


def test_learning_rates_warm_up_and_new_modules_have_their_own(tmp_path: Path) -> None:
    optimiser = {"lr": 1e-3, "new_lr_factor": 5.0, "warmup_steps": 4}
    run = trained(tmp_path, tiny_config(steps=3, optimiser=optimiser))
    rates = [group["lr"] for group in run.optimiser.param_groups]
    assert rates == pytest.approx([1e-3 * 3 / 5, 5e-3 * 3 / 5])


def test_what_has_no_data_does_not_learn(tmp_path: Path) -> None:
    config = tiny_config(steps=4, batch_size=2)
    before = dict(build(config.network.sizes).named_parameters())
    run = trained(tmp_path, config)
    unchanged = [name for name, w in run.model.named_parameters() if torch.equal(before[name], w)]
    assert {name.split(".")[0] for name in unchanged} == {
        "control_embeddings",
        "reference_embedding",
    }


def test_an_exported_network_is_the_one_that_was_trained(tmp_path: Path) -> None:
    run = trained(tmp_path, tiny_config(steps=2))
    export(run.model, run.config, tmp_path / "model", ALONE)
    loaded = load_editor(tmp_path / "model")
    assert loaded.sizes == run.config.network.sizes
    assert_equal(loaded.state_dict(), run.model.state_dict())


def test_validation_repeats_itself_and_leaves_the_run_alone(tmp_path: Path) -> None:
    config = tiny_config(steps=3)
    plain = state(trained(tmp_path / "plain", config))
    run = Trainer(config, ALONE, tmp_path / "b", BatchStream(1), [batch_of([0]), batch_of([2, 4])])
    first = run.validate()
    assert run.validate() == first
    assert first["val/given_mask_iou"] == pytest.approx(4 / 9)
    assert run.run()
    assert_equal(state(run), plain)


def test_eight_bit_adam_needs_its_package(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    if "bitsandbytes" in sys.modules:
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(ConfigError, match="pip install bitsandbytes"):
        trainer(tmp_path, tiny_config(optimiser={"name": "adamw_8bit"}))


def test_eight_bit_adam_is_for_one_process(tmp_path: Path) -> None:
    config = tiny_config(optimiser={"name": "adamw_8bit"})
    with pytest.raises(ConfigError, match="cannot be shared out"):
        Trainer(config, World(1, 2, ALONE.device), tmp_path, BatchStream(1))


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"install g\+\+"):
        trainer(tmp_path, tiny_config(compile=True))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch itself
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
def test_compiled_blocks_learn_the_same(tmp_path: Path) -> None:
    plain, compiled = (
        Trainer(
            tiny_config(steps=3, batch_size=2, checkpoint_layers=(1,), compile=compiles),
            ALONE,
            tmp_path / str(compiles),
            BatchStream(2),
            [batch_of([0])],
        )
        for compiles in (False, True)
    )
    assert plain.run()
    assert compiled.run()
    assert_close(plain.model.state_dict(), compiled.model.state_dict())
    assert compiled.validate() == pytest.approx(plain.validate(), rel=1e-4)


WORKER = """
import json, sys, torch
from pathlib import Path
from avipipe.editor.avi_edit.train.export import export
from avipipe.editor.avi_edit.train.parallel import joined
from tests.integration.test_trainer import ADAPTERS, sharded
torch.set_num_threads(1)
with joined() as world:
    for name, changes in (("whole", {}), ("adapters", ADAPTERS)):
        folder = Path(sys.argv[1]) / name
        sharded(folder, world, 2, **changes)
        run = sharded(folder, world, 4, **changes)
        figures = run.validate()
        export(run.model, run.config, folder / "model", world)
        if world.is_first:
            (folder / "figures.json").write_text(json.dumps(figures))
"""
ADAPTERS = {"lora": {"rank": 2, "alpha": 2}, "precision": "bf16"}


def sharded(folder: Path, world: World, steps: int, **changes: Any) -> Trainer:
    """Run to a step, from a checkpoint if there is one, on batches of four clips in all."""
    changes = {"steps": steps, "checkpoint_layers": (1,), "accumulate": 2, **changes}
    config = tiny_config(batch_size=2 // world.size, **changes)
    stream = BatchStream(config.batch_size, rank=world.rank, world_size=world.size)
    held_out = [batch_of([0]), batch_of([2]), batch_of([3])]
    video = tiny_encoders().video if world.is_first else None
    sample = Sampler(
        held_out[:1], SampleConfig(num_steps=2), world, video=video, dtype=DTYPES[config.precision]
    )
    run = Trainer(config, world, folder, stream, held_out, sample=sample)
    run.sinks = [VideoFiles(folder / "samples")] if world.is_first else []
    run.resume()
    assert run.run()
    return run


def in_processes(folder: Path, count: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(count):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
        environment = {
            **os.environ,
            **{name: str(value) for name, value in place.items()},
            "MASTER_ADDR": "127.0.0.1",
            "PYTHONPATH": str(ROOT),
        }
        words = [sys.executable, "-c", WORKER, str(folder)]
        processes.append(subprocess.Popen(words, env=environment, stderr=subprocess.PIPE))
    try:
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors.decode()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def assert_close(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-4, atol=2e-5)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs of four steps that two processes shared, stopped and resumed after two."""
    folder = tmp_path_factory.mktemp("two")
    in_processes(folder, 2)
    return folder


@pytest.mark.slow
def test_two_processes_are_one(two: Path, tmp_path: Path) -> None:
    one = sharded(tmp_path, ALONE, 4)
    assert_close(one.model.state_dict(), load_editor(two / "whole" / "model").state_dict())
    figures = json.loads((two / "whole" / "figures.json").read_text())
    assert figures == pytest.approx(one.validate(), rel=1e-4)
    ours, theirs = (frames_of(folder / "samples") for folder in (tmp_path, two / "whole"))
    assert (sorted(ours), sorted(theirs)) == ([0, 4], [0, 2, 4])
    for step, frames_FHWC in ours.items():
        assert frames_FHWC.shape == (9, 64, 2 * 96, 3)
        assert np.abs(frames_FHWC.astype(int) - theirs[step]).mean() < 0.5


def frames_of(folder: Path) -> dict[int, Frames]:
    """Step -> the video of clip 0."""
    found: dict[int, Frames] = {}
    for path in folder.glob("*/clip-0.mp4"):
        with av.open(str(path)) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        found[int(path.parent.name.removeprefix("step-"))] = np.asarray(frames, np.uint8)
    return found


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_in_one(two: Path, tmp_path: Path) -> None:
    shutil.copytree(two / "whole", tmp_path / "two")
    gone_on = sharded(tmp_path / "two", ALONE, 6)
    one = sharded(tmp_path / "one", ALONE, 6)
    assert gone_on.ema is not None
    assert one.ema is not None
    assert_close(one.model.state_dict(), gone_on.model.state_dict())
    assert_close(one.ema.weights, gone_on.ema.weights)


@pytest.mark.slow
def test_two_processes_learn_adapters_in_half_precision(two: Path, tmp_path: Path) -> None:
    one = sharded(tmp_path, ALONE, 4, **ADAPTERS)
    figures = json.loads((two / "adapters" / "figures.json").read_text())
    assert figures == pytest.approx(one.validate(), rel=0.02)
    loaded = build(one.config.network.sizes)
    load_lora(loaded, two / "adapters" / "model")
    for name, weight in loaded.named_parameters():
        if "lora_B" in name:
            assert weight.any()
