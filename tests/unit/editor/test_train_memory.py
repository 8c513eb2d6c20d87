"""The memory plan against what the network really keeps."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from avipipe.editor.avi_edit.network.loading import build
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.train.begin import begin
from avipipe.editor.avi_edit.train.memory import Activations, plan_memory, trace_activations
from avipipe.editor.avi_edit.train.objective import draw_at, predict
from avipipe.editor.avi_edit.train.parallel import World
from tests.editor_batches import BUCKET, batch_of, tiny_config

ALONE = World(0, 1, torch.device("cpu"))


def test_the_trace_counts_what_autograd_keeps() -> None:
    config = EditorConfig.preset("tiny")
    model = build(config).train()
    weights = {weight.data_ptr() for weight in model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = batch_of([0])
    draws = draw_at(batch, [torch.Generator()], 0.5)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        predict(model, batch, draws, torch.float32)
    really = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    trace = trace_activations(config, BUCKET, torch.float32)
    assert trace.peak_bytes(()) == pytest.approx(really, rel=0.15)


def test_checkpointing_keeps_inputs_and_one_layer() -> None:
    trace = Activations(around=100, layers=(50, 70, 60), inputs=(5, 6, 7))
    assert trace.peak_bytes(()) == 100 + 180
    assert trace.peak_bytes((0, 1, 2)) == 100 + 18 + 70
    assert trace.peak_bytes((0,)) == 100 + 5 + 130 + 50


def test_longer_clips_need_more() -> None:
    config = EditorConfig.preset("tiny")
    short, long = (
        trace_activations(config, Bucket(frames, 64, 96), torch.float32) for frames in (9, 17)
    )
    assert long.peak_bytes(()) > 1.5 * short.peak_bytes(())


def test_states_are_counted_by_their_types() -> None:
    config = tiny_config()
    model = begin(config, ALONE)
    plan = plan_memory(config, ALONE, encoders_bytes=5)
    learning = sum(w.numel() for w in model.parameters() if w.requires_grad)
    held = {
        "weights": 4 * sum(w.numel() for w in model.parameters()),
        "gradients": 4 * learning,
        "optimiser": 8 * learning,
        "moving average": 4 * learning,
        "encoders": 5,
    }
    assert plan.always == held
    assert plan.peak_bytes == sum(held.values()) + max(plan.phases.values())
    assert plan.fits
    assert not any("would help" in line for line in plan.lines())


def test_a_plan_that_does_not_fit_says_what_would_help() -> None:
    config = tiny_config(batch_size=4, checkpoint_layers="none")
    plan = plan_memory(config, ALONE, encoders_bytes=1 << 20)
    text = "\n".join(replace(plan, device_bytes=1000).lines())
    for change in (
        "data.cache",
        "checkpoint_layers=all",
        "batch_size=1 accumulate=4",
        "ema",
        "8bit",
    ):
        assert change in text
    assert "0.0 MiB less" not in text


def test_adapters_leave_little_to_learn_and_processes_share_it() -> None:
    config = tiny_config(lora={"rank": 2, "alpha": 2, "new_modules": "adapted"}, precision="bf16")
    model = begin(config, ALONE)
    alone, shared = (plan_memory(config, replace(ALONE, size=size)) for size in (1, 4))
    assert alone.always["weights"] == sum(weight.nbytes for weight in model.parameters())
    assert alone.always["gradients"] < alone.always["weights"] / 2
    for part, count in alone.always.items():
        assert shared.always[part] == pytest.approx(count / 4, abs=1)
    assert shared.phases == alone.phases
