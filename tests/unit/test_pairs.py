import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avipipe.errors import ManifestError
from avipipe.manifests import rle
from avipipe.manifests.degrade import Law
from avipipe.manifests.pairs import check_pairs, make_pairs, read_pairs, write_pairs
from avipipe.manifests.records import Keep, SourceLine, Span
from avipipe.manifests.rle import Mask, MaskTrack
from avipipe.stages.base import Item
from avipipe.stages.pair import Pair, PairConfig

SIZE = (90, 160)


def moving_square(num_frames: int) -> list[Mask]:
    masks = np.zeros((num_frames, *SIZE), np.bool_)
    for frame in range(num_frames):
        masks[frame, 20:60, 4 * frame : 4 * frame + 30] = True
        masks[frame, 40:80, 4 * frame + 10 : 4 * frame + 15] = True
    return list(masks)


def track(num_frames: int = 4) -> MaskTrack:
    return MaskTrack(SIZE, 24, tuple(rle.encode(mask) for mask in moving_square(num_frames)))


def test_file_has_the_members_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    pairs = make_pairs(Law(), track(), "clip")
    write_pairs(path, pairs)
    data = json.loads(path.read_text())
    assert set(data) == {"law", "levels"}
    assert {"name", "version", "P"} <= set(data["law"])
    assert [level["p"] for level in data["levels"]] == [1, 2, 3, 4]
    for level in data["levels"]:
        assert set(level) == {"p", "kernel", "sigma", "threshold", "seed", "frames"}
        assert len(level["frames"]) == 4
    assert read_pairs(path) == pairs


def test_stored_pairs_are_what_the_law_gives() -> None:
    masks = track()
    pairs = make_pairs(Law("scribble"), masks, "clip")
    assert check_pairs(pairs, masks) == []
    # The seeds stand in the file, so the clip's id is not needed.
    other = make_pairs(Law("scribble"), masks, "another")
    assert other != pairs
    assert check_pairs(other, masks) == []


def test_faults_are_found() -> None:
    masks = track()
    pairs = make_pairs(Law(), masks, "clip")
    first, *rest = pairs.levels
    frames = (masks.frames[0], *first.frames[1:])
    altered = replace(pairs, levels=(replace(first, frames=frames), *rest))
    assert check_pairs(altered, masks) == ["level 1, frame 0: the law gives another mask"]
    shorter = replace(pairs, levels=(replace(first, frames=frames[1:]), *rest))
    assert check_pairs(shorter, masks) == ["level 1 has 3 frames, the mask 4"]
    missing = replace(pairs, levels=tuple(rest))
    assert "the law has the levels" in check_pairs(missing, masks)[0]


@pytest.mark.parametrize("text", ["{", "[]", '{"levels": []}', '{"law": {}, "levels": [{"p": 1}]}'])
def test_what_is_not_pairs_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(text)
    with pytest.raises(ManifestError, match=r"pairs\.json: expected (an object|one of the laws)"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"P": 1 << 40}, "expected one of the laws"),
        ({"P": 5}, "expected 5 levels, as its law says, found 4"),
        ({"reach_px": 1e12}, "expected one of the laws"),
        ({"reach_px": math.inf}, "expected one of the laws"),
        ({"reach_px": -1.0}, "expected one of the laws"),
    ],
)
def test_a_law_beyond_all_measure_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "pairs.json"
    write_pairs(path, make_pairs(Law(), track(), "clip"))
    stored = json.loads(path.read_text())
    stored["law"] |= change
    path.write_text(json.dumps(stored))
    with pytest.raises(ManifestError, match=rf"pairs\.json: {message}"):
        read_pairs(path)


@pytest.mark.parametrize("frames", ["counts", [1, 2], None])
def test_levels_without_counts_are_refused(tmp_path: Path, frames: object) -> None:
    path = tmp_path / "pairs.json"
    write_pairs(path, make_pairs(Law(), track(), "clip"))
    stored = json.loads(path.read_text())
    stored["levels"][1]["frames"] = frames
    path.write_text(json.dumps(stored))
    with pytest.raises(ManifestError, match=r"pairs\.json: expected the frames of each level"):
        read_pairs(path)


def run_stage(tmp_path: Path, masks: MaskTrack, config: PairConfig) -> tuple[Keep, Path]:
    mask_folder, folder = tmp_path / "mask", tmp_path / "pair"
    mask_folder.mkdir(parents=True)
    folder.mkdir()
    rle.write_masks(mask_folder / "masks.json", masks.frames, size=masks.size)
    span = Span(0.0, 1.0)
    source = SourceLine(0, "a.mp4", None, "list.txt:1")
    item = Item("a_00000000_00001000", source, span, {"mask": {}}, {"mask": mask_folder})
    outcome = Pair(config).run(item, folder)
    assert isinstance(outcome, Keep)
    return outcome, folder / outcome.files[0]


def test_stage_writes_pairs_and_measures_them(tmp_path: Path) -> None:
    masks = track()
    outcome, path = run_stage(tmp_path, masks, PairConfig(num_levels=3))
    pairs = read_pairs(path)
    assert check_pairs(pairs, masks) == []
    ious, ratios = outcome.evidence["mean_iou"], outcome.evidence["mean_area_ratio"]
    assert len(ious) == 3
    assert ious == sorted(ious, reverse=True)
    assert ratios == sorted(ratios)
    last = [rle.iou(a, b, SIZE) for a, b in zip(masks.frames, pairs.levels[2].frames, strict=True)]
    assert ious[2] == pytest.approx(sum(last) / len(last), abs=1e-6)


def test_stage_takes_a_clip_whose_instance_is_never_seen(tmp_path: Path) -> None:
    empty = rle.encode(np.zeros(SIZE, np.bool_))
    outcome, path = run_stage(tmp_path, MaskTrack(SIZE, 24, (empty,) * 2), PairConfig())
    assert outcome.evidence == {"mean_iou": [], "mean_area_ratio": [], "num_frames_seen": 0}
    assert {counts for level in read_pairs(path).levels for counts in level.frames} == {empty}


def test_bytes_do_not_depend_on_the_run(tmp_path: Path) -> None:
    config = PairConfig(simulator="jittered_box")
    _, one = run_stage(tmp_path / "one", track(), config)
    _, two = run_stage(tmp_path / "two", track(), config)
    assert one.read_bytes() == two.read_bytes()
