"""Keep or drop: a pure function of evidence and thresholds.

Every check compares one measure with one threshold of the configuration, so each drop names its
reason, the report can show evidence against threshold, and thresholds can be tried on stored
evidence without recomputing any of it. A measure that is unknown (None) never drops a clip by
itself; what a dataset asks to be *shown*, such as a visible source, is a measure that is never
unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from avipipe.manifests.records import Drop, DropReason, Evidence, Keep, Outcome
from avipipe.stages.base import Item, Stage


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
    min_motion_px: float = Field(
        0.02, ge=0, description="Mean motion in px/frame at 180 px height; under it all stands."
    )
    max_p_value: float = Field(
        0.1, ge=0, le=1, description="Chance that sound and motion agree by accident."
    )
    max_speech_p_value: float = Field(
        0.05, ge=0, le=1, description="The same where speech prevails: voices are often unseen."
    )
    min_margin: float = Field(
        0.15, description="Lead of the best region over another one that goes with the sound."
    )
    max_sync_offset_s: float = Field(
        0.1, ge=0, description="Offset of sound and motion that stands out from accidents."
    )
    min_persistence: float = Field(0.9, ge=0, le=1, description="Share of frames with a mask.")
    min_area_ratio: float = Field(0.01, ge=0, le=1, description="Mean mask area over the frame's.")
    max_area_ratio: float = Field(0.6, ge=0, le=1, description="Mean mask area over the frame's.")
    min_instances: int = Field(1, ge=0, description="Things found that may make the sound.")
    max_instances: int = Field(1, ge=1, description="Things that compete for the sound.")
    min_mask_quality: float = Field(
        0.5, ge=0, le=1, description="Mean trust of the propagator in its masks."
    )
    min_return_iou: float = Field(
        0.5, ge=0, le=1, description="Overlap of the seed mask with itself, carried there and back."
    )
    min_agreement: float = Field(
        0.2, ge=0, le=1, description="Mean overlap with masks found by themselves in other frames."
    )


Measure = Callable[[Mapping[str, Evidence]], float | None]
"""From the evidence of all stages so far to one number; None where it is unknown."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: the clip passes if `measure` is `at_least` or `at_most` the threshold.

    It is made as soon as the evidence of `stage`, and of those before it, is there.
    """

    reason: DropReason
    stage: str
    measure: Measure
    sense: Literal["at_least", "at_most"]
    threshold: str
    """Field of `DecideConfig`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found on one clip."""

    reason: DropReason
    threshold: str
    limit: float
    sense: Literal["at_least", "at_most"]
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

MOSTLY_SPEECH = 0.5
"""Share of speech from which a clip's sound counts as a voice."""

CLEAR_Z = 4.0
"""Standard deviations by which an offset must stand out to be believed."""


def _number(name: str) -> Callable[[Evidence], float | None]:
    """Measures a field; None where it is unknown."""

    def measure(evidence: Evidence) -> float | None:
        value = evidence[name]
        return None if value is None else float(value)

    return measure


def _music(evidence: Evidence) -> float | None:
    score = evidence["tags"].get("music")
    return None if score is None else float(score)


def _second_source(evidence: Evidence) -> float | None:
    """The margin between two regions that both go with the sound; None where only one does."""
    if evidence["measures"].get("num_regions", 0) < 2:
        return None
    return _number("margin")(evidence)


def _clear_offset_s(evidence: Evidence) -> float | None:
    offset_s, z = evidence["sync_offset_s"], evidence["sync_z"]
    if offset_s is None or z is None or z < CLEAR_Z:
        return None
    return abs(float(offset_s))


def _chance(evidence: Mapping[str, Evidence]) -> float:
    """The p-value of the visible source; 1 where nothing moves that could be tested."""
    value = evidence["look"]["p_value"]
    return 1.0 if value is None else float(value)


def _speech_chance(evidence: Mapping[str, Evidence]) -> float | None:
    is_speech = evidence["listen"]["speech_ratio"] >= MOSTLY_SPEECH
    return _chance(evidence) if is_speech else None


def _of(stage: str, measure: Callable[[Evidence], float | None]) -> Measure:
    return lambda evidence: measure(evidence[stage])


CHECKS: tuple[Check, ...] = (
    Check(R.TOO_SHORT, "listen", _of("listen", _number("duration_s")), "at_least", "min_clip_s"),
    Check(R.SILENT, "listen", _of("listen", _number("rms_dbfs")), "at_least", "min_sound_dbfs"),
    Check(R.MUSIC_OVER_PICTURE, "listen", _of("listen", _music), "at_most", "max_music"),
    Check(
        R.OVERLAPPED_SPEECH,
        "listen",
        _of("listen", _number("overlap_ratio")),
        "at_most",
        "max_overlap_ratio",
    ),
    Check(
        R.SEVERAL_SPEAKERS,
        "listen",
        _of("listen", _number("num_speakers")),
        "at_most",
        "max_speakers",
    ),
    Check(R.STATIC_PICTURE, "look", _of("look", _number("motion_px")), "at_least", "min_motion_px"),
    Check(R.NO_VISIBLE_SOURCE, "look", _chance, "at_most", "max_p_value"),
    Check(R.NO_VISIBLE_SOURCE, "look", _speech_chance, "at_most", "max_speech_p_value"),
    Check(R.SEVERAL_SOURCES, "look", _of("look", _second_source), "at_least", "min_margin"),
    Check(R.OUT_OF_SYNC, "look", _of("look", _clear_offset_s), "at_most", "max_sync_offset_s"),
    Check(
        R.NO_INSTANCE, "mask", _of("mask", _number("num_instances")), "at_least", "min_instances"
    ),
    Check(
        R.INSTANCE_NOT_PERSISTENT,
        "mask",
        _of("mask", _number("persistence")),
        "at_least",
        "min_persistence",
    ),
    Check(
        R.INSTANCE_TOO_SMALL,
        "mask",
        _of("mask", _number("mean_area_ratio")),
        "at_least",
        "min_area_ratio",
    ),
    Check(
        R.INSTANCE_TOO_LARGE,
        "mask",
        _of("mask", _number("mean_area_ratio")),
        "at_most",
        "max_area_ratio",
    ),
    Check(
        R.SEVERAL_INSTANCES,
        "mask",
        _of("mask", _number("num_instances")),
        "at_most",
        "max_instances",
    ),
    Check(
        R.MASK_UNSTABLE,
        "mask",
        _of("mask", _number("mean_quality")),
        "at_least",
        "min_mask_quality",
    ),
    Check(
        R.MASK_UNSTABLE, "mask", _of("mask", _number("return_iou")), "at_least", "min_return_iou"
    ),
    Check(R.MASK_UNSTABLE, "mask", _of("mask", _number("agreement")), "at_least", "min_agreement"),
)
"""In the order in which they are asked: the first that fails gives the reason."""


FIELDS: Mapping[str, tuple[str, ...]] = {
    "listen": (
        *("duration_s", "rms_dbfs", "tags", "overlap_ratio", "num_speakers", "speech_ratio"),
    ),
    "look": ("motion_px", "p_value", "margin", "measures", "sync_offset_s", "sync_z"),
    "mask": (
        *(
            "num_instances",
            "persistence",
            "mean_area_ratio",
            "mean_quality",
            "return_iou",
            "agreement",
        ),
    ),
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

    version: ClassVar[int] = 1
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
