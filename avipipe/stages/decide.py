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
    """Thresholds of the single-sounding-instance decision."""

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
        0.05, ge=0, le=1, description="Chance that sound and motion agree by accident."
    )
    min_persistence: float = Field(0.9, ge=0, le=1, description="Share of frames with a mask.")
    min_area_ratio: float = Field(0.01, ge=0, le=1, description="Mean mask area over the frame's.")
    max_area_ratio: float = Field(0.6, ge=0, le=1, description="Mean mask area over the frame's.")
    max_instances: int = Field(1, ge=1, description="Competing instances.")
    min_mask_quality: float = Field(0.5, ge=0, le=1, description="Mean trust in the mask track.")


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: the clip passes if `measure` is `at_least` or `at_most` the threshold."""

    reason: DropReason
    stage: str
    measure: Callable[[Evidence], float | None]
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


def _music(evidence: Evidence) -> float | None:
    score = evidence["tags"].get("music")
    return None if score is None else float(score)


def _speakers(evidence: Evidence) -> float | None:
    count = evidence["num_speakers"]
    return None if count is None else float(count)


CHECKS: tuple[Check, ...] = (
    Check(
        DropReason.TOO_SHORT, "listen", lambda e: float(e["duration_s"]), "at_least", "min_clip_s"
    ),
    Check(
        DropReason.SILENT, "listen", lambda e: float(e["rms_dbfs"]), "at_least", "min_sound_dbfs"
    ),
    Check(DropReason.SEVERAL_SPEAKERS, "listen", _speakers, "at_most", "max_speakers"),
    Check(
        DropReason.OVERLAPPED_SPEECH,
        "listen",
        lambda e: e["overlap_ratio"],
        "at_most",
        "max_overlap_ratio",
    ),
    Check(DropReason.MUSIC_OVER_PICTURE, "listen", _music, "at_most", "max_music"),
    Check(DropReason.STATIC_PICTURE, "look", lambda e: e["motion_px"], "at_least", "min_motion_px"),
    Check(DropReason.NO_VISIBLE_SOURCE, "look", lambda e: e["p_value"], "at_most", "max_p_value"),
    Check(
        DropReason.INSTANCE_NOT_PERSISTENT,
        "mask",
        lambda e: e["persistence"],
        "at_least",
        "min_persistence",
    ),
)
"""In the order in which they are asked: the first that fails gives the reason."""


def measures(evidence: Mapping[str, Evidence]) -> dict[str, float | None]:
    """Threshold name -> what is measured against it, for the evidence that is there.

    Args:
        evidence: of `listen`, `look` and `mask`, as far as they have run.
    """
    return {
        check.threshold: check.measure(evidence[check.stage])
        for check in CHECKS
        if check.stage in evidence
    }


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
