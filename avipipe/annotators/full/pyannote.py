"""Speech and speakers by pyannote.audio 4, from a local folder and without its telemetry."""

import copy
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
import yaml

from avipipe import weights
from avipipe.annotators.base import Diarization, Speech, Turn, Wave
from avipipe.annotators.batching import run_largest_that_fits
from avipipe.annotators.loading import device
from avipipe.annotators.reading import pull_again, reading
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.weighted import Weighted
from avipipe.errors import WeightsError

_WEIGHT = "pyannote_diarization"
_RATE_HZ = 16000
_BATCH_SIZES = (32, 8, 1)
"""Windows at a time, tried in turn until memory suffices."""
_SHORTEST_S = 0.25
"""Shortest speech of somebody who counts as a speaker; a choice."""
_LIGHTNING_MISSING = "Found keys that are in the model state dict but not in the checkpoint"
_MODELS = ("segmentation", "embedding", "plda")


class PyannoteVad(Weighted):
    """VAD by pyannote: speech is where the segmentation network hears any speaker.

    Source: Plaquet and Bredin, Powerset multi-class cross entropy loss for neural speaker
    diarization (2023).
    """

    name = "pyannote"
    version = 1
    gpu = True
    needs = (_WEIGHT,)
    packages = ("torch", "pyannote.audio")

    def setup(self) -> None:
        """Load the segmentation network, once.

        Raises:
            WeightsError: a file is missing or corrupted, or the models lie elsewhere.
        """
        folder = _local_folder()
        pyannote = _import_pyannote()
        model = _loaded(pyannote.Model.from_pretrained, folder, subfolder="segmentation")
        self._inference = pyannote.Inference(
            model, skip_conversion=True, pre_aggregation_hook=_anybody, device=_best_device()
        )

    def speech(self, wav_N: Wave, *, sample_rate_hz: int) -> Speech:
        """Find speech in mono audio (N,).

        Returns:
            Turns labelled "speech", where its probability is above one half.
        Raises:
            AnnotatorError: the audio is empty or not finite, or memory does not suffice.
        """
        file = _as_file(wav_N, sample_rate_hz)

        def run(batch_size: int) -> Any:
            self._inference.batch_size = batch_size
            return self._inference(file)

        scores = run_largest_that_fits(run, _BATCH_SIZES)
        posterior_F = scores.data[:, 0]
        turns = _within(
            _spans(posterior_F > 0.5, frames=scores.sliding_window),
            wav_N.shape[0] / sample_rate_hz,
        )
        return Speech(turns=turns, confidence=float(np.abs(2.0 * posterior_F - 1.0).mean()))


class PyannoteDiarizer(Weighted):
    """Diarizes by pyannote: segmentation, speaker embeddings, and their clustering (VBx).

    It counts speakers, not sounds. Who speaks at once in one window (10 s) is told by the
    segmentation alone, and so is the overlap: the clustering takes all for one speaker where fewer
    than two speak by themselves for 2 s, as in many a short clip.

    Source: Bredin, pyannote.audio 2.1 speaker diarization pipeline (Interspeech 2023); Landini et
    al., Bayesian HMM clustering of x-vector sequences (2022).
    """

    name = "pyannote"
    version = 1
    gpu = True
    needs = (_WEIGHT,)
    packages = ("torch", "pyannote.audio")

    def setup(self) -> None:
        """Load the diarization pipeline, once.

        Raises:
            WeightsError: a file is missing or corrupted, or the models lie elsewhere.
        """
        folder = _local_folder()
        pyannote = _import_pyannote()
        self._pipeline = _loaded(pyannote.Pipeline.from_pretrained, folder).to(_best_device())

    def diarize(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Diarization:
        """Tell the speakers of mono audio (N,) apart.

        It finds speech itself; `speech` spares it the clips that have none.

        Returns:
            Turns labelled "speaker0", "speaker1", … in order of appearance, which may overlap;
            who is heard for less than a quarter of a second is left out. `overlap_ratio` is the
            share of speech in which two or more speak. Confidence None: it gives none.
        Raises:
            AnnotatorError: the audio is empty or not finite, or memory does not suffice.
        """
        file = _as_file(wav_N, sample_rate_hz)
        if speech.confidence is not None and not speech.turns:
            return Diarization(
                turns=(), num_speakers=0, overlap_ratio=0.0, confidence=speech.confidence
            )
        duration_s = wav_N.shape[0] / sample_rate_hz
        heard = run_largest_that_fits(lambda size: self._run(file, size), _BATCH_SIZES)
        tracks = heard["diarization"].itertracks(yield_label=True)
        turns = _name_speakers(
            _within(((span.start, span.end, label) for span, _, label in tracks), duration_s)
        )
        at_once = _most_at_once(heard["segmentation"], duration_s)
        return Diarization(
            turns=turns,
            num_speakers=max(at_once, len({turn.label for turn in turns})),
            overlap_ratio=_overlap_ratio(heard["speaker_counting"], duration_s),
            confidence=None,
        )

    def _run(self, file: dict[str, Any], batch_size: int) -> dict[str, Any]:
        """What the pipeline and its steps gave, by name."""
        heard: dict[str, Any] = {}

        def keep(step: str, result: Any, **_: Any) -> None:
            heard[step] = copy.copy(result)  # the count of speakers is cut to one later on

        self._pipeline.segmentation_batch_size = batch_size
        self._pipeline.embedding_batch_size = batch_size
        with warnings.catch_warnings():
            # Of those who never speak alone it has no embeddings, and still takes their mean.
            warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
            warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
            warnings.filterwarnings("ignore", r"std\(\): degrees of freedom", UserWarning)
            output = self._pipeline(file, hook=keep)
        return heard | {"diarization": output.speaker_diarization}


def _most_at_once(segmentation: Any, duration_s: float) -> int:
    """The most speakers that the network tells apart in one window."""
    active_WFS = np.nan_to_num(segmentation.data)
    num_frames = active_WFS.shape[1]
    windows = segmentation.sliding_window
    frame_s = windows.duration / num_frames
    start_W1 = windows.start + windows.step * np.arange(len(active_WFS))[:, None]
    is_inside_WF = start_W1 + frame_s * np.arange(num_frames) < duration_s
    spoken_s_WS = frame_s * (active_WFS * is_inside_WF[..., None]).sum(axis=1)
    return int((spoken_s_WS >= _SHORTEST_S).sum(axis=1).max())


def _overlap_ratio(counting: Any, duration_s: float) -> float:
    """Share of the frames with a speaker that have two or more; 0 without any."""
    frames = counting.sliding_window
    middle_s_F = frames.start + frames.duration / 2 + frames.step * np.arange(len(counting.data))
    count_F = counting.data[middle_s_F < duration_s, 0]
    num_spoken = np.count_nonzero(count_F >= 1)
    return float(np.count_nonzero(count_F >= 2) / num_spoken) if num_spoken else 0.0


def _local_folder() -> Path:
    """The pipeline's folder, once it is certain that loading it asks no hub."""
    folder = weights.locate(_WEIGHT)
    path = folder / "config.yaml"
    with reading(path, "the parts of a pipeline", pull_again(_WEIGHT)):
        params = yaml.safe_load(path.read_text(encoding="utf-8"))["pipeline"]["params"]
        values = {key: params.get(key) for key in _MODELS}
    for key, value in values.items():
        if not str(value).startswith("$model/"):
            raise WeightsError(
                f"{path}: expected `{key}` to be a folder beside it ($model/…), "
                f"found {value!r}; use a pipeline for pyannote.audio 4, such as community-1"
            )
    return folder


def _import_pyannote() -> Any:
    """pyannote.audio with its telemetry off, whatever the environment says."""
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    with warnings.catch_warnings():
        # It cannot decode files without torchcodec; it is only ever given samples here.
        warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
        import pyannote.audio
    return pyannote.audio


def _best_device() -> Any:
    import torch

    return torch.device(device())


def _loaded(loader: Callable[..., Any], folder: Path, **options: Any) -> Any:
    """What pyannote.audio makes of a folder, each of its networks whole."""
    with (
        reading(folder, "a pipeline of pyannote.audio 4", pull_again(_WEIGHT)),
        warnings.catch_warnings(),
    ):
        # A network that brings weights of its loss is loaded again without being strict.
        warnings.filterwarnings("error", _LIGHTNING_MISSING)
        model = loader(folder, **options)
    if model is None:
        raise WeightsError(
            f"pyannote.audio found no model in the weight `{_WEIGHT}`, which is gated: accept its "
            f"terms, log in to the hub, then run: avipipe weights pull {_WEIGHT}"
        )
    return model


def _as_file(wav_N: Wave, sample_rate_hz: int) -> dict[str, Any]:
    import torch

    check_wave(wav_N, sample_rate_hz=sample_rate_hz)
    wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=_RATE_HZ)
    return {"waveform": torch.from_numpy(wav_N.copy())[None], "sample_rate": _RATE_HZ}


def _anybody(log_powerset_WFK: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probability that not "nobody", the first class of the powerset, but some others speak."""
    return np.asarray(1.0 - np.exp(log_powerset_WFK[..., :1]), dtype=np.float32)


def _spans(active_F: npt.NDArray[np.bool_], *, frames: Any) -> list[tuple[float, float, str]]:
    """Runs of active frames; each frame stands for one step around its middle."""
    labels_F, _ = scipy.ndimage.label(active_F)
    first_s = frames.start + (frames.duration - frames.step) / 2
    return [
        (first_s + span.start * frames.step, first_s + span.stop * frames.step, "speech")
        for (span,) in scipy.ndimage.find_objects(labels_F)
    ]


def _within(spans: Iterable[tuple[float, float, str]], duration_s: float) -> tuple[Turn, ...]:
    """As turns, without what the padding of the last window added."""
    turns = [
        Turn(max(0.0, round(start_s, 3)), min(round(end_s, 3), duration_s), label)
        for start_s, end_s, label in sorted(spans)
    ]
    return tuple(turn for turn in turns if turn.start_s < turn.end_s)


def _name_speakers(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns of those who are heard for long enough, named in order of appearance."""
    spoken_s: dict[str, float] = {}
    for turn in turns:
        spoken_s[turn.label] = spoken_s.get(turn.label, 0.0) + turn.end_s - turn.start_s
    labels = [label for label, total_s in spoken_s.items() if total_s >= _SHORTEST_S]
    names = {label: f"speaker{index}" for index, label in enumerate(labels)}
    return tuple(
        Turn(turn.start_s, turn.end_s, names[turn.label]) for turn in turns if turn.label in names
    )
