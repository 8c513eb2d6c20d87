"""AST as it is loaded in production, from a tiny random checkpoint."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from avipipe.annotators import audioset  # noqa: E402
from avipipe.annotators.base import Speech, Tags, Turn, Wave  # noqa: E402
from avipipe.annotators.full.tag import AstTagger  # noqa: E402
from avipipe.annotators.registry import create  # noqa: E402
from avipipe.errors import AnnotatorError, FailKind, WeightsError  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.sounds import RATE_HZ, music, voice  # noqa: E402

NO_SPEECH = Speech((), 1.0)
HEARD = "Bark"


def write_ast(folder: Path, labels: Sequence[str], *, gain: float = 1.0) -> None:
    """A checkpoint that hears nothing but `HEARD`, whatever it is given, half for certain.

    Args:
        gain: of what it is given on the scores; 1 is next to nothing.
    """
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label=dict(enumerate(labels)),
        label2id={label: k for k, label in enumerate(labels)},
    )
    model: Any = ASTForAudioClassification(config)
    if HEARD in labels:
        model.classifier.dense.bias.data.fill_(-9.0)
        model.classifier.dense.bias.data[labels.index(HEARD)] = 2.0
    model.classifier.dense.weight.data *= gain
    model.save_pretrained(folder)
    extractor: Any = ASTFeatureExtractor
    extractor().save_pretrained(folder)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_ast(folder / "ast", list(audioset.classes()))
    return folder


@pytest.fixture(scope="module")
def tagger(checkpoints: Path) -> Iterator[AstTagger]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, checkpoints, "ast")
        backend = create("tag", "ast")
        assert isinstance(backend, AstTagger)
        backend.setup()
        yield backend


def tag(tagger: AstTagger, wav_N: Wave, speech: Speech = NO_SPEECH) -> Tags:
    return tagger.tag(wav_N, sample_rate_hz=RATE_HZ, speech=speech)


def test_labels_of_the_checkpoint_become_groups(tagger: AstTagger) -> None:
    tags = tag(tagger, voice()[0])
    assert next(iter(tags.classes)) == HEARD
    assert max(tags.scores, key=tags.scores.__getitem__) == "dog"
    assert tags.scores["dog"] == tags.classes[HEARD] > 0.5
    assert tags.details["num_windows"] == 1
    assert tags == tag(tagger, voice()[0])


def test_long_clips_have_a_window_every_second(tagger: AstTagger) -> None:
    wav_N = np.tile(music(), 3)[: 12 * RATE_HZ + RATE_HZ // 2]
    whole = tag(tagger, wav_N, Speech((Turn(0.0, 12.5),), 1.0))
    assert whole.details["num_windows"] == 4
    assert "beside_speech" in whole.details


def test_batches_change_nothing(tagger: AstTagger, monkeypatch: pytest.MonkeyPatch) -> None:
    wav_N = np.tile(music(), 3)
    whole = tag(tagger, wav_N)
    monkeypatch.setattr(tagger, "batch_size", 1)
    single = tag(tagger, wav_N)
    assert whole.scores == pytest.approx(single.scores, abs=1e-5)


def test_memory_that_runs_out_halves_the_batch_then_fails_the_clip(
    tagger: AstTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav_N, room, model = np.tile(music(), 3), 2, tagger._model
    whole = tag(tagger, wav_N)

    def small(inputs: Any) -> Any:
        if len(inputs) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return model(inputs)

    monkeypatch.setattr(tagger, "_model", small)
    assert tag(tagger, wav_N).scores == pytest.approx(whole.scores, abs=1e-5)
    room = 0
    with pytest.raises(AnnotatorError) as failure:
        tag(tagger, wav_N)
    assert failure.value.kind is FailKind.OUT_OF_MEMORY


def test_what_is_too_short_or_silent_or_no_sound(tagger: AstTagger) -> None:
    assert tag(tagger, np.zeros(RATE_HZ, np.float32)) == Tags(scores={}, confidence=None)
    assert tag(tagger, voice()[0][: RATE_HZ // 10]) == Tags(scores={}, confidence=None)
    with pytest.raises(AnnotatorError):
        tag(tagger, np.full(RATE_HZ, np.nan, np.float32))


@pytest.mark.parametrize(
    "labels", [["Speech", "Music"], [f"LABEL_{k}" for k in range(527)]], ids=["few", "unnamed"]
)
def test_a_model_with_other_labels_is_refused(
    labels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ast(tmp_path / "ast", labels)
    lock(monkeypatch, tmp_path, "ast")
    with pytest.raises(WeightsError, match=r"expected the 527 labels of AudioSet, found \d+"):
        AstTagger().setup()


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ast(tmp_path / "ast", ["Speech"])
    lock(monkeypatch, tmp_path, "ast")
    (tmp_path / "ast" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="avipipe weights pull ast"):
        AstTagger().setup()


def test_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ast(tmp_path / "ast", ["Speech"])
    lock(monkeypatch, tmp_path, "ast")
    with (tmp_path / "ast" / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(WeightsError, match="corrupted"):
        AstTagger().setup()
