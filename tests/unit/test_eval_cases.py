"""Cases are found, paired and kept, and what is missing is counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.cases import (
    AskedEdit,
    Case,
    cases_of_asked,
    cases_of_folders,
    completed,
    read_asked,
    read_cases,
    select,
    write_cases,
)
from avipipe.evaluate.controls import CONTROLS, controls_of


def folder_of(root: Path, name: str, *files: str) -> Path:
    folder = root / name
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return folder


def batch_of(root: Path, video: Path, **trace: Any) -> Path:
    """A result of `avipipe edit --batch`, as far as cases read it."""
    folder = folder_of(root, "batch/dog", "job.json", "edited.mp4", "mask.mkv")
    told = {
        "video": {
            "path": str(video),
            "sha256": "ab",
            "scaled_size": [1280, 720],
            "edited_size": [1280, 704],
            "cut_left_px": 0,
            "cut_top_px": 8,
        },
        "edits": [
            {
                "instruction": "make it blue",
                "prompt": "A blue dog.",
                "seed": 7,
                "mask": {"precision": 3},
            }
        ],
        "seconds": 12.5,
        **trace,
    }
    (folder / "trace.json").write_text(json.dumps(told))
    return folder.parent


def test_videos_are_paired_by_name_whatever_their_suffix(tmp_path: Path) -> None:
    source = folder_of(tmp_path, "src", "a.mp4", "b.mov", "notes.txt")
    edits = folder_of(tmp_path, "ours", "a.mkv", "b.mp4")
    masks = folder_of(tmp_path, "masks", "a.masks.json", "b.png")
    cases = cases_of_folders(source, {"ours": edits}, masks, tmp_path)
    assert [(case.name, case.edit, case.mask, case.problem) for case in cases] == [
        ("a", edits / "a.mkv", masks / "a.masks.json", ""),
        ("b", edits / "b.mp4", masks / "b.png", ""),
    ]
    assert cases[0].group == str(source / "a.mp4")


def test_what_has_no_counterpart_is_counted_for_every_method(tmp_path: Path) -> None:
    source = folder_of(tmp_path, "src", "a.mp4", "b.mp4")
    ours, theirs = folder_of(tmp_path, "ours", "a.mp4"), folder_of(tmp_path, "theirs", "z.mp4")
    cases = cases_of_folders(source, {"ours": ours, "theirs": theirs}, None, tmp_path)
    problems = {(case.method, case.name): case.problem for case in cases}
    assert problems == {
        ("ours", "a"): "",
        ("ours", "b"): "ours has no edit of it",
        ("ours", "z"): "there is no source of its name",
        ("theirs", "a"): "theirs has no edit of it",
        ("theirs", "b"): "theirs has no edit of it",
        ("theirs", "z"): "there is no source of its name",
    }


def test_two_methods_with_other_clips_get_one_list() -> None:
    shared = {"source": Path("a.mp4"), "edit": Path("x.mp4")}
    cases = completed([Case(name="a", method="m", **shared), Case(name="b", method="n")], "here")
    assert [(case.method, case.name, bool(case.problem)) for case in cases] == [
        ("m", "a", False),
        ("m", "b", True),
        ("n", "a", True),
        ("n", "b", False),
    ]
    assert cases[2].edit is None


def test_a_batch_says_what_its_edits_were_made_of(tmp_path: Path) -> None:
    source = folder_of(tmp_path, "src", "dog.mp4")
    batch = batch_of(tmp_path, source / "dog.mp4")
    (case,) = cases_of_folders(None, {"avi_edit": batch}, None, tmp_path)
    assert (case.mask, case.edit_mask) == (None, batch / "dog/mask.mkv")
    assert (case.name, case.source, case.problem) == ("dog", source / "dog.mp4", "")
    assert (case.target_prompt, case.instruction, case.seed) == ("A blue dog.", "make it blue", 7)
    assert case.precision == 3
    assert case.shown == (0.0, 8 / 720, 1.0, 712 / 720)
    assert (case.making_s, case.group) == (12.5, "ab")


def test_a_batch_whose_sources_are_gone_finds_them_by_name(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, tmp_path / "gone.mp4")
    (case,) = cases_of_folders(None, {"m": batch}, None, tmp_path)
    assert "--source" in case.problem
    source = folder_of(tmp_path, "src", "dog.mov")
    (case,) = cases_of_folders(source, {"m": batch}, None, tmp_path)
    assert (case.source, case.problem) == (source / "dog.mov", "")


@pytest.mark.parametrize(
    "trace", ["{", '{"video": {"path": ""}, "edits": ["a"]}', '{"video": 1}', "[]"]
)
def test_a_batch_that_is_broken_or_unfinished_is_counted(tmp_path: Path, trace: str) -> None:
    batch = batch_of(tmp_path, tmp_path / "a.mp4")
    (batch / "dog/trace.json").write_text(trace)
    folder_of(batch, "cat.partial", "job.json")
    cases = cases_of_folders(None, {"m": batch}, None, tmp_path)
    assert [(case.name, case.problem[:20]) for case in cases] == [
        ("cat", "the edit was not fin"),
        ("dog", "trace.json is damage"),
    ]


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    case = Case(name="a", method="m", source=tmp_path / "a.mp4", edit=tmp_path / "b.mp4", seed=3)
    write_cases(tmp_path / "cases.jsonl", [case])
    assert read_cases(tmp_path / "cases.jsonl") == completed([case], "")


def test_paths_of_a_manifest_are_relative_to_it(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text('{"name": "a", "method": "m", "source": "s/a.mp4", "edit": "e.mp4"}\n\n')
    (case,) = read_cases(path)
    assert (case.source, case.edit) == (tmp_path / "s/a.mp4", tmp_path / "e.mp4")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected at least one case"),
        ('{"name": "a"}', "line 1: `method`"),
        ('{"name": "a", "method": "m", "sauce": 1}', "`sauce`"),
        ("[", "line 1: expected a JSON object"),
        ('{"name": "a", "method": "m"}\n' * 2, "two cases are 'a' by 'm'"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(text)
    with pytest.raises(ManifestError, match=says):
        read_cases(path)


def test_what_was_asked_goes_before_what_an_edit_says_of_itself(tmp_path: Path) -> None:
    source = folder_of(tmp_path, "src", "dog.mp4")
    batch = batch_of(tmp_path, source / "dog.mp4")
    asked = AskedEdit(name="dog", source=source / "dog.mp4", target_prompt="A red dog.", group="g")
    (case,) = cases_of_asked([asked], {"m": batch})
    assert (case.target_prompt, case.group) == ("A red dog.", "g")
    assert (case.instruction, case.seed, case.edit) == ("make it blue", 7, batch / "dog/edited.mp4")
    with pytest.raises(ManifestError, match="'dog' twice"):
        cases_of_asked([asked, asked.model_copy(update={"label": "x"})], {"m": batch})


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_bytes('{"name": "a", "instruction": "Run.\u2028Stop."}\r\n'.encode())
    assert [case.instruction for case in read_asked(path)] == ["Run.\u2028Stop."]


def test_folders_that_cannot_be_paired_are_refused(tmp_path: Path) -> None:
    source = folder_of(tmp_path, "src", "a.mp4")
    with pytest.raises(ConfigError, match="--source"):
        cases_of_folders(None, {"m": source}, None, tmp_path)
    with pytest.raises(ConfigError, match="expected files"):
        cases_of_folders(source, {"m": folder_of(tmp_path, "empty", "a.txt")}, None, tmp_path)
    twice = folder_of(tmp_path, "two", "a.mp4", "a.mov")
    with pytest.raises(ManifestError, match="rename one"):
        cases_of_folders(twice, {"m": source}, None, tmp_path)


def many(num: int) -> list[Case]:
    return [
        Case(name=f"{n}", method="m", source=Path(f"{n}.mp4"), edit=Path("e"), group=f"g{n // 2}")
        for n in range(num)
    ]


def test_controls_are_one_of_each_kind_a_source_whoever_edited_it() -> None:
    cases = many(4) + [case.model_copy(update={"method": "n"}) for case in many(4)]
    controls = controls_of(cases, seed=0)
    assert len(controls) == 4 * (len(CONTROLS) - 1)
    through_vae = controls_of(cases, seed=0, vae=Path("vae"))
    assert len(through_vae) == 4 * len(CONTROLS)
    assert {case.vae for case in through_vae if case.control == "vae"} == {Path("vae")}
    assert {case.vae for case in through_vae if case.control != "vae"} == {None}
    assert {case.edit == case.source for case in controls} == {True}


def test_a_shuffled_sound_is_of_another_group_and_hangs_on_the_seed_alone() -> None:
    groups = {case.source: case.group for case in many(8)}

    def sounds(cases: list[Case], seed: int) -> dict[str, Path | None]:
        shuffled = [case for case in controls_of(cases, seed) if case.control == "shuffled"]
        return {case.name: case.sound_of for case in shuffled}

    found = sounds(many(8), 1)
    for case in many(8):
        assert groups[found[case.name]] != case.group
    assert sounds(many(8)[::-1], 1) == found
    assert sounds(many(8), 2) != found


def test_without_another_group_a_shuffled_sound_is_counted_as_missing() -> None:
    problems = {case.control: case.problem for case in controls_of(many(2), seed=0)}
    assert problems["shuffled"] == "there is no other source whose sound it could have"
    assert problems["copy"] == ""


def test_shards_part_the_cases_and_keep_groups_whole() -> None:
    cases = many(9)
    parts = [select(cases, (index, 3)) for index in (1, 2, 3)]
    assert sorted(case.name for part in parts for case in part) == [f"{n}" for n in range(9)]
    groups = [{case.group for case in part} for part in parts]
    assert not groups[0] & groups[1] | groups[1] & groups[2] | groups[0] & groups[2]
