"""Deciding a ledger anew: on stored evidence, without the files that it was measured on."""

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from avipipe.decision.judge import Judge
from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import Cost, Keep, Record
from avipipe.pipeline.refilter import load_measures, refilter, slim
from tests.decisions import GOOD, LOOK, SEEN, STAGES, judged, limit, model

NUM_CLIPS = 50
COST = Cost(wall_s=0.1, cpu_s=0.1)


def evidence(number: int) -> dict[str, dict[str, Any]]:
    """Of a clip whose level follows from its number, with lists as long as real ones."""
    found = copy.deepcopy({**GOOD, "look": {**LOOK, **SEEN}})
    found["listen"]["rms_dbfs"] = -60.0 + 50.0 * number / NUM_CLIPS
    found["listen"]["waveform"] = [0.5] * 200
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of clips, every tenth of which was stopped before `look`."""
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    with Ledger(path) as ledger:
        for number in range(NUM_CLIPS):
            there = STAGES[:1] if number % 10 == 0 else STAGES
            for stage in there:
                name = f"clip-{number:05d}"
                outcome = Keep(evidence(number)[stage])
                ledger.append(Record(name, stage, f"{stage} of {name}", outcome, COST))
    return path


LOUD = Judge(model({"level": (-2.0, 2.0)}), {}, 0.5)
LOUDER = Judge(model({"level": (-2.0, 2.0)}), {}, 0.8)


def test_flips_are_what_deciding_each_clip_would_give(path: Path) -> None:
    with Ledger(path, read_only=True) as ledger:
        result = refilter(ledger, LOUD, LOUDER)
    assert sum(result.before.values()) == sum(result.after.values()) == NUM_CLIPS
    flips = {flip.clip_id: flip for flip in result.flips}
    assert flips
    for number in range(NUM_CLIPS):
        name = f"clip-{number:05d}"
        known = evidence(number)
        if number % 10 == 0:
            known = {"listen": known["listen"]}
        was, now = (judged(judge, known).reason for judge in (LOUD, LOUDER))
        assert (name in flips) == (was != now), name
        if name in flips:
            assert (flips[name].before, flips[name].after) == ("keep", "silent")
            assert flips[name].complete == (number % 10 != 0)
            assert flips[name].hours == pytest.approx(5.0 / 3600)


def test_asking_nothing_else_flips_nothing(path: Path) -> None:
    with Ledger(path, read_only=True) as ledger:
        same = refilter(ledger, LOUD, LOUD)
        asked = refilter(ledger, LOUD, limit("min_clip_s", 60.0))
    assert same.flips == ()
    assert same.before == same.after
    assert set(asked.after) == {"too_short"}


def test_what_is_left_out_to_save_memory_is_read_by_no_measure(path: Path) -> None:
    known = evidence(7)
    slimmed = {stage: slim(found) for stage, found in known.items()}
    assert "waveform" not in slimmed["listen"]
    assert asdict(judged(LOUD, slimmed)) == asdict(judged(LOUD, known))
    with Ledger(path, read_only=True) as ledger:
        first = next(iter(load_measures(ledger)))
    assert "waveform" not in first.evidence["listen"]
