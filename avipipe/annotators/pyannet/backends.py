"""Speech and speakers by PyanNet, a small network that hears overlapped voices apart."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from avipipe import weights
from avipipe.annotators.base import Diarization, Speech, Turn, Wave
from avipipe.annotators.batching import run_in_batches
from avipipe.annotators.pyannet.frames import (
    EVEN_ODDS,
    RATE_HZ,
    SHORTEST_VOICE_S,
    Probabilities,
    probabilities,
    shared_s,
    spans,
)
from avipipe.annotators.signal import check_wave, resample
from avipipe.annotators.weighted import Weighted

_SHORTEST_TURN_S = 0.25
"""Shorter turns are forgotten; as Silero's default."""


class _PyanNet(Weighted):
    """What both backends share: one network in one thread."""

    name = "pyannet"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("pyannote_segmentation",)
    packages = ("safetensors", "torch")
    batch_size = 4

    def __init__(self) -> None:
        self._net: Any = None

    def setup(self) -> None:
        """Load the PyanNet network, once.

        Raises:
            WeightsError: it is missing, corrupted, or another one.
            ImportError: torch or safetensors is not installed (extra `light`).
        """
        path = weights.locate(self.needs[0])
        import torch

        from avipipe.annotators.pyannet.network import load

        torch.set_num_threads(1)
        self._net = load(path)

    def _probabilities(self, wav_N: Wave, sample_rate_hz: int) -> Probabilities:
        """Of each speaker in each frame (F, S)."""
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=RATE_HZ)
        return probabilities(wav_N.astype(np.float32), self._segment)

    def _segment(self, wav_WN: Wave) -> Probabilities:
        import torch

        def run(parts: Sequence[Wave]) -> list[Probabilities]:
            with torch.inference_mode():
                heard_BFS = self._net(torch.from_numpy(np.stack(parts))[:, None])
            return list(heard_BFS.numpy())

        return np.stack(run_in_batches(run, list(wav_WN), self.batch_size))


class PyanNetVad(_PyanNet):
    """VAD by PyanNet: speech is where any speaker is likelier heard than not."""

    def speech(self, wav_N: Wave, *, sample_rate_hz: int) -> Speech:
        """Find speech in mono audio (N,).

        Returns:
            Turns labelled "speech" of at least 0.25 s, over pauses of less than 0.1 s.
            `confidence` is how far the probabilities are from even odds, on average; None where
            the audio is shorter than the shortest turn.
        Raises:
            AnnotatorError: the audio is empty or not finite, or memory does not suffice.
        """
        anybody_F = self._probabilities(wav_N, sample_rate_hz).max(axis=1)
        duration_s = wav_N.shape[0] / sample_rate_hz
        if duration_s < _SHORTEST_TURN_S:
            return Speech(turns=(), confidence=None)
        found = spans(anybody_F > EVEN_ODDS, duration_s=duration_s)
        return Speech(
            turns=tuple(Turn(a, b) for a, b in found if b - a >= _SHORTEST_TURN_S),
            confidence=_sureness(anybody_F),
        )


class PyanNetDiarizer(_PyanNet):
    """Diarizes by PyanNet, overlaps included.

    A speaker is heard for at least half a second where the voice detector hears speech: animals
    and crying have voices, too. The turns may reach beyond that.
    """

    def diarize(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Diarization:
        """Tell the speakers of mono audio (N,) apart.

        Returns:
            Turns labelled "speaker0", "speaker1", … in order of appearance; nothing known where
            `speech.confidence` is None. `overlap_ratio` is the share of the time with speakers
            that has two or more. `confidence` is how far the probabilities are from even odds, on
            average.
        Raises:
            AnnotatorError: the audio is empty or not finite, or memory does not suffice.
        """
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        if speech.confidence is None:
            return Diarization(turns=(), num_speakers=None, overlap_ratio=None, confidence=None)
        if not speech.turns:
            return Diarization(
                turns=(), num_speakers=0, overlap_ratio=0.0, confidence=speech.confidence
            )
        duration_s = wav_N.shape[0] / sample_rate_hz
        spoken = [(turn.start_s, turn.end_s) for turn in speech.turns]
        probability_FS = self._probabilities(wav_N, sample_rate_hz)
        active_FS = probability_FS > EVEN_ODDS
        heard = [spans(active_F, duration_s=duration_s) for active_F in active_FS.T]
        speakers = sorted(
            (found[0][0], n)
            for n, found in enumerate(heard)
            if shared_s(found, spoken) >= SHORTEST_VOICE_S
        )
        turns = [
            Turn(start_s, end_s, f"speaker{rank}")
            for rank, (_, n) in enumerate(speakers)
            for start_s, end_s in heard[n]
        ]
        count_F = active_FS[:, [n for _, n in speakers]].sum(axis=1)
        num_spoken = np.count_nonzero(count_F)
        return Diarization(
            turns=tuple(sorted(turns, key=lambda turn: (turn.start_s, turn.label))),
            num_speakers=len(speakers),
            overlap_ratio=np.count_nonzero(count_F > 1) / num_spoken if num_spoken else 0.0,
            confidence=_sureness(probability_FS),
        )


def _sureness(probability: Probabilities) -> float:
    """How far probabilities are from even odds, on average."""
    return float(np.abs(2.0 * probability.astype(np.float64) - 1.0).mean())
