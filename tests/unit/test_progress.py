"""What displays of long work write: lines, events, or bars."""

import json
import time
from pathlib import Path

import pytest

from avipipe.cli import edit_progress, train_progress
from avipipe.cli.progress import PLAIN_INTERVAL_S

VALUES = {
    "loss": 0.5,
    "flow": 0.25,
    "mask": 0.125,
    "step_time_s": 2.0,
    "latent_tokens_per_s": 100.0,
}


class Clock:
    """Stands still until it is told."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        patch.setattr(time, "monotonic", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_plain_lines_come_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with edit_progress.EditProgress(as_json=False) as progress:
        progress.said("reading [b]x[/b]")
        progress.planned(9)
        progress.skipped(1)
        for _ in range(3):
            clock.now_s += PLAIN_INTERVAL_S / 2
            progress.stepped()
    assert capsys.readouterr().err.splitlines() == [
        "reading [b]x[/b]",
        "step 2/8, about 30 s to go",
    ]


def test_training_tells_its_first_and_last_step(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with train_progress.TrainProgress(as_json=False) as progress:
        progress.began(2, 6)
        for step in range(3, 7):
            clock.now_s += 1
            progress.stepped(step, VALUES)
        progress.ended(Path("run"), done=True)
    told = capsys.readouterr()
    tail = "loss 0.5000 (flow 0.2500, mask 0.12500), 2.000 s a step, 100 tokens/s"
    expected = ["going on from step 2", f"step 3/6: {tail}", f"step 6/6: {tail}"]
    assert told.err.splitlines() == expected
    assert told.out == "weights: run/model\n"


def test_events_are_all_that_is_told_as_json(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with train_progress.TrainProgress(as_json=True) as progress:
        progress.began(0, 1)
        clock.now_s += 2 * PLAIN_INTERVAL_S
        progress.stepped(1, VALUES)
    told = capsys.readouterr()
    assert told.err == ""
    begin, step = map(json.loads, told.out.splitlines())
    assert begin == {"event": "begin", "step": 0, "steps": 1}
    assert step == {"event": "step", "step": 1, **VALUES}


def test_a_terminal_shows_a_bar(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with train_progress.Caching(shown=True) as caching:
        clock.now_s += 2 * PLAIN_INTERVAL_S
        caching(3, 7)
    told = capsys.readouterr().err
    assert "━" in told
    assert "3/7" in told
    assert "3/7 clips" not in told


def test_nothing_is_shown_where_nothing_is_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    with train_progress.Caching(shown=False) as caching:
        caching(7, 7)
    assert capsys.readouterr() == ("", "")
