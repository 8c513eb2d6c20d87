"""What every annotator that hears must do, whatever its method; a new backend is tested by name.

Deterministic, the same after pickling and at any sample rate; whole and in range on silence,
clipping and a tenth of a second; an `AnnotatorError` on what is no sound.
"""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from avipipe.annotators.base import Annotator, Diarization, Speech, Stems, Tags, Turn, Wave
from avipipe.annotators.registry import BACKENDS, create
from avipipe.annotators.signal import resample
from avipipe.errors import AnnotatorError, WeightsError
from tests.sounds import RATE_HZ, knocks, music, voice

Heard = Speech | Diarization | Stems | Tags


def _speech(wav_N: Wave, rate_hz: int) -> Speech:
    return Speech((Turn(0.0, len(wav_N) / rate_hz),), 1.0) if len(wav_N) else Speech((), 1.0)


HEAR: dict[str, Callable[[Any, Wave, int], Heard]] = {
    "vad": lambda vad, wav_N, rate_hz: vad.speech(wav_N, sample_rate_hz=rate_hz),
    "diarize": lambda diarizer, wav_N, rate_hz: diarizer.diarize(
        wav_N, sample_rate_hz=rate_hz, speech=_speech(wav_N, rate_hz)
    ),
    "separate": lambda separator, wav_N, rate_hz: separator.separate(
        np.stack([wav_N, wav_N]), sample_rate_hz=rate_hz
    ),
    "tag": lambda tagger, wav_N, rate_hz: tagger.tag(
        wav_N, sample_rate_hz=rate_hz, speech=_speech(wav_N, rate_hz)
    ),
}
"""Role -> how a backend of it is called."""

EXTREMES: dict[str, Wave] = {
    "silence": np.zeros(2 * RATE_HZ, np.float32),
    "a tenth of a second": voice()[0][RATE_HZ : RATE_HZ + RATE_HZ // 10],
    "one sample": np.full(1, 0.5, np.float32),
    "clipped": np.clip(20.0 * voice()[0], -1.0, 1.0),
    "constant": np.full(RATE_HZ, 0.5, np.float32),
    "full-scale square": np.sign(music()).astype(np.float32),
    "all but silence": 1e-7 * voice()[0],
}


@pytest.fixture(
    scope="module",
    params=[(role, name) for role in HEAR for name in BACKENDS[role]],
    ids=lambda role_name: "-".join(role_name),
)
def role_backend(request: pytest.FixtureRequest) -> tuple[str, Annotator]:
    role, name = request.param
    backend = create(role, name)
    try:
        backend.setup()
    except (WeightsError, ImportError) as error:
        pytest.skip(f"{role} {name} cannot run here: {error}")
    return role, backend


def plain(value: Any) -> Any:
    """A result as something that can be compared and that shows what differs."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return value


def numbers(heard: Heard) -> Iterator[float | None]:
    """What must lie in [0, 1] or be unknown."""
    yield heard.confidence
    if isinstance(heard, Tags):
        yield from heard.scores.values()
    if isinstance(heard, Diarization):
        yield heard.overlap_ratio


def check(heard: Heard, wav_N: Wave, rate_hz: int) -> None:
    for number in numbers(heard):
        assert number is None or 0.0 <= number <= 1.0
    if isinstance(heard, Speech | Diarization):
        for turn in heard.turns:
            assert 0.0 <= turn.start_s < turn.end_s <= len(wav_N) / rate_hz + 0.011
    if isinstance(heard, Diarization):
        labels = {turn.label for turn in heard.turns}
        assert heard.num_speakers is None or heard.num_speakers >= len(labels)
    if isinstance(heard, Tags):
        assert all(np.isfinite(value) for value in heard.details.values())
    if isinstance(heard, Stems):
        assert heard.waves
        for wave_CN in heard.waves.values():
            assert wave_CN.shape == (2, len(wav_N))
            assert wave_CN.dtype == np.float32
        assert np.allclose(sum(heard.waves.values()), np.stack([wav_N, wav_N]), atol=0.01)


def test_it_names_itself(role_backend: tuple[str, Annotator]) -> None:
    _, backend = role_backend
    assert backend.name
    assert isinstance(backend.version, int)
    assert all(isinstance(sha256, str) for sha256 in backend.weights.values())


@pytest.mark.parametrize("content", ["voice", "music", "knocks"])
def test_the_same_sound_gives_the_same_result(
    role_backend: tuple[str, Annotator], content: str
) -> None:
    role, backend = role_backend
    wav_N = {"voice": lambda: voice()[0], "music": music, "knocks": knocks}[content]()
    before = wav_N.copy()
    first = HEAR[role](backend, wav_N, RATE_HZ)
    check(first, wav_N, RATE_HZ)
    assert np.array_equal(wav_N, before)
    HEAR[role](backend, music(3), RATE_HZ)
    assert plain(HEAR[role](backend, wav_N, RATE_HZ)) == plain(first)


def test_it_travels_to_a_worker(role_backend: tuple[str, Annotator]) -> None:
    role, backend = role_backend
    wav_N, _ = voice()
    copy = pickle.loads(pickle.dumps(create(role, _registered(role, backend))))
    copy.setup()
    assert plain(HEAR[role](copy, wav_N, RATE_HZ)) == plain(HEAR[role](backend, wav_N, RATE_HZ))


def _registered(role: str, backend: Annotator) -> str:
    path = f"{type(backend).__module__}:{type(backend).__qualname__}"
    return next(name for name, known in BACKENDS[role].items() if known == path)


@pytest.mark.parametrize("extreme", EXTREMES)
def test_extremes_are_answered(role_backend: tuple[str, Annotator], extreme: str) -> None:
    role, backend = role_backend
    check(HEAR[role](backend, EXTREMES[extreme], RATE_HZ), EXTREMES[extreme], RATE_HZ)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
def test_any_sample_rate_will_do(role_backend: tuple[str, Annotator], rate_hz: int) -> None:
    role, backend = role_backend
    wav_N = resample(voice()[0], from_hz=RATE_HZ, to_hz=rate_hz)
    check(HEAR[role](backend, wav_N, rate_hz), wav_N, rate_hz)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(role_backend: tuple[str, Annotator], bad: float) -> None:
    role, backend = role_backend
    wav_N = voice()[0].copy()
    wav_N[100] = bad
    with pytest.raises(AnnotatorError):
        HEAR[role](backend, wav_N, RATE_HZ)


def test_no_sound_is_refused(role_backend: tuple[str, Annotator]) -> None:
    role, backend = role_backend
    with pytest.raises(AnnotatorError):
        HEAR[role](backend, np.zeros(0, np.float32), RATE_HZ)
