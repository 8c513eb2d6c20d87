"""Figures of steps, and where they are written."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from avipipe.editor.avi_edit.flops import forward_flops
from avipipe.editor.avi_edit.lora import LoraConfig
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.train.metrics import (
    JsonLines,
    Meter,
    TensorBoard,
    WandB,
    learning_flops,
)
from avipipe.errors import ConfigError

BUCKET = Bucket(9, 64, 96)
TINY = EditorConfig.preset("tiny")


def test_a_step_is_measured_by_its_clips() -> None:
    meter = Meter(TINY, torch.device("cpu"))
    meter.begin()
    meter.waited(0.01)
    meter.worked(BUCKET, 2)
    meter.worked(BUCKET, 1)
    time.sleep(0.05)
    figures = meter.end()
    seconds = figures["step_time_s"]
    assert seconds is not None
    assert seconds >= 0.05
    assert figures["data_wait_s"] == 0.01
    assert figures["samples_per_s"] == pytest.approx(3 / seconds, rel=0.01)
    assert figures["latent_tokens_per_s"] == pytest.approx(
        3 * BUCKET.num_tokens / seconds, rel=0.01
    )
    assert figures["mfu"] is None
    assert figures["peak_memory_bytes"]


def test_frozen_parts_save_a_pass() -> None:
    whole, forward = learning_flops(TINY, BUCKET, None), forward_flops(TINY, BUCKET)
    assert whole == 3 * forward.total
    assert learning_flops(TINY, BUCKET, LoraConfig()) == whole - forward.backbone
    adapted = LoraConfig(new_modules="adapted")
    assert learning_flops(TINY, BUCKET, adapted) == whole - forward.total


def test_a_resumed_run_goes_on_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = JsonLines(path, num_steps=0)
    for step in (1, 2, 3):
        first.write(step, {"loss": step / 10})
    first.close()
    with path.open("ab") as file:
        file.write(b'\xff{"step": 1}\n[]\n{"step": 4, "lo')
    second = JsonLines(path, num_steps=2)
    second.write(3, {"loss": 0.7})
    second.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 0.1), (2, 0.2), (3, 0.7)]


def test_tensorboard_holds_figures_and_moving_pictures(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    sink = TensorBoard(tmp_path)
    sink.write(3, {"loss": 0.5, "mfu": None})
    shades = np.arange(0, 170, 10, dtype=np.uint8)
    frames_FHWC = np.broadcast_to(shades[:, None, None, None], (17, 64, 96, 3))
    sink.show(3, {"clip": frames_FHWC})
    sink.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]
    (image,) = events.Images("val/clip")
    with Image.open(io.BytesIO(image.encoded_image_string)) as gif:
        assert (gif.size, gif.info["duration"]) == ((96, 64), 120)  # GIF counts in 10 ms
        pages = [np.asarray(page.convert("L")) for page in ImageSequence.all_frames(gif)]
    assert [page.mean() for page in pages] == [0, 30, 60, 90, 120, 150]


def test_a_sink_whose_package_is_missing_says_so(tmp_path: Path) -> None:
    for name, make in (
        ("tensorboard", lambda: TensorBoard(tmp_path)),
        ("wandb", lambda: WandB("project", tmp_path, {})),
    ):
        try:
            __import__(name)
        except ImportError:
            with pytest.raises(ConfigError, match=f"pip install {name}"):
                make()
