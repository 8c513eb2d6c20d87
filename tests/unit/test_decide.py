"""Each check drops for its own reason, and unknown evidence drops nothing."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from avipipe.manifests.evidence import ListenEvidence, LookEvidence, MaskEvidence
from avipipe.manifests.records import Drop, DropReason, Keep, SourceLine, Span
from avipipe.stages.base import Item
from avipipe.stages.decide import CHECKS, FIELDS, Decide, DecideConfig, findings, verdict

GOOD: dict[str, dict[str, Any]] = {
    "listen": {
        "duration_s": 5.0,
        "rms_dbfs": -20.0,
        "tags": {"music": 0.1, "speech": 0.9},
        "tag_details": {},
        "tag_classes": {},
        "speech": [{"start_s": 0.5, "end_s": 4.5, "label": "speech"}],
        "overlap_ratio": 0.0,
        "num_speakers": 1,
        "speech_ratio": 0.8,
    },
    "look": {
        "motion_px": 0.4,
        "p_value": 0.01,
        "margin": 0.3,
        "measures": {"num_regions": 1.0},
        "sync_offset_s": 0.04,
        "sync_z": 5.0,
        "faces": None,
    },
    "mask": {
        "num_instances": 1,
        "persistence": 1.0,
        "mean_area_ratio": 0.2,
        "mean_quality": 0.9,
        "return_iou": 0.9,
        "agreement": 0.9,
        "similarity_margin": None,
        "temporal_iou": 0.9,
        "area_jump_ratio": 0.0,
    },
}


def changed(**values: Any) -> dict[str, dict[str, Any]]:
    """The good clip, but for some `stage__field` values."""
    evidence = copy.deepcopy(GOOD)
    for name, value in values.items():
        stage, field = name.split("__")
        evidence[stage][field] = value
    return evidence


def reason(**values: Any) -> DropReason | None:
    return verdict(findings(changed(**values), DecideConfig()))


def test_a_good_clip_is_kept() -> None:
    assert reason() is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"listen__duration_s": 1.9}, DropReason.TOO_SHORT),
        ({"listen__rms_dbfs": -120.0}, DropReason.SILENT),
        ({"listen__tags": {"music": 0.9}}, DropReason.MUSIC_OVER_PICTURE),
        ({"listen__overlap_ratio": 0.3}, DropReason.OVERLAPPED_SPEECH),
        ({"listen__num_speakers": 2}, DropReason.SEVERAL_SPEAKERS),
        ({"look__motion_px": 0.0}, DropReason.STATIC_PICTURE),
        ({"look__p_value": 0.3}, DropReason.NO_VISIBLE_SOURCE),
        ({"look__p_value": None}, DropReason.NO_VISIBLE_SOURCE),
        ({"look__p_value": 0.07}, DropReason.NO_VISIBLE_SOURCE),
        (
            {"look__measures": {"num_regions": 2.0}, "look__margin": 0.02},
            DropReason.SEVERAL_SOURCES,
        ),
        ({"look__sync_offset_s": -0.3}, DropReason.OUT_OF_SYNC),
        ({"mask__num_instances": 0, "mask__persistence": 0.0}, DropReason.NO_INSTANCE),
        ({"mask__num_instances": 3}, DropReason.SEVERAL_INSTANCES),
        ({"mask__persistence": 0.5}, DropReason.INSTANCE_NOT_PERSISTENT),
        ({"mask__mean_area_ratio": 0.001}, DropReason.INSTANCE_TOO_SMALL),
        ({"mask__mean_area_ratio": 0.9}, DropReason.INSTANCE_TOO_LARGE),
        ({"mask__mean_quality": 0.2}, DropReason.MASK_UNSTABLE),
        ({"mask__return_iou": 0.3}, DropReason.MASK_UNSTABLE),
        ({"mask__agreement": 0.1}, DropReason.MASK_UNSTABLE),
    ],
)
def test_each_fault_has_its_reason(values: dict[str, Any], expected: DropReason) -> None:
    assert reason(**values) is expected


@pytest.mark.parametrize(
    "values",
    [
        {"listen__num_speakers": None},
        {"listen__overlap_ratio": None},
        {"listen__tags": {}},
        {"look__sync_offset_s": 0.5, "look__sync_z": 1.0},
        {"look__measures": {"num_regions": 2.0}, "look__margin": None},
        {"mask__agreement": None},
    ],
)
def test_what_nobody_can_tell_drops_nothing(values: dict[str, Any]) -> None:
    assert reason(**values) is None


def test_a_sound_that_is_no_voice_needs_less_proof() -> None:
    strike = {"impact": 0.9}
    assert reason(look__p_value=0.07, listen__speech_ratio=0.0, listen__tags=strike) is None


SPEAKING = {
    "start_s": 0.0,
    "end_s": 5.0,
    "scores": [2.0] * 20,
    "box_step_frames": 6,
    "sync_p_value": 0.02,
}
BYSTANDER = {**SPEAKING, "scores": [-2.0] * 20, "sync_p_value": None}
NODDING = {**SPEAKING, "scores": [-2.0, 0.5] * 10}
"""Taken to speak now and then, but never more surely than who does."""
FIRST = {**SPEAKING, "scores": [2.0] * 12 + [0.5] * 8}
SECOND = {**SPEAKING, "start_s": 0.1, "scores": [-2.0] * 12 + [2.0] * 7}
UNSEEN = {"look__p_value": 0.9}
"""Motion that does not go with the sound, as of a small mouth in a large picture."""


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ([SPEAKING], None),
        ([SPEAKING, BYSTANDER], None),
        ([BYSTANDER], DropReason.NO_VISIBLE_SOURCE),
        ([], DropReason.NO_VISIBLE_SOURCE),
        ([SPEAKING, SPEAKING], DropReason.SEVERAL_SPEAKERS),
        ([SPEAKING, NODDING], None),
        ([FIRST, SECOND], DropReason.SEVERAL_SPEAKERS),
        ([{**SPEAKING, "sync_p_value": 0.6}], DropReason.NO_VISIBLE_SOURCE),
        ([{**SPEAKING, "sync_p_value": 0.2}], None),
        ([{**SPEAKING, "sync_p_value": 0.2, "end_s": 8.0}], DropReason.NO_VISIBLE_SOURCE),
        ([{**SPEAKING, "sync_p_value": None}], None),
        ([{**SPEAKING, "scores": [2.0] * 8 + [-2.0] * 12}], DropReason.NO_VISIBLE_SOURCE),
    ],
    ids=[
        "speaker",
        "bystander",
        "mute",
        "nobody",
        "two at once",
        "nodding",
        "in turn",
        "dubbed",
        "short",
        "long",
        "untestable",
        "half",
    ],
)
def test_a_voice_needs_one_face_that_speaks(
    faces: list[dict[str, Any]], expected: DropReason | None
) -> None:
    assert reason(look__faces=faces, **UNSEEN) is expected


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ([SPEAKING], None),
        ([BYSTANDER], DropReason.NO_VISIBLE_SOURCE),
        ([], DropReason.NO_VISIBLE_SOURCE),
    ],
    ids=["seen", "mute", "unseen"],
)
def test_a_singer_may_be_heard_by_the_tagger_alone(
    faces: list[dict[str, Any]], expected: DropReason | None
) -> None:
    sung = {"listen__speech": [], "listen__speech_ratio": 0.0, "listen__tags": {"singing": 0.6}}
    assert reason(**sung, look__faces=faces, **UNSEEN) is expected


def test_a_face_that_speaks_all_the_time_outvotes_the_ear() -> None:
    assert reason(look__faces=[SPEAKING], listen__num_speakers=2) is None
    half = {**SPEAKING, "scores": [2.0] * 14 + [-2.0] * 6}
    for faces in ([half], [SPEAKING, NODDING]):
        assert reason(look__faces=faces, listen__num_speakers=2) is DropReason.SEVERAL_SPEAKERS


STRIKE: dict[str, Any] = {
    "listen__speech_ratio": 0.0,
    "listen__speech": [],
    "listen__tags": {"impact": 0.9},
    "look__faces": [],
}
DETAILS = {"kind_instance": 0.6, "kind_many": 0.0, "kind_ambience": 0.1}


@pytest.mark.parametrize(
    ("tags", "details", "expected"),
    [
        ({"dog": 0.8}, {"second_group_margin": 0.7}, None),
        ({"dog": 0.8, "cat": 0.5}, {"second_group_margin": 0.3}, DropReason.SEVERAL_SOURCES),
        ({"water": 0.9}, {"kind_instance": 0.1, "kind_ambience": 0.9}, DropReason.AMBIENCE),
        ({"crowd": 0.9}, {"kind_instance": 0.1, "kind_many": 0.9}, DropReason.CROWD),
        (
            {"instrument": 0.7, "music": 0.0},
            {"first_family": 0.7, "second_family": 0.5, "raw_instrument": 0.7},
            DropReason.SEVERAL_SOURCES,
        ),
        ({"music": 0.9}, {"raw_instrument": 0.1}, DropReason.MUSIC_OVER_PICTURE),
        ({"music": 0.1, "dog": 0.6}, {"raw_genre": 0.7}, DropReason.MUSIC_OVER_PICTURE),
    ],
    ids=["dog", "dog and cat", "water", "crowd", "two families", "music", "genre"],
)
def test_a_tagger_that_knows_classes_tells_what_sounds(
    tags: dict[str, float], details: dict[str, float], expected: DropReason | None
) -> None:
    found = {"listen__tags": tags, "listen__tag_details": DETAILS | details}
    assert reason(**(STRIKE | found)) is expected


@pytest.mark.parametrize(
    ("p_value", "expected"), [(0.01, None), (0.08, DropReason.MUSIC_OVER_PICTURE)]
)
def test_a_player_must_be_seen_to_play(p_value: float, expected: DropReason | None) -> None:
    played = {
        "listen__tags": {"music": 0.9, "instrument": 0.4},
        "listen__tag_details": DETAILS
        | {"raw_instrument": 0.4, "first_family": 0.4, "second_family": 0.0},
    }
    assert reason(**(STRIKE | played), look__p_value=p_value) is expected


VIOLIN = {"Violin, fiddle": 0.8, "Music": 0.9}


@pytest.mark.parametrize(
    ("classes", "share", "expected"),
    [
        (VIOLIN, 0.8, None),
        (VIOLIN, 0.3, DropReason.NO_VISIBLE_SOURCE),
        ({"Acoustic guitar": 0.1} | VIOLIN, 0.8, None),
        ({"Acoustic guitar": 0.85} | VIOLIN, 0.8, DropReason.NO_VISIBLE_SOURCE),
        ({"Musical instrument": 0.8}, 0.8, DropReason.NO_VISIBLE_SOURCE),
    ],
    ids=["moves", "stands", "violin before guitar", "guitar before violin", "any instrument"],
)
def test_what_sounds_on_and_on_must_be_what_moves(
    classes: dict[str, float], share: float, expected: DropReason | None
) -> None:
    played = {
        "listen__tags": {"instrument": 0.8, "music": 0.1},
        "listen__tag_details": DETAILS | {"raw_instrument": 0.8},
        "listen__tag_classes": classes,
        "look__measures": {"mover_share": share, "num_regions": 2.0},
        "look__margin": 0.01,
    }
    found = {name: json.loads(json.dumps(value, sort_keys=True)) for name, value in played.items()}
    assert reason(**(STRIKE | found), **UNSEEN) is expected


def test_a_rival_as_hot_as_the_best_place_is_a_second_source() -> None:
    measures = {"num_regions": 1.0, "rival_share": 0.9}
    assert reason(**STRIKE, look__measures=measures) is DropReason.SEVERAL_SOURCES


def test_thresholds_come_from_the_configuration() -> None:
    config = DecideConfig(max_speakers=2)
    assert verdict(findings(changed(listen__num_speakers=2), config)) is None


def test_every_check_has_a_threshold_of_its_own() -> None:
    names = [check.threshold for check in CHECKS]
    assert sorted(names) == sorted(set(names))
    assert set(names) == set(DecideConfig.model_fields)


def test_the_fields_read_are_in_the_evidence() -> None:
    models: dict[str, type[BaseModel]] = {
        "listen": ListenEvidence,
        "look": LookEvidence,
        "mask": MaskEvidence,
    }
    for stage, fields in FIELDS.items():
        assert set(fields) <= set(models[stage].model_fields)
        assert set(fields) == set(GOOD[stage])


@pytest.mark.parametrize(("after", "num_stages"), [("listen", 1), ("look", 2), ("mask", 3)])
def test_the_stage_decides_on_what_is_there(after: str, num_stages: int) -> None:
    stage = Decide(DecideConfig(), after=after)
    assert stage.needs == ("listen", "look", "mask")[:num_stages]
    line = SourceLine(0, "clip.mp4", None, "list.txt:1")
    evidence = {name: GOOD[name] for name in stage.needs}
    item = Item("clip", line, Span(0.0, 5.0), evidence, {})
    kept = stage.run(item, Path())
    assert isinstance(kept, Keep)
    assert len(kept.evidence["findings"]) == sum(check.stage in stage.needs for check in CHECKS)
    evidence["listen"] = {**GOOD["listen"], "rms_dbfs": -90.0}
    dropped = stage.run(Item("clip", line, Span(0.0, 5.0), evidence, {}), Path())
    assert isinstance(dropped, Drop)
    assert dropped.reason is DropReason.SILENT
