"""What a file of labels says, and what is said of one that is wrong."""

import json
from pathlib import Path

import pytest

from avipipe.errors import ConfigError, ManifestError
from avipipe.manifests.labels import ReviewLabel, read_labels

KNOWN = {f"clip-{n}" for n in range(9)}


def line(clip: str, verdict: str = "keep", **other: object) -> str:
    data = {
        "clip_id": clip,
        "verdict": verdict,
        "dataset": "set",
        "probability": 0.25,
        "reviewed_at": "2026-01-02T03:04:05.678Z",
    }
    return json.dumps({**data, **other}) + "\n"


def read(tmp_path: Path, text: str) -> list[ReviewLabel]:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(text.encode())
    return read_labels(path, KNOWN)


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, text)
    return str(caught.value)


def test_labels_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    verdicts = ("keep", "drop", "wrong_mask", "unsure")
    text = "".join(line(f"clip-{n}", verdict) for n, verdict in enumerate(verdicts))
    labels = read(tmp_path, text)
    assert [(label.clip_id, label.verdict) for label in labels] == [
        (f"clip-{n}", verdict) for n, verdict in enumerate(verdicts)
    ]
    assert labels[0].probability == 0.25
    assert labels[0].reviewed_at.isoformat() == "2026-01-02T03:04:05.678000+00:00"
    assert labels[0].reviewer is None


def test_who_judged_and_an_unknown_probability(tmp_path: Path) -> None:
    text = line("clip-1", reviewer="Ada Łovelace", probability=None)
    (label,) = read(tmp_path, text)
    assert (label.reviewer, label.probability) == ("Ada Łovelace", None)


def test_blank_lines_and_a_missing_last_line_end_are_fine(tmp_path: Path) -> None:
    text = line("clip-1") + "\n\r\n" + line("clip-2").rstrip("\n")
    assert [label.clip_id for label in read(tmp_path, text)] == ["clip-1", "clip-2"]


def test_the_same_verdict_twice_is_one_label(tmp_path: Path) -> None:
    text = line("clip-1", reviewer="A") + line("clip-2") + line("clip-1", reviewer="B")
    assert [(label.clip_id, label.reviewer) for label in read(tmp_path, text)] == [
        ("clip-1", "A"),
        ("clip-2", None),
    ]


@pytest.mark.parametrize("kept_bytes", [1, 20, -2])
def test_a_file_cut_in_a_line(tmp_path: Path, kept_bytes: int) -> None:
    text = line("clip-1") + line("clip-2")[:kept_bytes]
    assert "the export ends in the middle of line 2; export again" in error_of(tmp_path, text)


def test_a_file_cut_in_a_letter(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    data = json.dumps(json.loads(line("clip-1", reviewer="Ł")), ensure_ascii=False).encode()
    path.write_bytes(data[: data.index("Ł".encode()) + 1])
    with pytest.raises(ManifestError, match="in the middle of line 1; export again"):
        read_labels(path, KNOWN)


def test_a_line_that_is_not_json(tmp_path: Path) -> None:
    said = error_of(tmp_path, line("clip-1") + "clip_id,verdict\n" + line("clip-2"))
    assert "labels.jsonl:2: this is not JSON" in said


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (line("clip-1", "good"), "verdict"),
        (line("clip-1", probability=1.5), "probability"),
        (line("clip-1", reviewed_at="2026-01-02T03:04:05"), "reviewed_at"),
        (line("clip-1", colour="red"), "colour"),
        (line(""), "clip_id"),
        ("[1, 2]\n", "the line"),
        ('{"clip_id": "clip-1"}\n', "dataset"),
    ],
)
def test_a_line_that_is_not_a_label(tmp_path: Path, text: str, at: str) -> None:
    said = error_of(tmp_path, line("clip-0") + text)
    assert f"labels.jsonl:2: this is not a label: {at}: " in said
    assert "export again" in said


def test_clips_that_are_not_in_the_dataset(tmp_path: Path) -> None:
    strangers = [f"other-{n}" for n in range(5)]
    said = error_of(tmp_path, line("clip-1") + "".join(map(line, strangers + strangers)))
    assert "5 of 6 clips with labels are not in the dataset: other-0, other-1, other-2, " in said
    assert "other-3" not in said
    assert "and 2 more" in said


def test_contradicting_verdicts(tmp_path: Path) -> None:
    text = line("clip-1") + line("clip-2") + line("clip-1", "drop") + line("clip-1")
    said = error_of(tmp_path, text)
    assert "clip-1 is keep in line 1, drop in line 3, keep in line 4" in said
    assert "clip-2" not in said
    assert "leave one verdict" in said


def test_a_later_line_of_the_same_person_does_not_override(tmp_path: Path) -> None:
    text = line("clip-1", reviewer="A") + line("clip-1", "unsure", reviewer="A")
    assert "1 clip has contradicting verdicts" in error_of(tmp_path, text)


@pytest.mark.parametrize("text", ["", "\n", " \n\n"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    assert "found an empty file" in error_of(tmp_path, text)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labels(tmp_path / "labels.jsonl", KNOWN)
