"""What a file of corrected edit pairs says, and what is said of one that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from avipipe.errors import ManifestError
from avipipe.manifests.corrections import corrected, read_corrections
from avipipe.manifests.edits import ClipEdit, clip_of
from tests.edit_pairs import edit_pair

KNOWN = ("clip-1", "clip-2")
CAT, GONE = edit_pair(made_by="person"), edit_pair("delete")


def line(clip: str, name: str = "same_class-1", **other: Any) -> str:
    told = {"clip_id": clip, "name": name, "dataset": "set", "reviewed_at": "2026-01-02T03:04:05Z"}
    return json.dumps({**told, "pair": CAT.model_dump(), **other}) + "\n"


def test_pairs_are_replaced_left_out_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    twice = line("clip-1", reviewer="Ada") + line("clip-1")
    path.write_text(twice + line("clip-1", "delete-1", pair=None))
    corrections = read_corrections(path, KNOWN)
    edits = (edit_pair(), GONE, edit_pair("sound"))
    assert corrected("clip-1", edits, corrections) == (CAT, edits[2])
    assert corrected("clip-2", edits, corrections) == edits


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found an empty file; correct or reject edits on the page"),
        (line("clip-1") + line("clip-1", pair=None), "lines 1 and 2 say different things"),
        (line("clip-9"), "1 of 1 clips with corrections are not in the dataset: clip-9"),
        (line("clip-1", "delete-1"), "expected the pair delete-1, found same_class-1"),
        (line("clip-1", pair={"name": "same_class-1"}), "edits.jsonl:1: this is not a correction"),
        (line("clip-1")[:40], "the export ends in the middle of line 1"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text(text)
    with pytest.raises(ManifestError, match=says):
        read_corrections(path, KNOWN)


@pytest.mark.parametrize(
    "clip", ["file-0123_00000000_00002000", "youtube-a-b_-1_00000000_00002000"]
)
def test_the_clip_of_an_edit_is_told_by_its_name(clip: str) -> None:
    assert clip_of(ClipEdit(clip_id=clip, pair=GONE).name) == clip
    assert clip_of(clip) == clip
