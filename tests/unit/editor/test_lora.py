"""Adapters on the tiny network."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from avipipe.editor.avi_edit.lora import (
    ADAPTER_FILE,
    LoraConfig,
    add_lora,
    load_lora,
    merge_lora,
    save_lora,
)
from avipipe.editor.avi_edit.network.loading import build
from avipipe.editor.avi_edit.network.transformer import NEW_MODULES, EditorOutput, EditorTransformer
from avipipe.editor.avi_edit.train.begin import begin
from avipipe.editor.avi_edit.train.objective import draw_at, predict
from avipipe.editor.avi_edit.train.parallel import World
from avipipe.errors import WeightsError
from tests.editor_batches import batch_of, tiny_config

ALONE = World(0, 1, torch.device("cpu"))
SIZES = tiny_config().network.sizes
WHOLE = LoraConfig(rank=4, alpha=8)
ADAPTED = LoraConfig(rank=4, alpha=8, new_modules="adapted")
BOTH = pytest.mark.parametrize("config", [WHOLE, ADAPTED], ids=["whole", "adapted"])


@torch.no_grad()
def answer(model: EditorTransformer) -> EditorOutput:
    batch = batch_of([0, 1])
    draws = draw_at(batch, [torch.Generator().manual_seed(n) for n in (0, 1)], 0.7)
    return predict(model.eval(), batch, draws, torch.float32)


def learnt(config: LoraConfig) -> EditorTransformer:
    """With adapters that do something, and new modules that have learnt if they may."""
    model = build(SIZES)
    add_lora(model, config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=generator)
                weight.add_(0.1 * noise if "lora_" in name else 0.01 * noise)
    return model


def test_adapters_change_nothing_at_first() -> None:
    plain, model = build(SIZES), build(SIZES)
    add_lora(model, LoraConfig(rank=4))
    assert torch.equal(answer(model).velocity, answer(plain).velocity)


def test_only_adapters_and_new_modules_learn() -> None:
    model = begin(tiny_config(lora={"rank": 4}), ALONE)
    learning = {name for name, w in model.named_parameters() if w.requires_grad}
    adapters = {name for name in learning if "lora_" in name}
    # 3 blocks of two attentions with four layers each, and two feed-forward layers
    assert len(adapters) == 2 * 3 * (2 * 4 + 2)
    assert all(name.startswith("blocks.") for name in adapters)
    rest = {name.split(".")[0] for name in learning - adapters}
    assert rest == set(NEW_MODULES) - {"control_embeddings", "reference_embedding"}


def test_new_modules_may_be_adapted_too() -> None:
    lora = {"rank": 4, "new_modules": "adapted"}
    model = begin(tiny_config(lora=lora, precision="bf16"), ALONE)
    learning = {name for name, w in model.named_parameters() if w.requires_grad}
    assert all("lora_" in name for name in learning)
    # as above, 2 injections of audio, and 2 blocks of the refiner with three attentions
    assert len(learning) == 2 * (3 * (2 * 4 + 2) + 2 * 4 + 2 * (3 * 4 + 2))
    types = {name: w.dtype for name, w in model.named_parameters()}
    assert {types[name] for name in learning} == {torch.float32}
    delicate = [name for name in types if "scale_shift_table" in name or "norm2" in name]
    assert {types[name] for name in delicate} == {torch.float32}
    assert types["blocks.0.attn1.to_q.base_layer.weight"] == torch.bfloat16
    assert types["refiner.blocks.0.attn1.to_q.base_layer.weight"] == torch.bfloat16


@BOTH
def test_merged_weights_are_the_adapters(config: LoraConfig) -> None:
    model = learnt(config)
    expected = answer(model)
    plain = answer(build(SIZES))
    merge_lora(model)
    assert model.state_dict().keys() == build(SIZES).state_dict().keys()
    merged = answer(model)
    torch.testing.assert_close(merged.velocity, expected.velocity, rtol=1e-4, atol=1e-5)
    assert (plain.velocity - merged.velocity).abs().max() > 0.01


@BOTH
def test_saved_adapters_and_new_modules_are_those_that_load(
    tmp_path: Path, config: LoraConfig
) -> None:
    model = learnt(config)
    save_lora(model, tmp_path, config, dict(model.state_dict()))
    loaded = build(SIZES)
    load_lora(loaded, tmp_path)
    ours, theirs = answer(loaded), answer(model)
    assert torch.equal(ours.velocity, theirs.velocity)
    torch.testing.assert_close(ours.mask_logits, theirs.mask_logits, rtol=0, atol=0)


def test_adapters_of_another_network_are_refused(tmp_path: Path) -> None:
    model = learnt(WHOLE)
    save_lora(model, tmp_path, WHOLE, dict(model.state_dict()))
    wider = build(SIZES.model_copy(update={"num_attention_heads": 4}))
    with pytest.raises(WeightsError, match=r"on this network: .*size mismatch"):
        load_lora(wider, tmp_path)
    file = tmp_path / ADAPTER_FILE
    adapters = load_file(file)
    save_file({name: adapters[name] for name in list(adapters)[1:]}, file)
    with pytest.raises(WeightsError, match=r"lacks 1 of its tensors, .*lora_A"):
        load_lora(build(SIZES), tmp_path)
    with pytest.raises(WeightsError, match=r"nothing: cannot be loaded.*lora\.json"):
        load_lora(build(SIZES), tmp_path / "nothing")
