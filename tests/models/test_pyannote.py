"""The pipeline of pyannote.audio, tiny and random, from a folder as its hub has it.

What a random network hears means nothing, so the last layer's bias says it instead: nobody, one
speaker, or two at once.
"""

import os
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from avipipe.annotators.base import Diarization, Speech, Turn, Wave
from avipipe.annotators.full.pyannote import PyannoteDiarizer, PyannoteVad
from avipipe.errors import AnnotatorError, FailKind, WeightsError
from tests.models.locked import lock
from tests.sounds import RATE_HZ, voice

NAME = "pyannote_diarization"
WINDOW_S = 2.0
NOBODY, ONE, TWO = 0, 1, 4
"""Classes of the powerset of three speakers, at most two of them at once."""

CONFIG = {
    "pipeline": {
        "name": "pyannote.audio.pipelines.SpeakerDiarization",
        "params": {
            "clustering": "VBxClustering",
            "segmentation": "$model/segmentation",
            "embedding": "$model/embedding",
            "embedding_exclude_overlap": True,
            "plda": "$model/plda",
        },
    },
    "params": {
        "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
        "segmentation": {"min_duration_off": 0.0},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the pipeline that hears one speaker all the time."""
    folder = tmp_path_factory.mktemp("weights")
    write_pipeline(folder / NAME)
    return folder


def write_pipeline(pipeline: Path) -> None:
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    write_segmentation(pipeline, ONE)
    embedding: Any = WeSpeakerResNet34()
    embedding.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=WINDOW_S
    )
    embedding.build()
    write_model(embedding, pipeline / "embedding")
    rng = np.random.default_rng(0)
    (pipeline / "plda").mkdir()
    np.savez(
        pipeline / "plda" / "xvec_transform.npz",
        mean1=np.zeros(256),
        mean2=np.zeros(128),
        lda=rng.standard_normal((256, 128)),
    )
    np.savez(
        pipeline / "plda" / "plda.npz",
        mu=np.zeros(128),
        tr=np.eye(128),
        psi=np.linspace(2.0, 0.1, 128),
    )
    (pipeline / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")


def write_segmentation(pipeline: Path, favourite: int) -> None:
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(0)
    model: Any = PyanNet(
        sincnet={"stride": 10},
        lstm={"hidden_size": 8, "num_layers": 1, "bidirectional": True},
        linear={"hidden_size": 8, "num_layers": 1},
    )
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=WINDOW_S,
        classes=["a", "b", "c"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    with torch.no_grad():
        model.classifier.bias[favourite] += 3.0
    write_model(model, pipeline / "segmentation")


def write_model(model: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kind = type(model)
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": "2.6.0",
        "pyannote.audio": {
            "versions": {"torch": "2.8.0", "pyannote.audio": "4.0.0"},
            "architecture": {"module": kind.__module__, "class": kind.__name__},
            "specifications": model.specifications,
        },
    }
    torch.save(checkpoint, folder / "pytorch_model.bin")


@pytest.fixture
def hears(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes a backend whose network hears the given class of the powerset."""

    def load(backend: Any, favourite: int = ONE) -> Any:
        home = tmp_path / str(favourite)
        if not home.exists():
            shutil.copytree(folder / NAME, home / NAME)
            write_segmentation(home / NAME, favourite)
        lock(monkeypatch, home, NAME)
        backend.setup()
        return backend

    return load


def sound(duration_s: float) -> Wave:
    return voice()[0][: round(duration_s * RATE_HZ)]


def everywhere(wav_N: Wave) -> Speech:
    return Speech((Turn(0.0, len(wav_N) / RATE_HZ),), 1.0)


def diarize(diarizer: PyannoteDiarizer, wav_N: Wave) -> Diarization:
    return diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=everywhere(wav_N))


def test_speech_is_where_somebody_is_likelier_than_nobody(hears: Callable[..., Any]) -> None:
    wav_N = sound(3.3)
    vad = hears(PyannoteVad(), TWO)
    speech = vad.speech(wav_N, sample_rate_hz=RATE_HZ)
    (turn,) = speech.turns
    assert turn.label == "speech"
    assert turn.start_s == pytest.approx(0.0, abs=0.05)
    assert turn.end_s == pytest.approx(3.3, abs=0.05)
    assert turn.end_s <= 3.3
    assert 0.5 < speech.confidence < 1.0
    assert hears(PyannoteVad(), NOBODY).speech(wav_N, sample_rate_hz=RATE_HZ).turns == ()


@pytest.mark.parametrize(
    ("favourite", "num_speakers", "overlap"), [(NOBODY, 0, 0.0), (ONE, 1, 0.0), (TWO, 2, 1.0)]
)
def test_speakers_and_their_overlap_are_counted(
    hears: Callable[..., Any], favourite: int, num_speakers: int, overlap: float
) -> None:
    diarizer = hears(PyannoteDiarizer(), favourite)
    found = diarize(diarizer, sound(1.5))
    assert found.num_speakers == num_speakers
    assert found.overlap_ratio == pytest.approx(overlap)
    assert {turn.label for turn in found.turns} == {f"speaker{k}" for k in range(num_speakers)}
    assert all(0.0 <= turn.start_s < turn.end_s <= 1.5 for turn in found.turns)
    assert found.confidence is None


def test_without_speech_nobody_speaks(hears: Callable[..., Any]) -> None:
    diarizer = hears(PyannoteDiarizer())
    wav_N = sound(1.5)
    found = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=Speech((), 0.9))
    assert found == Diarization((), num_speakers=0, overlap_ratio=0.0, confidence=0.9)
    unknown = Speech((), None)
    assert diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=unknown).num_speakers == 1


@pytest.mark.parametrize("wav_N", [sound(0.1), sound(1 / RATE_HZ), np.zeros(RATE_HZ, np.float32)])
def test_the_short_and_the_silent_are_answered(hears: Callable[..., Any], wav_N: Wave) -> None:
    vad, diarizer = hears(PyannoteVad(), ONE), hears(PyannoteDiarizer(), ONE)
    duration_s = len(wav_N) / RATE_HZ
    speech = vad.speech(wav_N, sample_rate_hz=RATE_HZ)
    assert all(turn.end_s <= duration_s for turn in speech.turns)
    found = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=everywhere(wav_N))
    assert all(turn.end_s <= duration_s for turn in found.turns)


@pytest.mark.parametrize("bad", [np.zeros(0), np.full(RATE_HZ, np.nan)])
def test_what_is_no_sound_is_refused(hears: Callable[..., Any], bad: Wave) -> None:
    vad, diarizer = hears(PyannoteVad()), hears(PyannoteDiarizer())
    with pytest.raises(AnnotatorError):
        vad.speech(bad.astype(np.float32), sample_rate_hz=RATE_HZ)
    with pytest.raises(AnnotatorError):
        diarize(diarizer, bad.astype(np.float32))


def test_smaller_batches_give_the_same_where_memory_is_short(hears: Callable[..., Any]) -> None:
    diarizer = hears(PyannoteDiarizer())
    room = [99]

    def refuse(model: Any, inputs: Any) -> None:
        if len(inputs[0]) > room[0]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    diarizer._pipeline._embedding.model_.register_forward_pre_hook(refuse)
    wav_N = sound(2.1)
    expected = diarize(diarizer, wav_N)
    room[0] = 1
    assert diarize(diarizer, wav_N) == expected
    room[0] = 0
    with pytest.raises(AnnotatorError) as failure:
        diarize(diarizer, wav_N)
    assert failure.value.kind is FailKind.OUT_OF_MEMORY


def test_the_same_sound_gives_the_same_in_any_worker(hears: Callable[..., Any]) -> None:
    wav_N = sound(1.5)
    diarizer = hears(PyannoteDiarizer(), TWO)
    worker = hears(pickle.loads(pickle.dumps(PyannoteDiarizer())), TWO)
    assert diarize(worker, wav_N) == diarize(diarizer, wav_N) == diarize(diarizer, wav_N)
    vad = hears(pickle.loads(pickle.dumps(PyannoteVad())), TWO)
    first = vad.speech(wav_N, sample_rate_hz=RATE_HZ)
    assert vad.speech(wav_N, sample_rate_hz=RATE_HZ) == first


def test_nothing_leaves_the_machine(
    hears: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def refuse(host: Any, *_: Any, **__: Any) -> None:
        asked.append(host)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: refuse(address))
    monkeypatch.setenv("PYANNOTE_METRICS_ENABLED", "1")
    diarize(hears(PyannoteDiarizer()), sound(1.0))
    hears(PyannoteVad()).speech(sound(1.0), sample_rate_hz=RATE_HZ)

    from pyannote.audio.telemetry import metrics

    assert not metrics.is_metrics_enabled()
    metrics.provider.force_flush(2000)
    assert asked == []


@pytest.mark.parametrize("backend", [PyannoteVad(), PyannoteDiarizer()])
def test_files_that_are_missing_changed_or_elsewhere_are_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Any
) -> None:
    pipeline = tmp_path / NAME
    shutil.copytree(folder / NAME, pipeline)
    config = {"pipeline": {"params": {"segmentation": "pyannote/segmentation-3.0"}}}
    (pipeline / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    lock(monkeypatch, tmp_path, NAME)
    with pytest.raises(WeightsError, match=r"pyannote/segmentation-3\.0.*community-1"):
        backend.setup()
    (pipeline / "config.yaml").write_text("pipeline: {}", encoding="utf-8")
    with pytest.raises(WeightsError, match="sha256"):
        backend.setup()
    (pipeline / "plda" / "plda.npz").unlink()
    with pytest.raises(WeightsError, match=f"avipipe weights pull {NAME}"):
        backend.setup()
