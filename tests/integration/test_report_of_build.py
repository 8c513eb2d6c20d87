"""The report of a real build says what the other commands say."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from avipipe.manifests.records import DropReason
from avipipe.pipeline.words import REASONS
from tests.browser import browse, in_browser, text_of
from tests.integration.builds import avipipe, status

PARTS = ("in", "keep", "drop", "fail", "pending")


def clip_rows(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "manifest/clips.parquet").to_pylist()
    return rows


def test_it_counts_what_status_counts(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    rows = dict(re.findall(r'<tr data-stage="(\w+)">(.*?)</tr>', html, re.DOTALL))
    said = status(built)
    assert list(rows) == list(said)
    for name, row in rows.items():
        counts = [int(count) for count in re.findall(r'class="by-items">(\d+)<', row)]
        assert counts == [said[name][part] for part in PARTS]
        assert "✓ yes" in row


def test_it_shows_kept_clips_with_masks_and_every_reason(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    card = re.compile(r'<article class="card (\w+)" id="clip-([^"]+)"(.*?)</article>', re.DOTALL)
    cards = card.findall(html)
    kept = [body for status, _, body in cards if status == "keep"]
    assert kept
    for body in kept:
        assert body.count('class="mask"') == 4
        assert body.count('class="edge"') == 5
        assert "box, IoU" in body
        assert "Waveform with" in body
    stages = status(built).values()
    reasons = {reason for stage in stages for reason in stage["reasons"] if reason[:4] == "drop"}
    assert reasons
    for reason in reasons:
        name = reason.removeprefix("drop:")
        assert name.replace("_", " ") in text_of(html)
        why = re.escape(REASONS[DropReason(name)])
        assert re.search(f"{why} (Not passed|Most against it): ", text_of(html))


def test_each_card_shows_the_probability_that_was_decided_on(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    card = re.compile(r'<article class="card (\w+)" id="clip-([^"]+)"(.*?)</article>', re.DOTALL)
    asked = yaml.safe_load((built / "config.yaml").read_text())["stages"]["decide"]
    assert asked["min_probability"] is None
    rows = {row["clip_id"]: row for row in clip_rows(built)}
    cards = card.findall(html)
    assert {clip_id for _, clip_id, _ in cards} == set(rows)
    for fate, clip_id, body in cards:
        shown = re.search(r'<div class="chance (\w+)".*?<b>(0\.\d\d)</b>', body, re.DOTALL)
        assert shown is not None
        assert shown[1] == fate == rows[clip_id]["decision"]
        assert float(shown[2]) == pytest.approx(rows[clip_id]["probability"], abs=0.011)
        assert '<tr class="pro">' in body
        assert '<tr class="con">' in body


def test_writing_it_again_changes_nothing(built: Path) -> None:
    before = (built / "report.html").read_bytes()
    done = avipipe("report", "--out", built)
    assert done.code == 0, done.err
    assert done.out.strip() == str(built / "report.html")
    assert (built / "report.html").read_bytes() == before


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    done = avipipe("report", "--out", tmp_path)
    assert done.code == 2
    assert "avipipe build" in done.err


@in_browser
def test_a_browser_renders_it_without_complaint(built: Path, tmp_path: Path) -> None:
    page = browse((built / "report.html").read_text(encoding="utf-8"), tmp_path)
    assert page.console == []
    assert page.requests == []
    assert f"avipipe retry --out {built}" in page.text or "None. Everything" in page.text
