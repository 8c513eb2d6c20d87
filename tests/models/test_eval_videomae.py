"""VideoMAE-v2 for the content-debiased FVD, against the VideoMAE of transformers, on tiny sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

from avipipe.errors import WeightsError  # noqa: E402
from avipipe.evaluate.cases import Case, completed  # noqa: E402
from avipipe.evaluate.extractors import fvd_views  # noqa: E402
from avipipe.evaluate.extractors.videomae import VideoMaeV2  # noqa: E402
from avipipe.evaluate.measuring import measure  # noqa: E402
from avipipe.evaluate.metrics.undefined import Undefined  # noqa: E402
from tests.integration import lavfi  # noqa: E402
from tests.models.locked import lock  # noqa: E402

FILE = "mae-g/vit_g_hybrid_pt_1200e_ssv2_ft.pth"
NAMES = {
    "videomae.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "videomae.encoder.layer.": "blocks.",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "attention.attention.": "attn.",
    "query.bias": "q_bias",
    "value.bias": "v_bias",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "classifier.": "head.",
}
"""Parts as transformers names them -> as the checkpoint does."""


@pytest.fixture(scope="module")
def reference() -> Any:
    config = transformers.VideoMAEConfig(
        patch_size=56,
        hidden_size=88,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=96,
        layer_norm_eps=1e-6,
        use_mean_pooling=True,
    )
    torch.manual_seed(0)
    model = transformers.VideoMAEForVideoClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.fc_norm.eps = 1e-6  # transformers has another than VideoMAE's own code
    return model


def official(reference: Any) -> dict[str, Any]:
    """The model's tensors as the checkpoint has them: queries, keys and values in one."""
    state = {}
    for name, tensor in reference.state_dict().items():
        for theirs, official_name in NAMES.items():
            name = name.replace(theirs, official_name)
        state[name] = tensor
    for name in [name for name in state if name.endswith("query.weight")]:
        parts = [state.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        state[name.replace("query", "qkv")] = torch.cat(parts)
    return state


def load(state: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> VideoMaeV2:
    path = folder / "videomae_v2" / FILE
    path.parent.mkdir(parents=True)
    torch.save({"module": state}, path)
    lock(patch, folder, "videomae_v2")
    extractor = VideoMaeV2()
    extractor.setup()
    return extractor


def test_features_are_those_of_transformers(
    reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = load(official(reference), tmp_path, monkeypatch)
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 30, 50, 3), dtype=np.uint8)
    video_BCTHW = fvd_views.cdfvd_videomae(frames)
    with torch.inference_mode():
        tokens = reference.videomae(video_BCTHW.transpose(1, 2)).last_hidden_state
        expected = reference.fc_norm(tokens.mean(dim=1)).numpy()
    np.testing.assert_allclose(extractor.features(video_BCTHW), expected, atol=1e-5)
    assert extractor.features(video_BCTHW[:, :, :9]).shape == (2, 88)
    with pytest.raises(Undefined, match="1 frames"):
        extractor.features(video_BCTHW[:, :, :1])


def test_what_lacks_a_tensor_is_refused(
    reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = official(reference)
    del state["blocks.1.norm2.weight"]
    with pytest.raises(WeightsError, match=r"lacks 1 of its tensors, blocks\.1\.norm2\.weight"):
        load(state, tmp_path, monkeypatch)


def test_a_case_has_features_for_the_metrics_of_sets(
    reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(official(reference), tmp_path, monkeypatch)
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})
    own = [
        lavfi.write(tmp_path / f"{name}.mp4", video=lavfi.picture(size=size, duration_s=duration_s))
        for name, size, duration_s in (
            ("a", "64x48", 1.0),
            ("b", "48x64", 1.0),
            ("c", "64x48", 0.5),
        )
    ]
    cases = [Case(name=edit.stem, method="m", source=own[0], edit=edit) for edit in own]
    same, other, short = measure(completed(cases, "test"), ["kvd.videomae"], tmp_path / "work")
    for found in (same, other):
        pair = found.features["videomae.cdfvd"].pair
        assert pair is not None
        assert pair.source_ND.shape == pair.edit_MD.shape == (1, 88)
        assert np.array_equal(*pair) == (found is same)
    assert short.features["videomae.cdfvd"].score.status == "undefined"
    assert "16 are compared" in short.features["videomae.cdfvd"].score.reason
