"""A tiny random HTSAT in the layout of LAION-CLAP's checkpoints, through the real loader."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import ClapAudioConfig, ClapAudioModel

from avipipe.errors import AnnotatorError, WeightsError
from avipipe.evaluate.extractors.htsat import HtsatBase
from avipipe.evaluate.metrics.lpaps import lpaps_channels, lpaps_zeus

RATE_HZ = 16_000
NAMES = {
    ".layernorm_before.": ".norm1.",
    ".layernorm_after.": ".norm2.",
    ".attention.output.dense.": ".attn.proj.",
    ".attention.self.": ".attn.",
    ".intermediate.dense.": ".mlp.fc1.",
    ".output.dense.": ".mlp.fc2.",
    "batch_norm.": "bn0.",
}


def tiny() -> Any:
    torch.manual_seed(3)
    config = ClapAudioConfig(
        patch_embeds_hidden_size=8,
        hidden_size=64,
        depths=[1, 2, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
        enable_fusion=False,
    )
    model: Any = ClapAudioModel(config)
    model.eval()
    model.audio_encoder.batch_norm.running_mean -= 40
    model.audio_encoder.batch_norm.running_var *= 400
    return model


def laion(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The names of LAION-CLAP for those of transformers, queries, keys and values in one."""
    for name, tensor in state.items():
        own = name.removeprefix("audio_encoder.")
        for theirs, ours in NAMES.items():
            own = own.replace(theirs, ours)
        if own.endswith(("relative_position_index", "num_batches_tracked")):
            continue
        if ".query." in own:
            parts = [state[name.replace("query", part)] for part in ("query", "key", "value")]
            yield own.replace(".query.", ".qkv."), torch.cat(parts)
        elif ".key." not in own and ".value." not in own:
            yield own, tensor


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    path = tmp_path / "clap_htsat_base" / "music_speech_epoch_15_esc_89.25.pt"
    path.parent.mkdir()
    return path


def write(path: Path, state: Mapping[str, Tensor]) -> None:
    """As LAION saved it: by several GPUs, with a number of numpy 1 beside the tensors."""
    tensors = {f"module.audio_branch.{name}": tensor for name, tensor in state.items()}
    tensors["module.audio_branch.head.weight"] = torch.zeros(2, 2)
    tensors["module.text_branch.pooler.weight"] = torch.zeros(2, 2)
    checkpoint = {"epoch": 15, "name": "tiny", "loss": np.float64(1.5), "state_dict": tensors}
    new = path.with_suffix(".new")
    torch.save(checkpoint, new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            content = source.read(item)
            if item.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(item.filename, content)
    new.unlink()


def sound(seconds: float, seed: int = 0) -> Any:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    return (0.1 * noise).astype(np.float32)


def test_the_tower_of_a_checkpoint_is_found_by_its_sizes(path: Path) -> None:
    model = tiny()
    write(path, dict(laion(model.state_dict())))
    htsat = HtsatBase()
    htsat.setup()
    a, b = sound(1.0), sound(1.0, seed=1)
    stages = htsat.stages(a, sample_rate_hz=RATE_HZ)
    log_mel = htsat.log_mel(htsat.resampled(a, sample_rate_hz=RATE_HZ))
    with torch.inference_mode():
        expected = model(torch.from_numpy(log_mel)[None, None], output_hidden_states=True)
    for found, hidden in zip(stages, expected.hidden_states[1:], strict=True):
        np.testing.assert_allclose(found, hidden[0].flatten(1).T.numpy(), atol=1e-5)
    assert [stage.shape for stage in stages] == [(1024, 16), (256, 32), (64, 64), (64, 64)]
    other = htsat.stages(b, sample_rate_hz=RATE_HZ)
    for distance in (lpaps_zeus, lpaps_channels):
        assert distance(stages, stages) == 0
        assert distance(stages, other) > 0


def test_long_and_empty_sound_is_refused_by_the_network_and_cut_into_windows(path: Path) -> None:
    write(path, dict(laion(tiny().state_dict())))
    htsat = HtsatBase()
    htsat.setup()
    with pytest.raises(AnnotatorError, match="at most 10 s"):
        htsat.stages(sound(10.1), sample_rate_hz=RATE_HZ)
    with pytest.raises(AnnotatorError, match="at least one"):
        htsat.stages(sound(0), sample_rate_hz=RATE_HZ)
    assert len(htsat.windows(sound(1.2), sample_rate_hz=RATE_HZ, window_s=0.5)) == 3
    assert htsat.windows(sound(0), sample_rate_hz=RATE_HZ) == []


@pytest.mark.parametrize("lost", ["norm.weight", "patch_embed.proj.weight"])
def test_a_part_of_a_tower_is_refused(path: Path, lost: str) -> None:
    state = dict(laion(tiny().state_dict()))
    del state[lost]
    write(path, state)
    with pytest.raises(WeightsError, match="weights pull clap_htsat_base"):
        HtsatBase().setup()
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="weights pull clap_htsat_base"):
        HtsatBase().setup()
