"""Decide: whether a clip is kept, on all evidence so far."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from avipipe.decision.check import STAGES
from avipipe.decision.checks import CHECKS
from avipipe.decision.judge import Judge
from avipipe.decision.model import DecisionModel, read_model
from avipipe.manifests.records import Drop, Keep, Outcome
from avipipe.stages.base import Item, Stage


def _read(model: Any) -> Any:
    """A file's numbers become part of the configuration, so that they travel with the dataset."""
    return read_model(Path(model)) if isinstance(model, str | Path) else model


class DecideConfig(BaseModel):
    """When a clip is kept.

    Each limit but those that are exact is None: it asks nothing by itself, as the measure speaks
    for or against the clip by its weight. A number makes it a hard limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[DecisionModel | None, BeforeValidator(_read)] = Field(
        None, description="File of numbers to decide by (`avipipe calibrate`); none: the profile's."
    )
    min_probability: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Least probability of a kept clip to be good; none: the model's.",
    )
    min_clip_s: float | None = Field(2.0, ge=0, description="Shorter clips are dropped.")
    min_sound_dbfs: float | None = Field(
        -50.0, description="RMS level under which a clip is silent."
    )
    max_music: float | None = Field(
        None, ge=0, le=1, description="Score of music laid over the picture."
    )
    max_ambience: float | None = Field(
        None, ge=0, description="Score of wind, water, noise over that of things that sound."
    )
    max_crowd: float | None = Field(
        None, ge=0, description="Score of what many make at once over that of single things."
    )
    max_second_sound: float | None = Field(
        None, ge=0, le=1, description="Score of a second kind of sound, from another thing."
    )
    max_second_family: float | None = Field(
        None, ge=0, le=1, description="Second family of instruments, over the first one's score."
    )
    max_beside_speech: float | None = Field(
        None, ge=0, le=1, description="Score of other sounds while somebody speaks."
    )
    max_overlap_ratio: float | None = Field(
        None, ge=0, le=1, description="Share of overlapped speech."
    )
    max_speakers: int | None = Field(None, ge=0, description="Speakers that may be heard.")
    min_motion_px: float | None = Field(
        0.02, ge=0, description="Mean motion in px/frame at 180 px height; under it all stands."
    )
    max_speaking_faces: int | None = Field(None, ge=0, description="Faces that may speak.")
    min_speaking_ratio: float | None = Field(
        None, ge=0, le=1, description="Share of a voice during which one face speaks."
    )
    max_lip_p_value: float | None = Field(
        None, ge=0, le=1, description="Chance that mouth and voice agree by accident."
    )
    max_short_lip_p_value: float | None = Field(
        None, ge=0, le=1, description="The same chance, where the face is seen for less than 6 s."
    )
    max_p_value: float | None = Field(
        None, ge=0, le=1, description="Chance that sound and motion agree by accident."
    )
    max_speech_p_value: float | None = Field(
        None, ge=0, le=1, description="The same where speech prevails: voices are often unseen."
    )
    max_player_p_value: float | None = Field(
        None, ge=0, le=1, description="The same where music may be laid over the picture."
    )
    min_mover_share: float | None = Field(
        None, ge=0, le=1, description="Motion that one thing has, where the sound goes on and on."
    )
    min_margin: float | None = Field(
        None, description="Lead of the best region over another one that goes with the sound."
    )
    max_rival_share: float | None = Field(
        None, ge=0, le=1, description="Heat of a second place that goes with the sound."
    )
    max_sync_offset_s: float | None = Field(
        None, ge=0, description="Offset of sound and motion that stands out from accidents."
    )
    min_instances: int | None = Field(1, ge=0, description="Things found that may make the sound.")
    min_persistence: float | None = Field(
        0.9, ge=0, le=1, description="Share of frames with a mask."
    )
    min_area_ratio: float | None = Field(
        None, ge=0, le=1, description="Mean mask area over the frame's."
    )
    max_area_ratio: float | None = Field(
        None, ge=0, le=1, description="Mean mask area over the frame's."
    )
    max_instances: int | None = Field(None, ge=1, description="Things that compete for the sound.")
    min_similarity_margin: float | None = Field(
        None, description="Lead of what is likest to the sound."
    )
    min_mask_quality: float | None = Field(
        None, ge=0, le=1, description="Mean trust of the propagator in its masks."
    )
    min_agreement: float | None = Field(
        None, ge=0, le=1, description="Mean overlap with masks found by themselves in other frames."
    )
    min_temporal_iou: float | None = Field(
        None, ge=0, le=1, description="Mean overlap of the masks of successive frames."
    )
    max_area_jump_ratio: float | None = Field(
        None, ge=0, le=1, description="Share of frames in which the mask's area jumps by a third."
    )
    min_return_iou: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Overlap of the masks with what is carried back to them over 2 s, at worst.",
    )

    min_predicted_jf: float | None = Field(
        None, ge=0, le=1, description="How good the masks are likely to be: J&F."
    )

    min_source_short_side_px: float | None = Field(
        None, ge=0, description="Short side of the source, in square pixels; smaller are upscaled."
    )
    min_source_fps: float | None = Field(None, ge=0, description="Frame rate of the source.")

    @property
    def limits(self) -> dict[str, float]:
        """Name of a check -> the hard limit that is set."""
        set_ = ((check.name, getattr(self, check.limit)) for check in CHECKS if check.limit)
        return {name: float(limit) for name, limit in set_ if limit is not None}

    def judge(self, model: DecisionModel) -> Judge:
        """Who decides. `model`: the profile's, for a configuration that names none."""
        model = self.model or model
        return Judge(model, self.limits, self.min_probability or model.min_probability)


class Decide(Stage):
    """The decision after `after`, on all evidence up to there."""

    version: ClassVar[int] = 8
    level: ClassVar[Literal["source", "clip"]] = "clip"

    def __init__(self, judge: Judge, *, after: str) -> None:
        self.judge = judge
        self.name = f"decide_{after}"
        self.needs = STAGES[: STAGES.index(after) + 1]

    def settings(self) -> Mapping[str, Any]:
        judge = self.judge
        return {
            "limits": dict(judge.limits),
            "min_probability": judge.min_probability,
            "model": judge.model.digest(),
        }

    def run(self, item: Item, folder: Path) -> Outcome:
        known = {stage: item.evidence[stage] for stage in self.needs}
        found = self.judge.on(known)
        evidence = found.to_json()
        return Keep(evidence) if found.reason is None else Drop(found.reason, evidence)
