"""Evidence of a clip that is as it should be, hard limits for every check, and small models."""

import copy
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from avipipe.decision.checks import CHECKS, KNOWN
from avipipe.decision.judge import Judge, Judgement, Values
from avipipe.decision.model import DecisionModel, Term
from avipipe.manifests.records import DropReason
from avipipe.stages.decide import DecideConfig

LIMITS: Mapping[str, float] = {
    "min_clip_s": 2.0,
    "min_sound_dbfs": -50.0,
    "max_speakers": 1,
    "max_overlap_ratio": 0.1,
    "max_music": 0.5,
    "max_ambience": 1.0,
    "max_crowd": 1.0,
    "max_second_sound": 0.3,
    "max_second_family": 0.5,
    "max_beside_speech": 0.3,
    "min_motion_px": 0.02,
    "max_p_value": 0.1,
    "max_speech_p_value": 0.05,
    "max_player_p_value": 0.05,
    "min_speaking_ratio": 0.7,
    "max_speaking_faces": 1,
    "max_lip_p_value": 0.1,
    "max_short_lip_p_value": 0.3,
    "min_mover_share": 0.5,
    "max_rival_share": 0.5,
    "min_margin": 0.15,
    "max_sync_offset_s": 0.1,
    "min_persistence": 0.9,
    "min_area_ratio": 0.01,
    "max_area_ratio": 0.75,
    "min_instances": 1,
    "max_instances": 1,
    "min_mask_quality": 0.5,
    "min_return_iou": 0.33,
    "min_similarity_margin": 0.0,
    "min_temporal_iou": 0.5,
    "max_area_jump_ratio": 0.2,
    "min_agreement": 0.2,
    "min_predicted_jf": 0.6,
    "min_source_short_side_px": 240,
    "min_source_fps": 12.0,
}
"""A hard limit for every check that can have one, where single measures are wanted."""

STAGES = ("listen", "look", "mask")

LISTEN: dict[str, Any] = {
    "duration_s": 5.0,
    "rms_dbfs": -20.0,
    "peak_dbfs": -3.0,
    "noise_floor_dbfs": -55.0,
    "silence_ratio": 0.1,
    "clipped_ratio": 0.0,
    "tags": {"music": 0.1, "speech": 0.9},
    "tag_details": {},
    "tag_classes": {},
    "speech": [{"start_s": 0.5, "end_s": 4.5, "label": "speech"}],
    "speakers": [{"start_s": 0.5, "end_s": 4.5, "label": "S0"}],
    "overlap_ratio": 0.0,
    "num_speakers": 1,
    "onsets_s": [0.5, 2.0],
    "speech_ratio": 0.8,
    "backends": {"tag": "ear@1", "vad": "ear@1"},
}
LOOK: dict[str, Any] = {
    "motion_px": 0.4,
    "p_value": 0.01,
    "margin": 0.3,
    "measures": {"num_regions": 1.0},
    "sync_offset_s": 0.04,
    "sync_z": 5.0,
    "faces": None,
    "source_short_side_px": 720.0,
    "source_fps": 25.0,
    "backends": {"localize": "eye@1"},
}
"""As an avipipe stored it that knew no names of things: without `things`, `match`, `text_area`."""

MASK: dict[str, Any] = {
    "num_instances": 1,
    "persistence": 1.0,
    "mean_area_ratio": 0.2,
    "mean_quality": 0.9,
    "return_iou": 0.9,
    "agreement": 0.9,
    "similarity_margin": None,
    "temporal_iou": 0.9,
    "area_jump_ratio": 0.0,
    "sound_share": 0.8,
    "predicted_jf": 0.9,
    "backends": {"segment": "hand@1"},
}
GOOD: dict[str, dict[str, Any]] = {"listen": LISTEN, "look": LOOK, "mask": MASK}

SPEAKING: dict[str, Any] = {
    "start_s": 0.0,
    "end_s": 5.0,
    "box": [0.4, 0.1, 0.6, 0.5],
    "score": 1.5,
    "speech_score": 2.0,
    "scores": [2.0] * 20,
    "box_step_frames": 6,
    "sync_p_value": 0.02,
}
SEEN: dict[str, Any] = {
    "faces": [SPEAKING],
    "things": [
        {"label": "person", "start_s": 0.0, "end_s": 5.0, "score": 0.9},
        {"label": "dog", "start_s": 0.0, "end_s": 1.0, "score": 0.5},
    ],
    "text_area": 0.01,
    "match": [{"source": "Speech", "heard": 0.9, "thing": "person", "match": 0.9}],
}
"""What eyes that know names add to LOOK."""


def changed(**values: Any) -> dict[str, dict[str, Any]]:
    """The good clip, but for some `stage__field` values."""
    evidence = copy.deepcopy(GOOD)
    for name, value in values.items():
        stage, field = name.split("__")
        evidence[stage][field] = value
    return evidence


def model(terms: Mapping[str, tuple[float, float]] | None = None, **changes: Any) -> DecisionModel:
    """Numbers to decide by. `terms`: check -> log-odds at the ends of its span;
    the priors are half of them."""
    fitted = {}
    for name, (first, last) in (terms or {}).items():
        low, high = KNOWN[name].span
        knots, prior = ((low, first), (high, last)), ((low, first / 2), (high, last / 2))
        fitted[name] = Term(knots=knots, prior=prior)
    numbers = {
        "version": 1,
        "name": "test",
        "intercept": 0.0,
        "min_probability": 0.5,
        "backends": {},
        "terms": fitted,
        "data": "nothing",
    }
    return DecisionModel(**{**numbers, **changes})


def strict(**limits: Any) -> Judge:
    """Hard limits alone, each at its value of LIMITS unless another is given."""
    return DecideConfig.model_validate({**LIMITS, **limits}).judge(model())


def limit(name: str, value: Any) -> Judge:
    """One hard limit, and no more."""
    unset = dict.fromkeys(DecideConfig.model_fields)
    return DecideConfig.model_validate({**unset, name: value}).judge(model())


def judged(judge: Judge, evidence: Mapping[str, dict[str, Any]]) -> Judgement:
    return judge.on(evidence)


def reason(**values: Any) -> DropReason | None:
    """Why hard limits alone drop the good clip with some values changed."""
    return judged(strict(), changed(**values)).reason


# Steps of one decimal, so that sums often meet exactly what is asked.
_steps = st.integers(-20, 20).map(lambda n: n / 10)


@st.composite
def models(draw: st.DrawFn) -> DecisionModel:
    """Small ones, whose terms rise or fall as their measures are meant to."""
    names = draw(st.lists(st.sampled_from(sorted(KNOWN)), min_size=1, max_size=8, unique=True))

    def knots(name: str) -> tuple[tuple[float, float], ...]:
        low, high = KNOWN[name].span
        ends = sorted((draw(_steps), draw(_steps)), reverse=KNOWN[name].sign < 0)
        return ((low, ends[0]), (high, ends[1]))

    terms = {name: Term(knots=knots(name), prior=knots(name)) for name in names}
    roles = sorted({role for name in names for role in KNOWN[name].roles})
    fitted = draw(st.sets(st.sampled_from(roles))) if roles else set()
    asked = draw(st.sampled_from([0.1, 0.5, 0.9]))
    return model(
        terms=None,
        intercept=draw(_steps),
        min_probability=asked,
        backends=dict.fromkeys(fitted, "known@1"),
    ).model_copy(update={"terms": terms})


@st.composite
def values(draw: st.DrawFn) -> Values:
    """Of all checks: unknown, at the ends of the span, within it, and beyond it."""
    found: dict[str, float | None] = {}
    for check in CHECKS:
        low, high = check.span
        part = draw(st.sampled_from([None, 0.0, 1.0, 0.5, -1.0, 2.0, 0.123]))
        found[check.name] = None if part is None else low + part * (high - low)
    return found


@st.composite
def backends(draw: st.DrawFn) -> dict[str, str]:
    roles = sorted({role for check in CHECKS for role in check.roles})
    return {role: draw(st.sampled_from(["known@1", "other@1"])) for role in roles}


def until(stage: str, found: Values) -> Values:
    """What is known once a stage has run."""
    there = STAGES[: STAGES.index(stage) + 1]
    return {name: value for name, value in found.items() if KNOWN[name].stage in there}
