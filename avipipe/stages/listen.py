"""Listen: what the sound of a clip says, from one decode of the sound alone."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from avipipe.annotators.base import HEARING_HZ, AudioTagger, Diarizer, Separator, Turn, Vad, Wave
from avipipe.annotators.signal import onset_times, resample, spectral_flux
from avipipe.manifests.evidence import ListenEvidence, SpeakerTurn
from avipipe.manifests.records import Keep, Outcome
from avipipe.media.decode import read_audio
from avipipe.media.normalize import SAMPLE_RATE_HZ
from avipipe.media.probe import MediaInfo
from avipipe.stages.annotated import AnnotatedStage
from avipipe.stages.base import Item
from avipipe.stages.fetch import source_path

SILENCE_DBFS = -120.0
"""Level that stands for digital silence, under the noise of 16 bits."""
MIN_ONSET_DB = 3.0
"""Least rise of an onset: steady noise then gives few. A choice."""
NUM_WAVEFORM_POINTS = 200
"""Peaks of a clip that its drawn waveform has; a choice."""


class ListenConfig(BaseModel):
    """How clips are listened to; the backends are chosen by role."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_onset: float = Field(
        0.3, ge=0, le=1, description="Rise of an onset, as a share of the clip's strongest."
    )
    min_onset_gap_s: float = Field(0.1, gt=0, description="Least time between two onsets.")


class Listen(AnnotatedStage):
    """Measures levels, speech, speakers, stems, sound groups and onsets (`ListenEvidence`)."""

    name = "listen"
    version: ClassVar[int] = 2
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs = ("fetch", "probe")

    def __init__(
        self,
        config: ListenConfig,
        *,
        vad: Vad,
        diarizer: Diarizer,
        separator: Separator,
        tagger: AudioTagger,
    ) -> None:
        super().__init__(
            config, {"vad": vad, "diarize": diarizer, "separate": separator, "tag": tagger}
        )
        self.config = config
        self._vad = vad
        self._diarizer = diarizer
        self._separator = separator
        self._tagger = tagger

    def run(self, item: Item, folder: Path) -> Outcome:
        span = item.clip_span
        wav_CN = read_audio(
            source_path(item),
            MediaInfo.from_json(item.evidence["probe"]),
            start_s=span.start_s,
            end_s=span.end_s,
            sample_rate_hz=SAMPLE_RATE_HZ,
            mono=False,
        )
        return Keep(self.listen(wav_CN).model_dump(mode="json"))

    def listen(self, wav_CN: Wave) -> ListenEvidence:
        """Everything that is measured on a clip's sound (C, N) at 48 kHz."""
        mono_N = wav_CN.mean(axis=0)
        speech_wav_N = resample(mono_N, from_hz=SAMPLE_RATE_HZ, to_hz=HEARING_HZ)
        rate_hz = HEARING_HZ
        speech = self._vad.speech(speech_wav_N, sample_rate_hz=rate_hz)
        speakers = self._diarizer.diarize(speech_wav_N, sample_rate_hz=rate_hz, speech=speech)
        tags = self._tagger.tag(speech_wav_N, sample_rate_hz=rate_hz, speech=speech)
        stems = self._separator.separate(wav_CN, sample_rate_hz=SAMPLE_RATE_HZ)
        duration_s = wav_CN.shape[1] / SAMPLE_RATE_HZ
        frames_db = _frame_levels_dbfs(mono_N)
        peak = float(np.abs(wav_CN).max(initial=0.0))
        quiet_dbfs = max(_dbfs(peak) - 40, -60.0)
        return ListenEvidence(
            duration_s=duration_s,
            rms_dbfs=_rms_dbfs(wav_CN),
            peak_dbfs=_dbfs(peak),
            noise_floor_dbfs=float(np.percentile(frames_db, 10)),
            silence_ratio=float((frames_db <= quiet_dbfs).mean()),
            clipped_ratio=float((np.abs(wav_CN) >= 0.999).mean()),
            speech=_turns(speech.turns),
            speech_ratio=_total_s(speech.turns) / duration_s,
            speech_confidence=speech.confidence,
            speakers=_turns(speakers.turns),
            num_speakers=speakers.num_speakers,
            overlap_ratio=speakers.overlap_ratio,
            diarization_confidence=speakers.confidence,
            stem_dbfs={name: _rms_dbfs(wav) for name, wav in stems.waves.items()},
            tags=dict(tags.scores),
            tag_details=dict(tags.details),
            tag_classes=dict(tags.classes),
            tag_confidence=tags.confidence,
            onsets_s=self._onsets_s(speech_wav_N),
            waveform=_waveform(wav_CN),
            backends=self.backend_names(),
        )

    def _onsets_s(self, mono_N: Wave) -> list[float]:
        flux_F = spectral_flux(mono_N, sample_rate_hz=HEARING_HZ)
        times_s = onset_times(
            flux_F,
            smallest_rise_db=max(MIN_ONSET_DB, self.config.min_onset * float(flux_F.max())),
            shortest_gap_s=self.config.min_onset_gap_s,
        )
        return [float(time_s) for time_s in times_s]


def _turns(turns: tuple[Turn, ...]) -> list[SpeakerTurn]:
    return [SpeakerTurn(start_s=turn.start_s, end_s=turn.end_s, label=turn.label) for turn in turns]


def _total_s(turns: tuple[Turn, ...]) -> float:
    return sum(turn.end_s - turn.start_s for turn in turns)


def _dbfs(amplitude: float) -> float:
    return max(20 * float(np.log10(max(amplitude, 1e-12))), SILENCE_DBFS)


def _rms_dbfs(wav_CN: Wave) -> float:
    return _dbfs(float(np.sqrt(np.square(wav_CN, dtype=np.float64).mean())))


def _frame_levels_dbfs(mono_N: Wave) -> npt.NDArray[np.float64]:
    """RMS level of each 50 ms."""
    length = SAMPLE_RATE_HZ // 20
    whole_N = np.pad(mono_N, (0, -mono_N.size % length))
    power = np.square(whole_N, dtype=np.float64).reshape(-1, length).mean(axis=1)
    levels = 10 * np.log10(np.maximum(power, 1e-24))
    return np.asarray(np.maximum(levels, SILENCE_DBFS), dtype=np.float64)


def _waveform(wav_CN: Wave) -> list[float]:
    loudest_N = np.abs(wav_CN).max(axis=0)
    return [float(part.max(initial=0.0)) for part in np.array_split(loudest_N, NUM_WAVEFORM_POINTS)]
