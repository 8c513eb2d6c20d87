"""The editor's encoders as they are loaded in production, from tiny random checkpoints."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from avipipe.editor.avi_edit.data.config import EncoderConfig  # noqa: E402
from avipipe.editor.avi_edit.data.encoders import Encoders, load_encoders, tiny_encoders  # noqa: E402
from avipipe.errors import WeightsError  # noqa: E402
from tests.wan_models import WAN22_VAE, vae, wan22_encoder  # noqa: E402


def random_encoders() -> Encoders:
    """The tiny ones, with a VAE of Wan's kind where they have a codec without weights."""
    return replace(tiny_encoders(), video=wan22_encoder())


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the hub has them: the VAE and text of a diffusers pipeline, a wav2vec2 with a CTC head."""
    from transformers import Wav2Vec2ForCTC

    folder = tmp_path_factory.mktemp("weights")
    tiny = random_encoders()
    wan, hearing = folder / "wan22_ti2v_5b", folder / "wav2vec2"
    tiny.video.model.save_pretrained(wan / "vae")
    tiny.text.model.save_pretrained(wan / "text_encoder")
    tiny.text.tokenizer.save_pretrained(wan / "tokenizer")
    config = tiny.audio.model.config
    config.vocab_size = 5
    head: Any = Wav2Vec2ForCTC(config)
    head.wav2vec2.load_state_dict(tiny.audio.model.state_dict())
    head.save_pretrained(hearing)
    tiny.audio.extractor.save_pretrained(hearing)
    return folder


def config_of(folder: Path, **changes: Any) -> EncoderConfig:
    values = {"wan": folder / "wan22_ti2v_5b", "wav2vec2": folder / "wav2vec2"}
    return EncoderConfig(**{**values, **changes})


def features(encoders: Encoders) -> list[Any]:
    draw = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (5, 32, 64, 3), generator=draw, dtype=torch.uint8)
    wave = 0.1 * torch.randn(4000, generator=draw)
    latents = encoders.video.encode(video)
    text = encoders.text.encode("hi all")
    return [*latents, text, encoders.audio.encode(wave)]


def test_loaded_encoders_give_the_features_of_those_that_were_saved(checkpoints: Path) -> None:
    loaded = load_encoders(config_of(checkpoints, precision="fp32"))
    saved = random_encoders()
    for one, other in zip(features(loaded), features(saved), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        assert not one.requires_grad
    assert loaded.audio_shape == saved.audio_shape == (3, 8)


def test_features_have_the_type_that_is_asked_for(checkpoints: Path) -> None:
    loaded = load_encoders(config_of(checkpoints))
    assert {feature.dtype for feature in features(loaded)} == {torch.bfloat16}
    assert next(loaded.audio.model.parameters()).dtype == torch.float32


def test_latents_are_normalised_gaussians_of_the_vae(checkpoints: Path) -> None:
    encoder = load_encoders(config_of(checkpoints, precision="fp32")).video
    video = torch.randint(0, 256, (5, 32, 64, 3), dtype=torch.uint8)
    found = encoder.encode(video)
    pixels = video.permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.no_grad():
        expected = encoder.model.encode(pixels).latent_dist
    assert found.mean.shape == (4, 2, 2, 4)
    torch.testing.assert_close(found.mean, (expected.mode()[0] - 0.1) / 0.5)
    assert found.logvar is not None
    torch.testing.assert_close(torch.exp(0.5 * found.logvar), expected.std[0] / 0.5)


def test_texts_are_cut_to_the_most_tokens_and_never_padded(checkpoints: Path) -> None:
    encoder = load_encoders(config_of(checkpoints, precision="fp32")).text
    assert len(encoder.encode("a" * 600)) == 512
    assert len(encoder.encode("abc")) == 4  # with the end
    assert torch.equal(encoder.encode(" a\n b "), encoder.encode("a b"))
    padded = encoder.tokenizer("abc", padding="max_length", max_length=32, return_tensors="pt")
    with torch.no_grad():
        states = encoder.model(padded.input_ids, padded.attention_mask).last_hidden_state[0]
    torch.testing.assert_close(encoder.encode("abc"), states[:4], rtol=1e-4, atol=1e-5)


def test_sound_is_heard_whatever_its_level(checkpoints: Path) -> None:
    encoder = load_encoders(config_of(checkpoints, precision="fp32")).audio
    wave = torch.randn(16_000, generator=torch.Generator().manual_seed(1))
    states = encoder.encode(0.1 * wave)
    assert states.shape == (3, 49, 8)
    torch.testing.assert_close(encoder.encode(0.3 * wave + 0.05), states, rtol=1e-3, atol=1e-4)


def test_identities_follow_the_weights(checkpoints: Path, tmp_path: Path) -> None:
    one = load_encoders(config_of(checkpoints))
    same = load_encoders(config_of(checkpoints))
    full = load_encoders(config_of(checkpoints, precision="fp32"))
    folder = tmp_path / "weights"
    shutil.copytree(checkpoints, folder)
    vae(**WAN22_VAE).save_pretrained(folder / "wan22_ti2v_5b" / "vae")
    other = load_encoders(config_of(folder))
    assert one.video.identity == same.video.identity
    assert len({one.video.identity, full.video.identity, other.video.identity}) == 3
    assert one.text.identity == other.text.identity
    assert one.audio.identity == other.audio.identity


def test_pulled_weights_are_found(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wan = checkpoints / "wan22_ti2v_5b"
    for name in ("model_index.json", "transformer/config.json", "scheduler/config.json"):
        (wan / name).parent.mkdir(exist_ok=True)
        (wan / name).write_text("{}")
    (wan / "transformer" / "weights.safetensors").touch()
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(checkpoints))
    found = load_encoders(EncoderConfig())
    assert found.video.identity == load_encoders(config_of(checkpoints)).video.identity


def test_missing_and_broken_weights_are_named(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("AVIPIPE_CACHE_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="avipipe weights pull wan22_ti2v_5b"):
        load_encoders(EncoderConfig())
    with pytest.raises(WeightsError, match="vae: cannot be loaded as AutoencoderKLWan"):
        load_encoders(config_of(tmp_path))
    folder = tmp_path / "weights"
    shutil.copytree(checkpoints, folder)
    path = folder / "wav2vec2" / "model.safetensors"
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    tensors.pop("wav2vec2.feature_projection.projection.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(
        WeightsError,
        match=r"whole of Wav2Vec2Model: it lacks 1 .*projection\.weight",
    ):
        load_encoders(config_of(folder))
