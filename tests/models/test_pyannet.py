"""PyanNet: its network beside pyannote.audio's, its official weights on real recordings."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database import util
from pyannote.metrics.detection import DetectionErrorRate
from pyannote.metrics.diarization import DiarizationErrorRate
from safetensors.torch import save_file

from avipipe import weights
from avipipe.annotators.base import Speech, Turn, Wave
from avipipe.annotators.pyannet.backends import PyanNetDiarizer, PyanNetVad
from avipipe.annotators.pyannet.frames import RATE_HZ
from avipipe.annotators.pyannet.network import PyanNet, load
from avipipe.errors import WeightsError
from tests.models.single_file import lock_file
from tests.models.test_light_hearing import recording
from tests.sounds import knocks, music, noise, voice

SHARED = Path(__file__).parents[3] / "shared"
ONNX = SHARED / "weights" / "pyannote_segmentation_2022.onnx"
FILE = "pyannote_segmentation_2022.safetensors"


@pytest.fixture(scope="module")
def reference() -> Any:
    """pyannote.audio's own network of these sizes, with random weights."""
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet as Reference

    torch.manual_seed(0)
    model: Any = Reference(
        sincnet={"stride": 10},
        lstm={"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True},
        linear={"hidden_size": 128, "num_layers": 2},
    )
    model.specifications = Specifications(
        problem=Problem.MULTI_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=5.0,
        classes=["a", "b", "c"],
        permutation_invariant=True,
    )
    model.build()
    return model.eval()


def save(reference: Any, folder: Path, *, bias: tuple[float, float, float] | None = None) -> Path:
    state = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    if bias is not None:
        state["classifier.bias"] = torch.tensor(bias)
    save_file(state, folder / FILE)
    return folder / FILE


def test_the_network_is_that_of_pyannote_audio(reference: Any, tmp_path: Path) -> None:
    net = load(save(reference, tmp_path))
    wav_B1N = torch.from_numpy(np.stack([voice()[0], music()]))[:, None]
    with torch.inference_mode():
        assert torch.equal(net(wav_B1N), reference(wav_B1N))


def test_other_tensors_are_refused(reference: Any, tmp_path: Path) -> None:
    path = save(reference, tmp_path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="weights pull pyannote_segmentation"):
        load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="expected the tensors"):
        load(path)


@pytest.mark.parametrize(
    ("bias", "num_speakers", "overlap"),
    [((-9, -9, -9), 0, 0.0), ((-9, 9, -9), 1, 0.0), ((9, 9, -9), 2, 1.0)],
)
def test_what_the_network_says_becomes_speech_and_speakers(
    reference: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bias: tuple[float, float, float],
    num_speakers: int,
    overlap: float,
) -> None:
    lock_file(monkeypatch, save(reference, tmp_path, bias=bias), "pyannote_segmentation")
    vad, diarizer = PyanNetVad(), PyanNetDiarizer()
    vad.setup()
    diarizer.setup()
    for duration_s in (0.6, 33.0):
        wav_N = noise(duration_s=duration_s)
        speech = vad.speech(wav_N, sample_rate_hz=RATE_HZ)
        everywhere = (Turn(0.0, duration_s),)
        assert speech.turns == (everywhere if num_speakers else ())
        found = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=Speech(everywhere, 1.0))
        assert (found.num_speakers, found.overlap_ratio) == (num_speakers, overlap)
        names = [f"speaker{n}" for n in range(num_speakers)]
        assert found.turns == tuple(Turn(0.0, duration_s, name) for name in names)
        elsewhere = Speech((Turn(0.0, 0.3),), 1.0)
        found = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=elsewhere)
        assert found.num_speakers == 0, "voices outside of what is heard as speech"


def test_without_speech_nobody_speaks_and_without_a_verdict_nothing_is_known() -> None:
    diarizer = PyanNetDiarizer()
    silent = diarizer.diarize(noise(), sample_rate_hz=RATE_HZ, speech=Speech((), 0.9))
    assert (silent.num_speakers, silent.overlap_ratio, silent.confidence) == (0, 0.0, 0.9)
    unknown = diarizer.diarize(noise(), sample_rate_hz=RATE_HZ, speech=Speech((), None))
    assert (unknown.num_speakers, unknown.confidence) == (None, None)


@pytest.fixture(scope="module")
def official() -> PyanNet:
    try:
        return load(weights.locate("pyannote_segmentation"))
    except WeightsError as error:
        pytest.skip(str(error))


def onnx_probabilities(wav_N: Wave) -> Any:
    import onnxruntime

    if not ONNX.is_file():
        pytest.skip(f"{ONNX.name} is not here")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(ONNX, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"wav": wav_N[None, None]})[0][0]


def torch_probabilities(net: PyanNet, wav_N: Wave) -> Any:
    with torch.inference_mode():
        return net(torch.from_numpy(wav_N)[None, None])[0].numpy()


@pytest.mark.parametrize("duration_s", [1.0, 3.0, 10.0, 30.0])
def test_our_loading_agrees_with_the_onnx_file(official: PyanNet, duration_s: float) -> None:
    wav_N = noise(0.1, duration_s=duration_s)
    found_FS, expected_FS = torch_probabilities(official, wav_N), onnx_probabilities(wav_N)
    assert found_FS == pytest.approx(expected_FS, abs=1e-5)


def test_on_speech_only_rounding_parts_them(official: PyanNet) -> None:
    # The network lifts its input by 40 times its spread, so rounding shows where it wavers:
    # with 64 bits it differs by 0.005 from either.
    wav_N = recording("pyannote_sample")
    found_FS, expected_FS = torch_probabilities(official, wav_N), onnx_probabilities(wav_N)
    difference_FS = np.abs(found_FS - expected_FS)
    assert np.median(difference_FS) < 1e-6
    assert np.quantile(difference_FS, 0.98) < 1e-4
    assert difference_FS.max() < 5e-3
    assert ((found_FS > 0.5) == (expected_FS > 0.5)).all()


@pytest.fixture(scope="module")
def backends(official: PyanNet) -> tuple[PyanNetVad, PyanNetDiarizer]:
    vad, diarizer = PyanNetVad(), PyanNetDiarizer()
    vad.setup()
    diarizer.setup()
    return vad, diarizer


def annotation(turns: tuple[Turn, ...]) -> Annotation:
    result = Annotation()
    for track, turn in enumerate(turns):
        result[Segment(turn.start_s, turn.end_s), track] = turn.label
    return result


def reference_turns(name: str, uri: str) -> Annotation:
    path = SHARED / "audio" / f"{name}.rttm"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    reader: Any = util
    return reader.load_rttm(path)[uri]


@pytest.mark.parametrize(
    ("name", "rttm", "uri", "detection", "diarization", "num_speakers"),
    [
        ("pyannote_sample", "pyannote_sample", "sample", 0.015, 0.095, 2),
        ("pyannote_dev00", "pyannote_debug.development", "dev00", 0.085, 0.365, 1),
    ],
)
def test_error_rates_on_recordings_with_reference_turns(
    backends: tuple[PyanNetVad, PyanNetDiarizer],
    name: str,
    rttm: str,
    uri: str,
    detection: float,
    diarization: float,
    num_speakers: int,
) -> None:
    vad, diarizer = backends
    wav_N, reference = recording(name), reference_turns(rttm, uri)
    whole = Timeline([Segment(0.0, len(wav_N) / RATE_HZ)])
    speech = vad.speech(wav_N, sample_rate_hz=RATE_HZ)
    error = DetectionErrorRate()(reference, annotation(speech.turns), uem=whole)
    assert error < detection
    found = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=speech)
    assert DiarizationErrorRate()(reference, annotation(found.turns), uem=whole) < diarization
    assert found.num_speakers == num_speakers


def test_a_long_sound_gives_the_same_speakers_as_its_parts(
    backends: tuple[PyanNetVad, PyanNetDiarizer],
) -> None:
    _, diarizer = backends
    wav_N = np.tile(recording("pyannote_sample"), 2)
    speech = Speech((Turn(0.0, 60.0),), 1.0)
    found = diarizer.diarize(wav_N, sample_rate_hz=RATE_HZ, speech=speech)
    assert found.num_speakers == 2
    once = reference_turns("pyannote_sample", "sample")
    twice = Annotation()
    for segment, track, label in once.itertracks(yield_label=True):
        for shift_s in (0.0, 30.0):
            moved = Segment(segment.start + shift_s, segment.end + shift_s)
            twice[moved, f"{track} {shift_s}"] = label
    error = DiarizationErrorRate()(
        twice, annotation(found.turns), uem=Timeline([Segment(0.0, 60.0)])
    )
    assert error < 0.12


def test_what_is_no_speech_has_no_speakers(
    backends: tuple[PyanNetVad, PyanNetDiarizer],
) -> None:
    vad, _ = backends
    for wav_N in (noise(), music(), knocks(), recording("esc50_2-100648-A-43")):
        assert vad.speech(wav_N, sample_rate_hz=RATE_HZ).turns == ()
