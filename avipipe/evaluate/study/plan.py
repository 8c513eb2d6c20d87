"""Which edits people compare, in which order, on which side: drawn by a seed, in balance."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from math import lcm
from pathlib import Path
from typing import Literal

from avipipe.errors import ConfigError
from avipipe.evaluate.cases import Case
from avipipe.evaluate.controls import controls_of

Subject = Literal["edit", "sound"]

QUESTIONS: dict[Subject, dict[str, str]] = {
    "edit": {
        "synchrony": "In which do sound and picture fit together better in time?",
        "text": "Which follows the instruction better?",
        "overall": "Which is better, all in all?",
    },
    "sound": {
        "fidelity": "Which sounds more natural, with fewer artefacts?",
        "retention": "Which keeps more of the source's sounds that were not to change?",
        "consistency": "In which does the sound hold together better from beginning to end?",
    },
}
"""Subject -> question -> what people are asked."""

TEXT_QUESTION = "text"
"""The question that cannot be asked of edits without words."""

CHECKED: dict[Subject, str] = {"edit": "synchrony", "sound": "retention"}
"""Subject -> the question whose right answer is known where a source stands against itself with the
sound of another: the one with its own sound."""

SOURCE, COPY = "source", "control: copy"
"""Methods of the films that nobody edited: what all may compare with, and the right answer."""


@dataclass(frozen=True, slots=True)
class StudyFilm:
    """A film of a study: who made it of which case, its file, and the file of another sound."""

    name: str
    method: str
    video: Path
    sound_of: Path | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """Two films to compare, and the source of both.

    Attributes:
        group: trials of one group are not independent: their films are made of one video.
        text: what was asked of the edit; may be empty.
        is_check: whether its right answer is known.
    """

    name: str
    group: str
    text: str
    source: StudyFilm
    left: StudyFilm
    right: StudyFilm
    is_check: bool = False


def plan_study(
    cases: Sequence[Case],
    *,
    num_trials: int,
    num_checks: int,
    seed: int,
    is_heard: Callable[[Path], bool],
) -> tuple[Trial, ...]:
    """Draw what is compared with what, and its order.

    Each pair of methods, and each case, is drawn as often as any other, but for one; each method of
    a pair is as often on the left as on the right, but for one. Where a method lacks an edit, the
    pair is passed over there. Attention checks stand evenly between the others.

    Args:
        cases: edits and sources that can be played, of two methods or more.
        num_trials: to draw, or as many as there are; checks come on top.
        num_checks: or as many as there are sources for, with others beside them.
        is_heard: whether a source has sound; without, it is no check.
    Raises:
        ConfigError: no case has edits of two methods.
    """
    rng = random.Random(seed)
    edits = {
        (case.name, case.method): case
        for case in sorted(cases, key=lambda case: (case.name, case.method))
        if not case.control
    }
    names = sorted({name for name, _ in edits})
    pairs = list(combinations(sorted({method for _, method in edits}), 2))
    rng.shuffle(names)
    rng.shuffle(pairs)
    trials = _drawn(edits, names, pairs, num_trials, rng)
    if not trials:
        raise ConfigError(
            "expected cases with edits of two methods or more, found none that can be played; "
            "give the runs of all methods, or --edit each in one `avipipe eval run`"
        )
    checks = _checks(list(edits.values()), num_checks, seed, is_heard)
    num_drawn = len(trials)
    for number in reversed(range(len(checks))):
        trials.insert((2 * number + 1) * num_drawn // (2 * len(checks)), checks[number])
    return tuple(trials)


def _drawn(
    edits: Mapping[tuple[str, str], Case],
    names: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    num_trials: int,
    rng: random.Random,
) -> list[Trial]:
    """Walk the diagonals of the torus of pairs and cases: each combination comes once, and any
    beginning of the walk has each pair, and each case, equally often but for one."""
    size = len(pairs) * len(names)
    around = lcm(len(pairs), len(names)) if size else 1
    turned = {pair: rng.random() < 0.5 for pair in pairs}
    met: Counter[tuple[str, str]] = Counter()
    trials: list[Trial] = []
    for step in range(size):
        if len(trials) == num_trials:
            break
        pair = pairs[step % len(pairs)]
        name = names[(step + step // around) % len(names)]
        if any((name, method) not in edits for method in pair):
            continue
        left, right = pair if (met[pair] % 2 == 0) != turned[pair] else pair[::-1]
        met[pair] += 1
        trials.append(_trial(edits[name, left], edits[name, right]))
    rng.shuffle(trials)
    return trials


def _trial(left: Case, right: Case) -> Trial:
    return Trial(
        name=left.name,
        group=left.group,
        text=left.instruction or left.target_prompt,
        source=_source(left),
        left=_edit(left),
        right=_edit(right),
    )


def _edit(case: Case) -> StudyFilm:
    assert case.edit is not None
    return StudyFilm(case.name, case.method, case.edit)


def _source(case: Case) -> StudyFilm:
    assert case.source is not None
    return StudyFilm(case.name, SOURCE, case.source)


def _checks(
    cases: Sequence[Case], num_checks: int, seed: int, is_heard: Callable[[Path], bool]
) -> list[Trial]:
    """A source against itself with the sound of another; the right answer is left as often as
    right, but for one."""
    rng = random.Random(seed)
    controls = [case for case in controls_of(cases, seed) if case.control == "shuffled"]
    rng.shuffle(controls)
    one_a_group = {case.group: case for case in controls}.values()
    usable = (case for case in one_a_group if _all_heard(case, is_heard))
    turned = rng.random() < 0.5
    return [
        _check(case, is_left=(place % 2 == 0) != turned)
        for place, case in enumerate(islice(usable, num_checks))
    ]


def _all_heard(case: Case, is_heard: Callable[[Path], bool]) -> bool:
    sounds = (case.source, case.sound_of)
    return all(path is not None and is_heard(path) for path in sounds)


def _check(case: Case, *, is_left: bool) -> Trial:
    source = _source(case)
    own = replace(source, method=COPY)
    other = replace(source, method=case.method, sound_of=case.sound_of)
    left, right = (own, other) if is_left else (other, own)
    text = case.instruction or case.target_prompt
    return Trial(case.name, case.group, text, source, left, right, is_check=True)
