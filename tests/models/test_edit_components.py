"""The models that edit, loaded as in production from tiny checkpoints on disk."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from pydantic import ValidationError  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from avipipe.editor.avi_edit import sizes as sizes_config  # noqa: E402
from avipipe.editor.avi_edit.components import Components, load_components  # noqa: E402
from avipipe.editor.avi_edit.config import ModelConfig, SampleConfig  # noqa: E402
from avipipe.editor.avi_edit.convert import NOT_RELEASED, released_name  # noqa: E402
from avipipe.editor.avi_edit.data.encoders import tiny_encoders  # noqa: E402
from avipipe.editor.avi_edit.lora import LoraConfig, add_lora, merge_lora  # noqa: E402
from avipipe.editor.avi_edit.network.loading import build  # noqa: E402
from avipipe.editor.avi_edit.network.transformer import EditorTransformer  # noqa: E402
from avipipe.editor.avi_edit.run_folder import CONFIG, MODEL  # noqa: E402
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig  # noqa: E402
from avipipe.editor.avi_edit.solve import Conditions  # noqa: E402
from avipipe.editor.avi_edit.train.config import TrainConfig  # noqa: E402
from avipipe.editor.avi_edit.train.export import export  # noqa: E402
from avipipe.editor.avi_edit.train.parallel import World  # noqa: E402
from avipipe.errors import ConfigError, RunError, WeightsError  # noqa: E402
from tests.editor_batches import BUCKET, tiny_config  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.wan_models import WAN22_VAE, vae, wan22_encoder  # noqa: E402

TINY = EditorConfig.preset("tiny")
ALONE = World(0, 1, torch.device("cpu"))


def stirred(model: EditorTransformer) -> EditorTransformer:
    """No part is left as it begins, so that all weights matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def a_run(folder: Path, model: EditorTransformer, **changes: Any) -> TrainConfig:
    """What `avipipe train` leaves behind."""
    changes.setdefault("data", {"dataset": "none", "buckets": [BUCKET]})
    changes["data"].setdefault("encoders", {"preset": "tiny", "precision": "fp32"})
    config = tiny_config(**changes)
    folder.mkdir(parents=True)
    written = yaml.safe_dump(config.model_dump(mode="json"))
    (folder / CONFIG).write_text(written, encoding="utf-8")
    export(model, config, folder / MODEL, ALONE)
    return config


def edited(models: Components) -> Tensor:
    """A small edit from frames to latents, with all that is asked of the models."""
    draw = np.random.default_rng(0)
    frames = draw.integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    wave_N = draw.standard_normal(6000).astype(np.float32)
    mask = torch.zeros(1, 1, 3, 4, 6, dtype=torch.bool)
    mask[..., 1:3, 1:4] = True
    edit = Conditions(
        latents=models.encode_video(frames),
        mask=mask,
        precision=4,
        text=models.encode_text("a dog"),
        no_text=models.encode_text(""),
        audio=models.encode_sound(wave_N, 9),
        controls={"scribble": models.encode_video(frames)},
        references=models.encode_video(frames[:1]),
    )
    solution = models.solve(edit, SampleConfig(num_steps=2))
    outside = ~solution.mask.expand_as(solution.latents)
    assert torch.equal(solution.latents[outside], edit.latents[outside])
    pictures = models.decode(solution.latents)
    assert pictures.shape == frames.shape
    assert pictures.dtype == np.uint8
    return solution.latents


def test_a_whole_run_edits_with_its_own_encoders_and_sizes(tmp_path: Path) -> None:
    model = stirred(build(TINY))
    a_run(tmp_path / "run", model)
    models = load_components(ModelConfig(network=tmp_path / "run"))
    assert models.buckets == (BUCKET,)
    assert models.network.sizes == TINY
    assert not any(weight.requires_grad for weight in models.network.parameters())
    for name, weight in model.state_dict().items():
        assert torch.equal(models.network.state_dict()[name], weight), name
    same = load_components(ModelConfig(network=tmp_path / "run" / MODEL))
    assert same.identity == models.identity
    assert torch.equal(edited(same), edited(models))


@pytest.mark.parametrize("new_modules", ["whole", "adapted"])
def test_adapters_are_merged_into_what_they_adapt(tmp_path: Path, new_modules: str) -> None:
    lora = {"rank": 2, "alpha": 4, "new_modules": new_modules}
    model = build(TINY)
    add_lora(model, LoraConfig.model_validate(lora))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    a_run(tmp_path / "run", model, lora=lora)
    merge_lora(model)
    models = load_components(ModelConfig(network=tmp_path / "run"))
    merged = models.network.state_dict()
    assert merged.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(merged[name], weight, msg=name)
    edited(models)


def test_adapters_alone_do_not_say_what_they_adapt(tmp_path: Path) -> None:
    model, lora = build(TINY), LoraConfig(rank=2)
    add_lora(model, lora)
    a_run(tmp_path / "run", model, lora=lora.model_dump())
    alone = tmp_path / "alone"
    shutil.copytree(tmp_path / "run" / MODEL, alone)
    with pytest.raises(ConfigError, match="nothing beside it says what they adapt"):
        load_components(ModelConfig(network=alone))


def released(folder: Path, model: EditorTransformer) -> None:
    """A network as AVI-Edit's checkpoint holds it."""
    folder.mkdir(parents=True)
    ours = model.state_dict()
    weights = {
        released_name(key, TINY): weight
        for key, weight in ours.items()
        if not key.startswith((*NOT_RELEASED, "patch_embedding.weight", "mask_embedding"))
    }
    joined = [ours[f"{part}_embedding.weight"] for part in ("patch", "mask")]
    weights["patch_embedding.weight"] = torch.cat(joined, dim=1)
    mix, padding = "casual_audio_encoder.weights", "casual_audio_encoder.encoder.padding_tokens"
    weights[mix] = weights[mix].view(1, -1, 1, 1)
    weights[padding] = weights[padding].view(1, 1, 1, -1)
    torch.save(weights, folder / "avi_edit.pt")


@pytest.fixture
def pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with tiny encoders where Wan's and wav2vec2's lie."""
    monkeypatch.setitem(sizes_config._PRESETS, "wan2.2-5b", TINY.model_dump())
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("AVIPIPE_CACHE_DIR", str(tmp_path / "cache"))
    tiny, wan = tiny_encoders(), tmp_path / "wan22_ti2v_5b"
    vae(**WAN22_VAE, z_dim=TINY.in_channels).save_pretrained(wan / "vae")
    tiny.text.model.save_pretrained(wan / "text_encoder")
    tiny.text.tokenizer.save_pretrained(wan / "tokenizer")
    tiny.audio.model.save_pretrained(tmp_path / "wav2vec2")
    tiny.audio.extractor.save_pretrained(tmp_path / "wav2vec2")
    for name in ("model_index.json", "transformer/config.json", "scheduler/config.json"):
        (wan / name).parent.mkdir(exist_ok=True)
        (wan / name).write_text("{}")
    (wan / "transformer" / "weights.safetensors").touch()
    return tmp_path


def test_the_released_checkpoint_edits_by_default(pulled: Path) -> None:
    model = stirred(build(TINY))
    released(pulled / "avi_edit", model)
    small: dict[str, Any] = {"size": (96, 64), "num_frames": 9}
    models = load_components(ModelConfig(precision="fp32"), **small)
    assert models.buckets[0] == Bucket(81, 704, 1280)
    assert models.encoders.video.model.dtype == torch.bfloat16
    for name, weight in model.state_dict().items():
        if not name.startswith(NOT_RELEASED):
            assert torch.equal(models.network.state_dict()[name], weight), name
    half = load_components(ModelConfig(network=pulled / "avi_edit" / "avi_edit.pt"), **small)
    types = {name: weight.dtype for name, weight in half.network.named_parameters()}
    assert types["blocks.0.attn1.to_q.weight"] == torch.bfloat16
    assert types["blocks.0.scale_shift_table"] == torch.float32  # as diffusers loads Wan
    edited(half)


def test_missing_weights_are_named_with_their_purpose_licence_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("AVIPIPE_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(WeightsError) as caught:
        load_components(ModelConfig())
    for part in (
        "3 weights are missing",
        "`avi_edit`, for editing video as AVI-Edit does (Apache-2.0",
        "`wan22_ti2v_5b`, for editing video (Apache-2.0)",
        "`wav2vec2`, for hearing the sound of an edit",
        "avipipe weights pull avi_edit wan22_ti2v_5b wav2vec2",
    ):
        assert part in str(caught.value)
    with pytest.raises(WeightsError, match="the weight `avi_edit` is missing"):
        load_components(ModelConfig(encoders=tiny_run_encoders()))
    with pytest.raises(WeightsError, match=r"expected a network at .*nowhere, found nothing"):
        load_components(ModelConfig(network=tmp_path / "nowhere"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(WeightsError, match="expected a network that `avipipe train` left"):
        load_components(ModelConfig(network=tmp_path / "folder", encoders=tiny_run_encoders()))


def tiny_run_encoders() -> Any:
    return tiny_config().data.encoders.model_copy(update={"preset": "tiny", "precision": "fp32"})


def test_other_bytes_than_the_lock_names_are_refused(
    pulled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(pulled / "avi_edit", build(TINY))
    lock(monkeypatch, pulled, "avi_edit")
    path = pulled / "avi_edit" / "avi_edit.pt"
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(WeightsError, match="the weight `avi_edit` is corrupted"):
        load_components(ModelConfig())


def test_a_run_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    a_run(tmp_path / "run", build(TINY))
    from safetensors.torch import load_file, save_file

    path = tmp_path / "run" / MODEL / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights.pop("mask_embedding.weight")
    save_file(weights, path)
    with pytest.raises(WeightsError, match=r"lacks 1 .* mask_embedding\.weight\."):
        load_components(ModelConfig(network=tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled_blocks_edit_alike(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    a_run(tmp_path / "run", stirred(build(TINY)))
    plain, compiled = (
        edited(load_components(ModelConfig(network=tmp_path / "run", compile=compiles)))
        for compiles in (False, True)
    )
    torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-4)


def test_blocks_that_come_and_go_are_not_compiled() -> None:
    with pytest.raises(ValidationError, match="compile does not go together with offload: blocks"):
        ModelConfig(compile=True, offload="blocks")


def test_offloading_and_tiles_change_no_edit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a GPU nothing moves, but all goes the same way."""
    a_run(tmp_path / "run", stirred(build(TINY)))
    plain = edited(load_components(ModelConfig(network=tmp_path / "run")))
    for way in ({"offload": "models"}, {"offload": "blocks"}, {"tiled_vae": True}):
        models = load_components(ModelConfig(network=tmp_path / "run", **cast(Any, way)))
        assert torch.equal(edited(models), plain), way
        assert torch.equal(edited(models), plain), way  # and once more, after moving back
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_tiles_show_the_same_picture() -> None:
    latents = torch.randn(4, 1, 4, 24, generator=torch.Generator().manual_seed(0))
    coder = wan22_encoder()
    whole = coder.decode(latents)
    coder.model.enable_tiling()
    tiled = coder.decode(latents)
    assert whole.shape == tiled.shape == (1, 64, 384, 3)
    assert not torch.equal(whole, tiled)  # more than one tile
    assert (whole.int() - tiled.int()).abs().float().mean() < 1


def test_too_little_memory_is_told_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(tmp_path / "run", build(TINY))
    weights = tmp_path / "run" / MODEL / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"not even looked at")
    monkeypatch.setattr("avipipe.editor.common.needs.device_bytes", lambda device: 1000)
    with pytest.raises(RunError) as caught:
        load_components(ModelConfig(network=tmp_path / "run"))
    for part in ("too little memory", "solving", "of 0.0 MiB", "--set models.offload=models: "):
        assert part in str(caught.value)


def test_there_must_be_a_gpu_where_one_is_asked_for() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="torch finds no GPU here"):
        load_components(ModelConfig(device="cuda"))


def test_the_identity_follows_the_weights(tmp_path: Path) -> None:
    a_run(tmp_path / "one", build(TINY))
    a_run(tmp_path / "other", build(TINY, seed=1))
    one, other = (load_components(ModelConfig(network=tmp_path / n)) for n in ("one", "other"))
    assert one.identity["network"] != other.identity["network"]
    assert one.identity["video"] == other.identity["video"]
    assert json.dumps(dict(one.identity))


def test_decoding_undoes_encoding(tmp_path: Path) -> None:
    """Of pixels: a codec of equal blocks gives them back."""
    a_run(tmp_path / "run", build(TINY))
    models = load_components(ModelConfig(network=tmp_path / "run"))
    vae = models.encoders.video.model
    latents = torch.randn(1, 12, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    scaled = latents * 0.5  # as the codec's own statistics say
    with torch.no_grad():
        expected = cast(nn.Module, vae).decode(scaled).sample  # type: ignore[operator]
    pixels = ((expected[0].permute(1, 2, 3, 0) + 1) * 127.5).round().clamp(0, 255)
    assert np.array_equal(models.decode(latents), pixels.byte().numpy())
