"""The stages look and mask on clips whose sounding thing, and its mask, are known."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from avipipe.annotators.registry import create, profile
from avipipe.manifests import rle
from avipipe.manifests.evidence import LookEvidence, MaskEvidence
from avipipe.manifests.records import Evidence, Keep, SourceLine, Span
from avipipe.media.probe import probe
from avipipe.stages.base import Item
from avipipe.stages.eyes import Eyes
from avipipe.stages.look import HEAT_NAME, PREVIEW_NAME, Look, LookConfig
from avipipe.stages.mask import MASKS_NAME, Mask, MaskConfig
from avipipe.synth import SynthClip, render, write_clip
from tests.pictures import hops, overlap, square_on_wall
from tests.sounds import knocks

DURATION_S = 4.0
NUM_FRAMES = 96
HEIGHT_PX = 180


def backend(role: str) -> Any:
    return create(role, profile("embedded")[role])


def look_stage() -> Look:
    look = Look(
        LookConfig(),
        localizer=backend("localize"),
        active_speaker=backend("active_speaker"),
        eyes=Eyes(
            detector=backend("detect"),
            classifier=backend("classify"),
            text_finder=backend("text"),
            matcher=backend("match"),
        ),
    )
    look.setup()
    return look


def mask_stage(**config: Any) -> Mask:
    mask = Mask(
        MaskConfig(**config),
        detector=backend("detect"),
        segmenter=backend("segment"),
        propagator=backend("propagate"),
        matcher=backend("match"),
    )
    mask.setup()
    return mask


def written(kind: str, folder: Path) -> SynthClip:
    clip = render(kind, 3, duration_s=DURATION_S, height_px=HEIGHT_PX)
    write_clip(clip, folder / "video.mp4")
    return clip


def item(folder: Path, **evidence: Evidence) -> Item:
    path = folder / "video.mp4"
    height, width = HEIGHT_PX, round(HEIGHT_PX * 16 / 9)
    known: dict[str, Evidence] = {
        "fetch": {"path": path.name},
        "probe": probe(path).to_json(),
        "listen": {
            "tags": {"impact": 0.9, "speech": 0.1},
            "tag_classes": {},
            "speech": [],
            "speech_ratio": 0.0,
        },
        "cut": {"duration_s": DURATION_S, "height": 2 * height, "width": 2 * width},
    }
    line = SourceLine(0, str(path), None, "list.txt:1")
    folders = {"fetch": folder, "cut": folder, "look": folder / "look"}
    return Item("clip", line, Span(0.0, DURATION_S), known | evidence, folders)


def looked(folder: Path, *, into: str = "look") -> Keep:
    (folder / into).mkdir()
    outcome = look_stage().run(item(folder), folder / into)
    assert isinstance(outcome, Keep)
    return outcome


def masked(folder: Path, look: Evidence, *, into: str = "mask", **config: Any) -> Keep:
    (folder / into).mkdir()
    outcome = mask_stage(**config).run(item(folder, look=look), folder / into)
    assert isinstance(outcome, Keep)
    return outcome


def test_a_strike_is_seen_and_masked_in_every_frame(tmp_path: Path) -> None:
    clip = written("strike", tmp_path)
    look = looked(tmp_path)
    seen = LookEvidence.model_validate(look.evidence)
    assert set(look.files) == {HEAT_NAME, PREVIEW_NAME}
    assert seen.p_value is not None
    assert seen.p_value <= 0.02
    assert seen.sync_offset_s == pytest.approx(0.0, abs=0.09)
    assert seen.motion_px is not None
    assert seen.motion_px > 0.1
    assert seen.faces is None
    assert seen.backends == {"localize": "motion@2", "active_speaker": "none@1"}

    mask = masked(tmp_path, look.evidence)
    evidence = MaskEvidence.model_validate(mask.evidence)
    assert mask.files == (MASKS_NAME,)
    assert evidence.persistence == 1.0
    assert evidence.num_instances == 1
    assert evidence.agreement is not None
    assert evidence.agreement > 0.8
    assert evidence.return_iou is not None
    assert evidence.return_iou > 0.7
    assert len(evidence.boxes) == NUM_FRAMES / evidence.box_step_frames

    track = rle.read_masks(tmp_path / "mask" / MASKS_NAME)
    assert track.size == (2 * HEIGHT_PX, 2 * clip.size[1])
    assert (track.fps, len(track.frames)) == (24, NUM_FRAMES)
    truth = next(thing for thing in clip.truth.objects if thing.sounding)
    overlaps = [
        overlap(track.mask(n)[::2, ::2], rle.decode(truth.frames[n], clip.size))
        for n in range(0, NUM_FRAMES, 5)
    ]
    assert np.mean(overlaps) > 0.85


def test_bars_and_logos_are_not_looked_at_and_boxes_are_of_the_whole_picture() -> None:
    landings_s = (0.5, 1.2, 1.9, 2.61, 3.7, 4.4)
    corners = hops(120, [round(at * 24) for at in landings_s])
    bare, masks = square_on_wall(corners)
    boxed = np.zeros((120, 180, 240, 3), np.uint8)
    boxed[:, 30:150, 40:200] = bare
    sound = knocks(landings_s)
    look = look_stage()
    alone, _ = look.look(bare, sound, [], {})
    seen, heat = look.look(boxed, sound, [], {})
    assert seen.picture is not None
    assert seen.picture.content_box == pytest.approx(
        (40 / 240, 30 / 180, 200 / 240, 150 / 180), abs=1e-4
    )
    assert (seen.picture.overlays, seen.picture.num_panels) == ([], 1)
    assert (seen.p_value, seen.correlation) == (alone.p_value, alone.correlation)
    assert not heat[:30].any()
    assert not heat[:, 200:].any()
    assert seen.box is not None
    x0, y0, x1, y1 = np.array(seen.box) * np.tile((240, 180), 2) - np.tile((40, 30), 2)
    reach = np.asarray(masks.any(axis=0))
    assert reach[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))].mean() > 0.3


def test_results_are_the_same_every_time(tmp_path: Path) -> None:
    written("bounce", tmp_path)
    look, again = looked(tmp_path), looked(tmp_path, into="again")
    assert json.dumps(look.evidence) == json.dumps(again.evidence)
    for name in look.files:
        assert (tmp_path / "look" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    masks = [masked(tmp_path, look.evidence, into=into) for into in ("one", "two")]
    assert masks[0] == masks[1]
    files = [(tmp_path / into / MASKS_NAME).read_bytes() for into in ("one", "two")]
    assert files[0] == files[1]


def test_a_still_picture_is_unknown_and_has_no_mask(tmp_path: Path) -> None:
    written("static_sound", tmp_path)
    look = looked(tmp_path)
    seen = LookEvidence.model_validate(look.evidence)
    assert (seen.p_value, seen.correlation, seen.box, seen.sync_offset_s) == (None,) * 4
    assert seen.motion_px is not None
    assert seen.motion_px < 0.02
    assert look.files == (PREVIEW_NAME,)
    mask = masked(tmp_path, look.evidence)
    evidence = MaskEvidence.model_validate(mask.evidence)
    assert (evidence.persistence, evidence.seed_frame, mask.files) == (0.0, None, ())
    assert not (tmp_path / "mask" / MASKS_NAME).exists()


def test_late_sound_is_measured(tmp_path: Path) -> None:
    written("late_sound", tmp_path)
    seen = LookEvidence.model_validate(looked(tmp_path).evidence)
    assert seen.sync_offset_s == pytest.approx(0.2, abs=0.09)


def test_the_preview_is_a_small_strip(tmp_path: Path) -> None:
    written("speaker", tmp_path)
    looked(tmp_path)
    path = tmp_path / "look" / PREVIEW_NAME
    strip = cv2.imread(str(path))
    assert strip is not None
    assert strip.shape[0] == 160
    assert path.stat().st_size < 100_000


def test_backends_and_settings_are_part_of_the_key() -> None:
    upstream = {"fetch": "a", "probe": "b", "look": "c", "listen": "d", "cut": "e"}
    assert mask_stage().key("clip", upstream) != mask_stage(max_seeds=1).key("clip", upstream)
    assert look_stage().settings()["backends"]["localize"]["name"] == "motion"
