"""What is measured on a clip, by stage: the evidence that decisions and reports rest on.

Raw numbers, so that thresholds can be applied to them again; None where a backend cannot tell.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

Rounded = Annotated[float, AfterValidator(lambda value: round(value, 4))]
"""Four decimals: enough for every threshold, and the same text on every machine."""


class _Evidence(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SpeakerTurn(_Evidence):
    """Half-open, in seconds from the start of the clip."""

    start_s: Rounded
    end_s: Rounded
    label: str


class ListenEvidence(_Evidence):
    """What the sound of a clip says.

    Attributes:
        rms_dbfs, peak_dbfs: level of the whole clip; -120 for digital silence.
        noise_floor_dbfs: level of its quietest tenth.
        silence_ratio: share of time 40 dB or more under the peak, or under -60 dBFS.
        clipped_ratio: share of samples at full scale.
        speech: where somebody speaks; `speech_ratio` is their share of the clip.
        speakers: who speaks when.
        stem_dbfs: name of a separated stem -> its level.
        tags: group of sounds -> score in [0, 1]; a group nobody can judge is absent.
        onsets_s: when sounds begin.
        waveform: largest absolute sample of 200 equal parts of the clip.
        backends: role -> `name@version`.
    """

    duration_s: Rounded
    rms_dbfs: Rounded
    peak_dbfs: Rounded
    noise_floor_dbfs: Rounded
    silence_ratio: Rounded
    clipped_ratio: Rounded
    speech: list[SpeakerTurn]
    speech_ratio: Rounded
    speech_confidence: Rounded | None
    speakers: list[SpeakerTurn]
    num_speakers: int | None
    overlap_ratio: Rounded | None
    diarization_confidence: Rounded | None
    stem_dbfs: dict[str, Rounded]
    tags: dict[str, Rounded]
    tag_details: dict[str, Rounded]
    tag_confidence: Rounded | None
    onsets_s: list[Rounded]
    waveform: list[Rounded]
    backends: dict[str, str]
