"""`avipipe train`, on a dataset that the pipeline made."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from avipipe.cli import cli, main
from avipipe.editor.avi_edit.network.loading import load_editor
from tests.integration.builds import command, environment

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def _same_threads() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def options(built: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options for the dataset of two clips, whose features are cached."""
    folder = tmp_path_factory.mktemp("training")
    given = ["--config", "tiny", "--data", str(built), "--set", f"data.index={folder / 'index'}"]
    words = ["train", "cache", *given, "--out", str(folder / "features"), "--json"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert json.loads(result.stdout)["new"] == 2
    # A forked worker of a process that has many threads warns; here all is read in place.
    return [*given, "--set", f"data.cache={folder / 'features'}", "--set", "data.workers=0"]


def train(out: Path, options: Sequence[str], *more: str) -> list[dict[str, Any]]:
    """Train in this process; what it says, as JSON."""
    words = ["train", *options, "--out", str(out), "--json", *more]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def of_kind(events: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def refusal(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert isinstance(caught.value.code, int)
    return caught.value.code, capsys.readouterr().err


def test_the_loss_falls_and_weights_are_left(tmp_path: Path, options: list[str]) -> None:
    events = train(tmp_path / "run", options, "--steps", "60")
    losses = [event["loss"] for event in of_kind(events, "step")]
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    (sample,) = (tmp_path / "run" / "samples" / "step-00000060").iterdir()
    with av.open(str(sample)) as video:
        sizes = [(frame.height, frame.width) for frame in video.decode(video=0)]
    assert sizes == 17 * [(64, 2 * 96)]
    first, last = of_kind(events, "validation")
    assert last["val/flow"] < first["val/flow"]
    assert events[-1] == {"event": "end", "done": True, "folder": str(tmp_path / "run")}
    assert load_editor(tmp_path / "run" / "model").sizes.num_layers == 3
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, *range(1, 61), 60]


def test_plain_words_tell_the_same(tmp_path: Path, options: list[str]) -> None:
    words = ["train", *options, "--out", str(tmp_path / "run"), "--steps", "2"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    for words_of in ("activations", "for 17 x 96x64", "step 2/2: loss", "mask IoU", "weights:"):
        assert words_of in result.output


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, options: list[str]) -> None:
    more = ["--steps", "40", "--set", "checkpoint.every_steps=5"]
    train(tmp_path / "whole", options, *more)
    killed = tmp_path / "killed"
    words = command("train", *options, "--out", killed, *more)
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
    metrics = killed / "metrics.jsonl"
    deadline_s = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 8):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    begun = of_kind(train(killed, options, *more, "--resume"), "begin")[0]["step"]
    assert 5 <= begun < 40
    ours, theirs = (load_file(tmp_path / name / "model" / WEIGHTS) for name in ("killed", "whole"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert sorted(set(steps)) == list(range(41))


def test_features_on_the_fly_are_those_of_the_cache(tmp_path: Path, options: list[str]) -> None:
    cached = train(tmp_path / "a", options, "--steps", "1")
    live = train(tmp_path / "b", options, "--steps", "1", "--set", "data.cache=null")
    assert of_kind(live, "step")[0]["loss"] == of_kind(cached, "step")[0]["loss"]


def test_a_folder_with_a_run_is_not_overwritten(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, options, "--steps", "1")
    words = ["train", *options, "--out", str(tmp_path), "--steps", "2"]
    code, message = refusal(words, capsys)
    assert code == 2
    assert "--resume" in message
    code, message = refusal([*words, "--resume", "--set", "optimiser.lr=1"], capsys)
    assert code == 2
    assert "optimiser.lr: 0.002 -> 1.0" in message


def test_a_checkpoint_without_hashes_is_resumed_where_it_is_trusted(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, options, "--steps", "1")
    path = tmp_path / "checkpoints" / "step-00000001" / "state.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in told.items() if k not in ("files", "sha256")}))
    words = ["train", *options, "--out", str(tmp_path), "--steps", "2", "--resume"]
    code, message = refusal(words, capsys)
    assert code == 5
    assert "--trust-checkpoint" in message
    told = of_kind(train(tmp_path, options, *words[-3:], "--trust-checkpoint"), "begin")
    assert told[0]["step"] == 1


def test_a_dataset_without_the_split_to_validate_with_can_be_cached(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "cache", *options, "--out", str(tmp_path), "--set", "validation.split=val"]
    code, message = refusal(words, capsys)
    assert code == 3
    assert "split `val`" in message
    result = CliRunner().invoke(cli, [*words, "--set", "validation.num_clips=0", "--json"])
    assert json.loads(result.stdout)["parts"] == 2


def test_a_split_without_clips_is_an_error(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", *options, "--out", str(tmp_path / "run"), "--set", "data.split=test"]
    code, message = refusal(words, capsys)
    assert code == 3
    assert "test" in message


@pytest.mark.slow
def test_ray_train_runs_the_same_loop(tmp_path: Path, options: list[str]) -> None:
    more = ["--steps", "4", "--set", "batch_size=1", "--ray-workers", "2"]
    words = command("train", *options, "--out", tmp_path / "run", *more)
    # Ray's own helpers look for a cluster in its folder: they must not find anybody else's there.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        place = {**environment(), "RAY_TMPDIR": folder}
        done = subprocess.run(words, env=place, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert load_editor(tmp_path / "run" / "model").sizes.num_layers == 3
    ranks = list((tmp_path / "run" / "checkpoints" / "step-00000004").glob("rng-*.pt"))
    assert len(ranks) == 2


@pytest.mark.slow
def test_two_clips_are_learnt_by_heart(tmp_path: Path, options: list[str]) -> None:
    figures = of_kind(train(tmp_path / "run", options), "validation")
    assert figures[-1]["val/flow"] < figures[0]["val/flow"] / 10
    assert figures[0]["val/given_mask_iou"] < 0.85
    assert figures[-1]["val/mask_iou"] > 0.9
