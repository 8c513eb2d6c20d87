"""Speaker diarization without a model: one speaker, unless the evidence for more is strong."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from avipipe.annotators import overlap
from avipipe.annotators.base import HEARING_HZ, Diarization, Speech, Turn, Wave
from avipipe.annotators.pitch import HOP_S, track_pitch
from avipipe.annotators.signal import Array, check_wave, mel_spectrogram, mfcc, resample

# In frames: 1.5 s every 0.25 s, as is usual where windows of speech are clustered.
_WINDOW = round(1.5 / HOP_S)
_STEP = round(0.25 / HOP_S)
_FEWEST_VOICED = 30
"""Voiced frames, 0.3 s of them, under which a mean voice says little; a choice."""
_FEWEST_WINDOWS = 8
"""Windows with a voice, of 3.25 s at least, under which nothing is clustered; a choice."""
_MOST_SPEAKERS = 4
"""Speakers that are looked for at most; a choice for clips of seconds."""
_NUM_CEPSTRA = 13
"""MFCC without c0; about a dozen are usual for speech."""
# Pitch counts as much as all that is known of its spread: a speaker moves by about 2.5 semitones.
_PITCH_SCALE = 1.5 / 2.5
_FEWEST_JUDGED = 60
"""Frames of 16 ms, about a second, under which shares of 1 % and 4 % cannot be told apart."""
# It invents few speakers and misses about two in five, even where the microphones differ.
_SURE_OF_SEVERAL = 0.8
_SURE_OF_ONE = 0.5

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DiarizeConfig:
    """Thresholds from which two groups of windows count as two speakers.

    Attributes:
        least_distance: between their mean voices, in units of the spread of one voice's frames.
        least_timbre: of that, without the pitch, which one speaker moves by more than an octave.
        least_share: of the speech that each has.
        most_changes: of speaker per window of 0.25 s; who talks keeps the floor for a while.
    """

    least_distance: float = 3.2
    least_timbre: float = 1.3
    least_share: float = 0.2
    most_changes: float = 0.12


class ClusterDiarizer:
    """Diarizes by spectral clustering of MFCC and pitch, and a verdict on each pair of groups.

    Voices of one sex in one room are often closer than one voice in two moods: it misses many
    second speakers and seldom invents one. Overlapped speech, which it hears as two harmonic
    series at once, means two speakers whatever the groups say. `overlap_ratio` is an estimate
    from the share of such frames, which one voice alone does not reach.
    """

    name = "cluster"
    version = 1

    def __init__(self, config: DiarizeConfig | None = None) -> None:
        self.config = config or DiarizeConfig()

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def diarize(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Diarization:
        """Tell the speakers of mono audio (N,) apart.

        Returns:
            Turns labelled "speaker0", "speaker1", … in order of appearance; nothing known where
            `speech.confidence` is None.
        Raises:
            AnnotatorError: the audio is empty or not finite.
        """
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        if speech.confidence is None:
            return Diarization(turns=(), num_speakers=None, overlap_ratio=None, confidence=None)
        if not speech.turns:
            return Diarization(
                turns=(), num_speakers=0, overlap_ratio=0.0, confidence=speech.confidence
            )
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=HEARING_HZ)
        centres_W, voices_WD = _voices(wav_N, speech)
        labels_W = self._cluster(voices_WD)
        overlap_ratio = _overlap_ratio(wav_N, speech)
        overlapped = overlap_ratio is not None and overlap_ratio > 0.0
        num_clusters = len(np.unique(labels_W)) if len(labels_W) else 1
        num_speakers = max(num_clusters, 2 if overlapped else 1)
        return Diarization(
            turns=_label_turns(speech.turns, centres_W, labels_W),
            num_speakers=num_speakers,
            overlap_ratio=overlap_ratio,
            confidence=_SURE_OF_SEVERAL if num_speakers > 1 else _SURE_OF_ONE,
        )

    def _cluster(self, voices_WD: Array) -> Labels:
        """The speaker of each window (W,): as many groups as the eigengap says, then merged."""
        labels_W = np.zeros(len(voices_WD), dtype=np.int64)
        if len(voices_WD) < _FEWEST_WINDOWS:
            return labels_W
        labels_W = _spectral_clusters(voices_WD)
        while (pair := self._closest_pair(voices_WD, labels_W)) is not None:
            labels_W[labels_W == pair[1]] = pair[0]
        return labels_W

    def _closest_pair(self, voices_WD: Array, labels_W: Labels) -> tuple[int, int] | None:
        """Two groups that may well be one speaker, the likeliest first."""
        changes = float((np.diff(labels_W) != 0).mean())
        doubtful = []
        for a, b in combinations(np.unique(labels_W).tolist(), 2):
            in_a, in_b = labels_W == a, labels_W == b
            difference_D = voices_WD[in_a].mean(axis=0) - voices_WD[in_b].mean(axis=0)
            distance = float(np.linalg.norm(difference_D))
            share = min(in_a.mean(), in_b.mean())
            if (
                distance < self.config.least_distance
                or np.linalg.norm(difference_D[:-1]) < self.config.least_timbre
                or share < self.config.least_share
                or changes > self.config.most_changes
            ):
                doubtful.append((distance, a, b))
        return min(doubtful)[1:] if doubtful else None


def _voices(wav_N: Wave, speech: Speech) -> tuple[npt.NDArray[np.float64], Array]:
    """Centres in s (W,) and voices (W, D) of windows with enough voiced speech.

    A voice is the mean MFCC without c0, in units of their spread over frames, and the median
    pitch.
    """
    pitch = track_pitch(wav_N, sample_rate_hz=HEARING_HZ)
    mel_FM = mel_spectrogram(wav_N, sample_rate_hz=HEARING_HZ, low_hz=100.0, high_hz=7000.0)
    num_frames = min(len(mel_FM), len(pitch.voiced_F))
    cepstra_FC = mfcc(mel_FM, num_coefficients=_NUM_CEPSTRA + 1)[:num_frames, 1:]
    spoken = np.flatnonzero(pitch.voiced_F[:num_frames] & _mask(speech, num_frames, HOP_S))
    if len(spoken) < _FEWEST_VOICED:
        return np.zeros(0), np.zeros((0, _NUM_CEPSTRA + 1), dtype=np.float32)
    scale_C = cepstra_FC[spoken].std(axis=0) + 1e-6

    centres, voices = [], []
    for start in range(0, max(1, num_frames - _WINDOW + 1), _STEP):
        first, last = np.searchsorted(spoken, [start, start + _WINDOW])
        rows = spoken[first:last]
        if len(rows) >= _FEWEST_VOICED:
            timbre_C = cepstra_FC[rows].mean(axis=0) / scale_C
            height = float(np.median(pitch.semitones[rows])) * _PITCH_SCALE
            centres.append((start + _WINDOW / 2) * HOP_S)
            voices.append(np.append(timbre_C, height))
    if not voices:
        return np.zeros(0), np.zeros((0, _NUM_CEPSTRA + 1), dtype=np.float32)
    return np.array(centres), np.array(voices, dtype=np.float32)


def _mask(
    speech: Speech, num_frames: int, hop_s: float, *, margin_s: float = 0.0
) -> npt.NDArray[np.bool_]:
    mask_F = np.zeros(num_frames, dtype=bool)
    for turn in speech.turns:
        first = max(0, round((turn.start_s - margin_s) / hop_s))
        mask_F[first : round((turn.end_s + margin_s) / hop_s)] = True
    return mask_F


def _spectral_clusters(voices_WD: Array) -> Labels:
    """Group windows by the eigenvectors of their normalised affinity; the eigengap says how many.

    Source: Ng, Jordan and Weiss, On spectral clustering (2001); local scales after Zelnik-Manor
    and Perona, Self-tuning spectral clustering (2004).
    """
    distance_WW = np.linalg.norm(voices_WD[:, None] - voices_WD[None, :], axis=2)
    num_near = min(len(voices_WD) - 1, 7)
    scale_W = np.sort(distance_WW, axis=1)[:, num_near] + 1e-6
    affinity_WW = np.exp(-(distance_WW**2) / (scale_W[:, None] * scale_W[None, :]))
    degree_W = affinity_WW.sum(axis=1)
    values, vectors_WK = np.linalg.eigh(affinity_WW / np.sqrt(np.outer(degree_W, degree_W)))
    values, vectors_WK = values[::-1], vectors_WK[:, ::-1]
    most = min(_MOST_SPEAKERS, len(voices_WD) - 1)
    count = 2 + int(np.argmax(values[1:most] - values[2 : most + 1]))
    rows_WK = vectors_WK[:, :count]
    rows_WK = rows_WK / (np.linalg.norm(rows_WK, axis=1, keepdims=True) + 1e-9)
    return _k_means(rows_WK, count)


def _k_means(rows_WK: npt.NDArray[np.float64], count: int) -> Labels:
    """Lloyd's algorithm from centres that lie as far apart as can be, so without chance."""
    centres = [rows_WK[0]]
    while len(centres) < count:
        nearest_W = np.min([((rows_WK - c) ** 2).sum(axis=1) for c in centres], axis=0)
        centres.append(rows_WK[int(np.argmax(nearest_W))])
    labels_W = np.zeros(len(rows_WK), dtype=np.int64)
    for _ in range(50):
        distance_CW = np.array([((rows_WK - c) ** 2).sum(axis=1) for c in centres])
        updated_W = np.argmin(distance_CW, axis=0).astype(np.int64)
        if (updated_W == labels_W).all():
            break
        labels_W = updated_W
        centres = [
            rows_WK[labels_W == c].mean(axis=0) if (labels_W == c).any() else centres[c]
            for c in range(count)
        ]
    return labels_W


def _overlap_ratio(wav_N: Wave, speech: Speech) -> float | None:
    """Share of overlapped speech; None where there is too little voiced speech to tell.

    One voice shows up to 1 % of double frames, two voices at equal level throughout about 4 %.
    """
    found = overlap.find_two_voices(wav_N, sample_rate_hz=HEARING_HZ)
    num_frames = len(found.judged_F)
    if (found.judged_F & _mask(speech, num_frames, overlap.HOP_S)).sum() < _FEWEST_JUDGED:
        return None
    # Two voices at once confuse a VAD: its turns may end where the second voice begins.
    near_F = _mask(speech, num_frames, overlap.HOP_S, margin_s=0.5)
    share = float((found.double_F & near_F).sum() / (found.judged_F & near_F).sum())
    return min(1.0, max(0.0, (share - 0.01) / 0.03))


def _label_turns(
    turns: tuple[Turn, ...], centres_W: npt.NDArray[np.float64], labels_W: Labels
) -> tuple[Turn, ...]:
    """Cut the speech turns where the speaker of the nearest window changes."""
    if not len(labels_W):
        return tuple(Turn(turn.start_s, turn.end_s, "speaker0") for turn in turns)
    ranks: dict[int, int] = {}
    for label in labels_W.tolist():
        ranks.setdefault(label, len(ranks))
    changes = np.flatnonzero(np.diff(labels_W) != 0)
    cuts = [round(float(centres_W[i] + centres_W[i + 1]) / 2, 3) for i in changes]
    out: list[Turn] = []
    for turn in turns:
        edges = [turn.start_s, *(cut for cut in cuts if turn.start_s < cut < turn.end_s)]
        for start_s, end_s in zip(edges, [*edges[1:], turn.end_s], strict=True):
            nearest = int(np.argmin(np.abs(centres_W - (start_s + end_s) / 2)))
            label = f"speaker{ranks[int(labels_W[nearest])]}"
            if out and out[-1].label == label and out[-1].end_s == start_s:
                out[-1] = Turn(out[-1].start_s, end_s, label)
            else:
                out.append(Turn(start_s, end_s, label))
    return tuple(out)
