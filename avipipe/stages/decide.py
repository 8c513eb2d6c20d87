"""Keep or drop: a pure function of evidence and thresholds.

Every check compares one measure with one threshold of the configuration, so each drop names its
reason, the report can show evidence against threshold, and thresholds can be tried on stored
evidence without recomputing any of it. A measure that is unknown (None) never drops a clip by
itself; what a dataset asks to be *shown*, such as a visible source, is a measure that is never
unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from avipipe.manifests.records import Drop, DropReason, Evidence, Keep, Outcome
from avipipe.stages import measures as measure
from avipipe.stages.base import Item, Stage
from avipipe.stages.measures import Measure

Sense = Literal["at_least", "at_most"]


class DecideConfig(BaseModel):
    """Thresholds of the single-sounding-instance decision.

    Defaults come from the literature where it gives one, else from `avipipe.synth`, whose kinds
    they tell apart: see docs/decisions/0002-thresholds.md.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_clip_s: float = Field(2.0, ge=0, description="Shorter clips are dropped.")
    min_sound_dbfs: float = Field(-50.0, description="RMS level under which a clip is silent.")
    max_speakers: int = Field(1, ge=0, description="Speakers that may be heard.")
    max_overlap_ratio: float = Field(0.1, ge=0, le=1, description="Share of overlapped speech.")
    max_music: float = Field(0.5, ge=0, le=1, description="Score of music laid over the picture.")
    max_ambience: float = Field(
        1.0, ge=0, description="Score of wind, water, noise over that of things that sound."
    )
    max_crowd: float = Field(
        1.0, ge=0, description="Score of what many make at once over that of single things."
    )
    max_second_sound: float = Field(
        0.3, ge=0, le=1, description="Score of a second kind of sound, from another thing."
    )
    max_second_family: float = Field(
        0.5, ge=0, le=1, description="Second family of instruments, over the first one's score."
    )
    max_beside_speech: float = Field(
        0.3, ge=0, le=1, description="Score of other sounds while somebody speaks."
    )
    min_motion_px: float = Field(
        0.02, ge=0, description="Mean motion in px/frame at 180 px height; under it all stands."
    )
    max_p_value: float = Field(
        0.1, ge=0, le=1, description="Chance that sound and motion agree by accident."
    )
    max_speech_p_value: float = Field(
        0.05, ge=0, le=1, description="The same where speech prevails: voices are often unseen."
    )
    max_player_p_value: float = Field(
        0.05, ge=0, le=1, description="The same where music may be laid over the picture."
    )
    min_speaking_ratio: float = Field(
        0.7, ge=0, le=1, description="Share of a voice during which one face speaks."
    )
    max_speaking_faces: int = Field(1, ge=0, description="Faces that may speak.")
    max_lip_p_value: float = Field(
        0.1, ge=0, le=1, description="Chance that mouth and voice agree by accident."
    )
    max_short_lip_p_value: float = Field(
        0.3, ge=0, le=1, description="The same where the face is seen for less than 6 s."
    )
    min_mover_share: float = Field(
        0.5, ge=0, le=1, description="Motion that one thing has, where the sound goes on and on."
    )
    max_rival_share: float = Field(
        0.5, ge=0, le=1, description="Heat of a second place that goes with the sound."
    )
    min_margin: float = Field(
        0.15, description="Lead of the best region over another one that goes with the sound."
    )
    max_sync_offset_s: float = Field(
        0.1, ge=0, description="Offset of sound and motion that stands out from accidents."
    )
    min_persistence: float = Field(0.9, ge=0, le=1, description="Share of frames with a mask.")
    min_area_ratio: float = Field(0.01, ge=0, le=1, description="Mean mask area over the frame's.")
    max_area_ratio: float = Field(0.75, ge=0, le=1, description="Mean mask area over the frame's.")
    min_instances: int = Field(1, ge=0, description="Things found that may make the sound.")
    max_instances: int = Field(1, ge=1, description="Things that compete for the sound.")
    min_mask_quality: float = Field(
        0.5, ge=0, le=1, description="Mean trust of the propagator in its masks."
    )
    min_return_iou: float = Field(
        0.33,
        ge=0,
        le=1,
        description="Overlap of the masks with what is carried back to them over 2 s, at worst.",
    )
    min_similarity_margin: float = Field(
        0.0, description="Lead of what is likest to the sound; 0 asks nothing."
    )
    min_temporal_iou: float = Field(
        0.5, ge=0, le=1, description="Mean overlap of the masks of successive frames."
    )
    max_area_jump_ratio: float = Field(
        0.2, ge=0, le=1, description="Share of frames in which the mask's area jumps by a third."
    )
    min_agreement: float = Field(
        0.2, ge=0, le=1, description="Mean overlap with masks found by themselves in other frames."
    )


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: the clip passes if `measure` is `at_least` or `at_most` the threshold.

    It is made as soon as the evidence of `stage`, and of those before it, is there.
    """

    reason: DropReason
    stage: str
    measure: Measure
    sense: Sense
    threshold: str
    """Field of `DecideConfig`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found on one clip."""

    reason: DropReason
    threshold: str
    limit: float
    sense: Sense
    value: float | None
    passed: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "reason": self.reason.value,
            "threshold": self.threshold,
            "limit": self.limit,
            "sense": self.sense,
            "value": self.value,
            "passed": self.passed,
        }


R = DropReason

MASK_CHECKS: tuple[tuple[DropReason, str, Sense, str], ...] = (
    (R.NO_INSTANCE, "num_instances", "at_least", "min_instances"),
    (R.INSTANCE_NOT_PERSISTENT, "persistence", "at_least", "min_persistence"),
    (R.INSTANCE_TOO_SMALL, "mean_area_ratio", "at_least", "min_area_ratio"),
    (R.INSTANCE_TOO_LARGE, "mean_area_ratio", "at_most", "max_area_ratio"),
    (R.SEVERAL_INSTANCES, "num_instances", "at_most", "max_instances"),
    (R.SEVERAL_SOURCES, "similarity_margin", "at_least", "min_similarity_margin"),
    (R.MASK_UNSTABLE, "mean_quality", "at_least", "min_mask_quality"),
    (R.MASK_UNSTABLE, "agreement", "at_least", "min_agreement"),
    (R.MASK_UNSTABLE, "temporal_iou", "at_least", "min_temporal_iou"),
    (R.MASK_UNSTABLE, "area_jump_ratio", "at_most", "max_area_jump_ratio"),
    (R.MASK_UNSTABLE, "return_iou", "at_least", "min_return_iou"),
)
"""What is asked of fields of `MaskEvidence`: reason, field, sense, threshold."""


CHECKS: tuple[Check, ...] = (
    Check(R.TOO_SHORT, "listen", measure.field("listen", "duration_s"), "at_least", "min_clip_s"),
    Check(R.SILENT, "listen", measure.field("listen", "rms_dbfs"), "at_least", "min_sound_dbfs"),
    Check(R.MUSIC_OVER_PICTURE, "listen", measure.music, "at_most", "max_music"),
    Check(R.AMBIENCE, "listen", measure.ambience, "at_most", "max_ambience"),
    Check(R.CROWD, "listen", measure.crowd, "at_most", "max_crowd"),
    Check(R.SEVERAL_SOURCES, "listen", measure.second_sound, "at_most", "max_second_sound"),
    Check(R.SEVERAL_SOURCES, "listen", measure.second_family, "at_most", "max_second_family"),
    Check(R.SEVERAL_SOURCES, "listen", measure.beside_speech, "at_most", "max_beside_speech"),
    Check(
        R.OVERLAPPED_SPEECH,
        "listen",
        measure.field("listen", "overlap_ratio"),
        "at_most",
        "max_overlap_ratio",
    ),
    Check(
        R.STATIC_PICTURE, "look", measure.field("look", "motion_px"), "at_least", "min_motion_px"
    ),
    Check(R.SEVERAL_SPEAKERS, "look", measure.num_speakers, "at_most", "max_speakers"),
    Check(R.SEVERAL_SPEAKERS, "look", measure.num_speaking_faces, "at_most", "max_speaking_faces"),
    Check(R.NO_VISIBLE_SOURCE, "look", measure.speaking_ratio, "at_least", "min_speaking_ratio"),
    Check(R.NO_VISIBLE_SOURCE, "look", measure.lip_chance, "at_most", "max_lip_p_value"),
    Check(
        R.NO_VISIBLE_SOURCE, "look", measure.short_lip_chance, "at_most", "max_short_lip_p_value"
    ),
    Check(R.NO_VISIBLE_SOURCE, "look", measure.chance, "at_most", "max_p_value"),
    Check(R.NO_VISIBLE_SOURCE, "look", measure.speech_chance, "at_most", "max_speech_p_value"),
    Check(R.MUSIC_OVER_PICTURE, "look", measure.player_chance, "at_most", "max_player_p_value"),
    Check(R.NO_VISIBLE_SOURCE, "look", measure.mover_share, "at_least", "min_mover_share"),
    Check(R.SEVERAL_SOURCES, "look", measure.second_source, "at_least", "min_margin"),
    Check(R.SEVERAL_SOURCES, "look", measure.rival_share, "at_most", "max_rival_share"),
    Check(R.OUT_OF_SYNC, "look", measure.clear_offset_s, "at_most", "max_sync_offset_s"),
    *(
        Check(reason, "mask", measure.field("mask", name), sense, threshold)
        for reason, name, sense, threshold in MASK_CHECKS
    ),
)
"""In the order in which they are asked: the first that fails gives the reason."""


FIELDS: Mapping[str, tuple[str, ...]] = {
    "listen": (
        *("duration_s", "rms_dbfs", "tags", "tag_details", "tag_classes"),
        *("speech", "speech_ratio", "overlap_ratio", "num_speakers"),
    ),
    "look": ("motion_px", "p_value", "margin", "measures", "sync_offset_s", "sync_z", "faces"),
    "mask": tuple(dict.fromkeys(name for _, name, _, _ in MASK_CHECKS)),
}
"""Stage -> the fields of its evidence that `CHECKS` reads, and nothing more."""


def measures(evidence: Mapping[str, Evidence]) -> dict[str, float | None]:
    """Threshold name -> what is measured against it, for the evidence that is there.

    Args:
        evidence: of `listen`, `look` and `mask`, as far as they have run.
    """
    return {check.threshold: check.measure(evidence) for check in CHECKS if check.stage in evidence}


def judge(values: Mapping[str, float | None], config: DecideConfig) -> list[Finding]:
    """Compare `measures` with the thresholds, in the order of `CHECKS`."""
    found = []
    for check in CHECKS:
        if check.threshold not in values:
            continue
        limit = float(getattr(config, check.threshold))
        value = values[check.threshold]
        if value is None:
            passed = True
        elif check.sense == "at_least":
            passed = value >= limit
        else:
            passed = value <= limit
        found.append(Finding(check.reason, check.threshold, limit, check.sense, value, passed))
    return found


def findings(evidence: Mapping[str, Evidence], config: DecideConfig) -> list[Finding]:
    """Every check whose evidence is there, against its threshold."""
    return judge(measures(evidence), config)


def verdict(found: Sequence[Finding]) -> DropReason | None:
    """The reason to drop a clip, or None to keep it: the first check that it does not pass."""
    return next((finding.reason for finding in found if not finding.passed), None)


class Decide(Stage):
    """The decision after `after`, on all evidence up to there."""

    version: ClassVar[int] = 7
    level: ClassVar[Literal["source", "clip"]] = "clip"
    EVIDENCE: ClassVar[tuple[str, ...]] = ("listen", "look", "mask")

    def __init__(self, config: DecideConfig, *, after: str) -> None:
        self.config = config
        self.name = f"decide_{after}"
        self.needs = self.EVIDENCE[: self.EVIDENCE.index(after) + 1]

    def settings(self) -> Mapping[str, Any]:
        return self.config.model_dump(mode="json")

    def run(self, item: Item, folder: Path) -> Outcome:
        found = findings(item.evidence, self.config)
        evidence: Evidence = {"findings": [finding.to_json() for finding in found]}
        reason = verdict(found)
        return Keep(evidence) if reason is None else Drop(reason, evidence)
