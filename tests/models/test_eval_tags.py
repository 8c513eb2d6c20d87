"""KL of what taggers hear: Cnn14 and AST as they are loaded, and YAMNet's own weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from avipipe.annotators import audioset  # noqa: E402
from avipipe.annotators.full.tag import AstTagger  # noqa: E402
from avipipe.evaluate.cases import Case, completed  # noqa: E402
from avipipe.evaluate.controls import controls_of  # noqa: E402
from avipipe.evaluate.extractors.cnn14 import Cnn14Classes  # noqa: E402
from avipipe.evaluate.measuring import measure  # noqa: E402
from avipipe.evaluate.metrics.undefined import Undefined  # noqa: E402
from avipipe.evaluate.views import MediaView  # noqa: E402
from avipipe.weights import entry, find  # noqa: E402
from tests.integration import lavfi  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.models.single_file import lock_file  # noqa: E402
from tests.models.test_ast import write_ast  # noqa: E402
from tests.models.tiny_cnn14 import checkpoint  # noqa: E402

PICTURE = "color=s=64x48:r=24:d=2"


@pytest.fixture(autouse=True)
def _no_models_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})


@pytest.fixture
def case(tmp_path: Path) -> Case:
    sounds = {
        "source": "sine=f=440:d=2",
        "edit": "anoisesrc=a=0.3:seed=1:d=1.5",  # as long as both last counts
    }
    files = {
        name: lavfi.write(tmp_path / f"{name}.mkv", video=PICTURE, audio=graph)
        for name, graph in sounds.items()
    }
    (found,) = completed([Case(name="a", method="m", **files)], "test")
    return found


def _moderate() -> dict[str, Any]:
    """A checkpoint whose classes are not sure of anything."""
    found = checkpoint(num_bins=257, num_classes=527)
    found["model"]["fc_audioset.weight"] *= 0.01
    return found


@pytest.fixture
def cnn14(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cnn14Classes:
    path = tmp_path / "Cnn14_16k_mAP=0.438.pth"
    torch.save(_moderate(), path)
    lock_file(monkeypatch, path, "cnn14_16k")
    extractor = Cnn14Classes()
    extractor.setup()
    return extractor


def test_panns_give_the_divergence_of_their_classes(
    case: Case, tmp_path: Path, cnn14: Cnn14Classes
) -> None:
    copy = next(each for each in controls_of([case], seed=0) if each.control == "copy")
    own, copied = measure([case, copy], ["kl.panns"], tmp_path / "work")
    assert case.source is not None
    assert case.edit is not None
    waves = (MediaView(p, tmp_path).wave(16_000).mean(axis=0) for p in (case.source, case.edit))
    source, edit = (
        scipy.special.softmax(cnn14.logits(wave_N - wave_N.mean()).astype(float))
        for wave_N in waves
    )
    expected = float(scipy.stats.entropy(source, edit))
    assert expected > 1e-3
    assert own.scores["kl.panns"].value == pytest.approx(expected, rel=1e-3)
    assert copied.scores["kl.panns"].value == pytest.approx(0.0, abs=1e-9)


def test_classes_are_made_of_the_embedding_every_10_ms(cnn14: Cnn14Classes) -> None:
    wave_N = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    (embedding_D,) = cnn14.features(wave_N)
    expected_C = _moderate()["model"]["fc_audioset.weight"].numpy() @ embedding_D
    np.testing.assert_allclose(cnn14.logits(wave_N), expected_C, rtol=1e-4, atol=1e-4)
    assert cnn14.logits(wave_N[:4960]).shape == (527,), "32 frames are enough"
    with pytest.raises(Undefined, match=r"0\.30 s, under 0\.31 s"):
        cnn14.logits(wave_N[:4800])


def test_ast_gives_the_divergence_of_its_classes(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ast(tmp_path / "ast", list(audioset.classes()), gain=100.0)
    lock(monkeypatch, tmp_path, "ast")
    copy = next(each for each in controls_of([case], seed=0) if each.control == "copy")
    own, copied = measure([case, copy], ["kl.ast"], tmp_path / "work")
    tagger = AstTagger()
    tagger.setup()
    assert case.source is not None
    assert case.edit is not None
    waves = (MediaView(p, tmp_path).wave(16_000).mean(axis=0) for p in (case.source, case.edit))
    source, edit = (
        scipy.special.softmax(tagger.logits(wave_N)[0].astype(float)) for wave_N in waves
    )
    expected = float(scipy.stats.entropy(source, edit))
    assert expected > 1e-3
    assert own.scores["kl.ast"].value == pytest.approx(expected, rel=1e-3)
    assert copied.scores["kl.ast"].value == pytest.approx(0.0, abs=1e-9)


def test_long_sounds_have_the_mean_of_their_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ast(tmp_path / "ast", list(audioset.classes()), gain=100.0)
    lock(monkeypatch, tmp_path, "ast")
    tagger = AstTagger()
    tagger.setup()
    wave_N = np.random.default_rng(0).standard_normal(11 * 16_000).astype(np.float32)
    found_WK = tagger.logits(wave_N)
    assert found_WK.shape == (2, 527)
    np.testing.assert_allclose(found_WK[1], tagger.logits(wave_N[16_000:])[0], atol=1e-5)


@pytest.mark.skipif(find(entry("yamnet")) is None, reason="needs the weight yamnet")
def test_yamnet_hears_that_a_tone_is_no_noise(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    cases = [case, *controls_of([case], seed=0)]
    found = {each.case.control: each.scores for each in measure(cases, ["kl.yamnet"], tmp_path)}
    own, copied, late = (found[name]["kl.yamnet"].value for name in ("", "copy", "shifted"))
    assert own is not None
    assert late is not None
    assert copied == 0.0
    assert own > 1.0 > late > 0.0
