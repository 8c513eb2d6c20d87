"""Synchformer, tiny and by seed, through the real loader, against numbers of its official code.

The numbers were made with hkchengrex/av-benchmark@050a5cd (its part of v-iashin/Synchformer, MIT
licence); weights and views are drawn anew.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.errors import WeightsError
from avipipe.evaluate.extractors.networks.synchformer import Synchformer
from avipipe.evaluate.extractors.synchformer import SynchformerAudioSet
from avipipe.evaluate.metrics.desync import desync_s
from avipipe.evaluate.metrics.undefined import Undefined
from tests.models.drawn import drawn_state, drawn_views

DIM, NUM_CLASSES = 24, 21
NUM_TOKENS = 1 + 14 * 8 + 1 + 14 * 6

SEEN = [3.53865, -0.34344, -1.08094, 0.96757, 1.57033, 0.84251, 0.22551, -1.10926]
HEARD = [1.12204, -3.05998, -4.09674, -1.14703, -3.9645, 10.78158, -6.63956, 3.13043]
LOGITS = [-0.49621, 4.22029, -2.36849, 3.21436, 0.71705, -2.01564, 0.19051]


def state() -> dict[str, Tensor]:
    """A network of two layers in each part, drawn by the names of its tensors."""
    sizes = {
        "vproj.bias": torch.zeros(DIM),
        "transformer.pos_emb_cfg.pos_emb": torch.zeros(1, NUM_TOKENS, DIM),
        "transformer.off_head.bias": torch.zeros(NUM_CLASSES),
    }
    for layers in ("vfeat_extractor.blocks", "afeat_extractor.ast.encoder.layer"):
        sizes |= {f"{layers}.{number}.": torch.zeros(1) for number in range(2)}
    sizes |= {f"transformer.blocks.{number}.": torch.zeros(1) for number in range(2)}
    tensors = Synchformer(sizes).state_dict().items()
    return drawn_state({name: tuple(tensor.shape) for name, tensor in tensors})


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    path = tmp_path / "synchformer_state_dict.pth"
    tensors = state()
    tensors["vfeat_extractor.patch_embed.proj.bias"] = torch.zeros(DIM)  # unused, as in the file
    torch.save(tensors, path)
    return path


@torch.inference_mode()
def test_features_and_logits_are_those_of_the_official_network() -> None:
    network = Synchformer(state()).eval()
    network.load_state_dict(state())
    seen = network.see(torch.from_numpy(drawn_views(1, 1, 16, 3, 224, 224)))
    heard = network.hear(torch.from_numpy(drawn_views(2, 2, 1, 128, 66)))
    features = (
        torch.from_numpy(drawn_views(seed, 14, steps, DIM)) for seed, steps in ((3, 8), (4, 6))
    )
    logits = network.compare(*features)
    assert seen.shape == (1, 8, DIM)
    assert heard.shape == (2, 6, DIM)
    np.testing.assert_allclose(seen[0, 5, :8], SEEN, atol=1e-4)
    np.testing.assert_allclose(heard[1, 4, :8], HEARD, atol=1e-4)
    np.testing.assert_allclose(logits[::3], LOGITS, atol=1e-4)


@pytest.mark.usefixtures("path")
def test_both_ends_of_a_clip_are_compared_and_short_ones_have_no_desync() -> None:
    synchformer = SynchformerAudioSet()
    synchformer.setup()
    rng = np.random.default_rng(7)
    base = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    wave = drawn_views(8, 16_000 * 6)
    frames = np.stack([np.roll(base, 3 * k, axis=1) for k in range(130)])
    logits = synchformer.logits(frames, wave)
    assert logits.shape == (2, NUM_CLASSES)
    assert np.abs(logits[0] - logits[1]).max() > 1e-4
    assert 0 <= desync_s(logits) <= 2
    first_only = synchformer.logits(frames[:120], wave)
    np.testing.assert_allclose(first_only[0], first_only[1], atol=1e-6)
    np.testing.assert_allclose(first_only[0], logits[0], atol=1e-4)
    with pytest.raises(Undefined, match=r"4\.8 s"):
        desync_s(synchformer.logits(frames[:119], wave))


@pytest.mark.parametrize("lost", ["vproj.bias", "afeat_extractor.freq_attn_agg.cls_token"])
def test_a_part_of_a_network_is_refused(path: Path, lost: str) -> None:
    tensors = state()
    del tensors[lost]
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match="weights pull synchformer"):
        SynchformerAudioSet().setup()
