"""Speech and speakers by pyannote.audio 4, from a local folder and without its telemetry."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import yaml

from avipipe import weights
from avipipe.annotators.base import Diarization, Speech, Turn, Wave
from avipipe.annotators.batching import largest_that_fits
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.weighted import Weighted
from avipipe.errors import WeightsError

_WEIGHT = "pyannote_diarization"
_RATE_HZ = 16000
_BATCH_SIZES = (32, 8, 1)
_MODELS = ("segmentation", "embedding", "plda")


class PyannoteVad(Weighted):
    """Speech wherever the segmentation network of the diarization pipeline hears a speaker.

    Source: Plaquet and Bredin, Powerset multi-class cross entropy loss for neural speaker
    diarization (2023).
    """

    name = "pyannote"
    version = 1
    needs = (_WEIGHT,)

    def setup(self) -> None:
        """Load the network.

        Raises:
            WeightsError: a file is missing or corrupted, or the models lie elsewhere.
        """
        folder = _local_folder()
        pyannote = _import_pyannote()
        model = _loaded(pyannote.Model.from_pretrained(folder, subfolder="segmentation"))
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

        scores = largest_that_fits(run, _BATCH_SIZES)
        posterior_F = scores.data[:, 0]
        turns = _within(
            _spans(posterior_F > 0.5, step_s=scores.sliding_window.step),
            duration_s=wav_N.shape[0] / sample_rate_hz,
        )
        return Speech(turns=turns, confidence=float(np.abs(2.0 * posterior_F - 1.0).mean()))


class PyannoteDiarizer(Weighted):
    """The whole pipeline: segmentation, speaker embeddings, and their clustering (VBx).

    It counts speakers, not sounds; its windows are 10 s long, so in a shorter clip the number of
    speakers rests on one window, and the overlap is the surer sign of several. Turns that lie
    wholly outside the given speech (laughter and song are often taken for it) are left out.

    Source: Bredin, pyannote.audio 2.1 speaker diarization pipeline (Interspeech 2023); Landini et
    al., Bayesian HMM clustering of x-vector sequences (2022).
    """

    name = "pyannote"
    version = 1
    needs = (_WEIGHT,)

    def setup(self) -> None:
        """Load the pipeline.

        Raises:
            WeightsError: a file is missing or corrupted, or the models lie elsewhere.
        """
        folder = _local_folder()
        pyannote = _import_pyannote()
        self._pipeline = _loaded(pyannote.Pipeline.from_pretrained(folder)).to(_best_device())

    def diarize(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Diarization:
        """Tell the speakers of mono audio (N,) apart.

        Returns:
            Turns labelled "speaker0", "speaker1", … in order of appearance, which may overlap;
            `overlap_ratio` is the share of speech in which two or more speak. The pipeline does
            not say how sure it is (confidence None), except that without speech nobody speaks.
        Raises:
            AnnotatorError: the audio is empty or not finite, or memory does not suffice.
        """
        file = _as_file(wav_N, sample_rate_hz)
        if speech.confidence is not None and not speech.turns:
            return Diarization(
                turns=(), num_speakers=0, overlap_ratio=0.0, confidence=speech.confidence
            )

        def run(batch_size: int) -> Any:
            self._pipeline.segmentation_batch_size = batch_size
            self._pipeline.embedding_batch_size = batch_size
            return self._pipeline(file).speaker_diarization

        tracks = largest_that_fits(run, _BATCH_SIZES).itertracks(yield_label=True)
        turns = _within(
            ((span.start, span.end, label) for span, _, label in tracks),
            duration_s=wav_N.shape[0] / sample_rate_hz,
        )
        turns = _in_order_of_appearance(turn for turn in turns if _touches(turn, speech))
        return Diarization(
            turns=turns,
            num_speakers=len({turn.label for turn in turns}),
            overlap_ratio=overlap_ratio(turns),
            confidence=None,
        )


def overlap_ratio(turns: Iterable[Turn]) -> float:
    """Share of the time with a speaker that has two or more; 0 without any."""
    changes = sorted(change for turn in turns for change in ((turn.start_s, 1), (turn.end_s, -1)))
    spoken_s, double_s, num_active, last_s = 0.0, 0.0, 0, 0.0
    for time_s, step in changes:
        spoken_s += (time_s - last_s) * (num_active >= 1)
        double_s += (time_s - last_s) * (num_active >= 2)
        num_active, last_s = num_active + step, time_s
    return double_s / spoken_s if spoken_s else 0.0


def _local_folder() -> Path:
    """The pipeline's folder, once it is certain that loading it asks no hub."""
    folder = weights.locate(_WEIGHT)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    for key in _MODELS:
        value = config["pipeline"]["params"].get(key)
        if not str(value).startswith("$model/"):
            raise WeightsError(
                f"{folder / 'config.yaml'}: expected `{key}` to be a folder beside it ($model/…), "
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

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _loaded(model: Any) -> Any:
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


def _spans(active_F: npt.NDArray[np.bool_], *, step_s: float) -> list[tuple[float, float, str]]:
    labels_F, _ = scipy.ndimage.label(active_F)
    return [
        (span.start * step_s, span.stop * step_s, "speech")
        for (span,) in scipy.ndimage.find_objects(labels_F)
    ]


def _within(spans: Iterable[tuple[float, float, str]], *, duration_s: float) -> tuple[Turn, ...]:
    """As turns, without what the padding of the last window added."""
    turns = [
        Turn(max(0.0, round(start_s, 3)), min(round(end_s, 3), duration_s), label)
        for start_s, end_s, label in sorted(spans)
    ]
    return tuple(turn for turn in turns if turn.start_s < turn.end_s)


def _touches(turn: Turn, speech: Speech) -> bool:
    if speech.confidence is None:
        return True
    return any(turn.start_s < other.end_s and other.start_s < turn.end_s for other in speech.turns)


def _in_order_of_appearance(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    names: dict[str, str] = {}
    return tuple(
        Turn(turn.start_s, turn.end_s, names.setdefault(turn.label, f"speaker{len(names)}"))
        for turn in turns
    )
