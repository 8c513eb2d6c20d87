"""Writes the page of a study as one HTML file that needs nothing else, and the key to it."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup

from avipipe.errors import FailKind, ManifestError, MediaError
from avipipe.evaluate.cases import Case, completed, read_cases
from avipipe.evaluate.store import content
from avipipe.evaluate.study.films import is_heard, study_films
from avipipe.evaluate.study.key import KeyTrial, StudyKey, key_path, signed
from avipipe.evaluate.study.plan import (
    QUESTIONS,
    TEXT_QUESTION,
    StudyFilm,
    Subject,
    Trial,
    plan_study,
)
from avipipe.evaluate.tables import CASES_NAME
from avipipe.files import write_whole
from avipipe.manifests.records import digest
from avipipe.media.probe import probe
from avipipe.pages.film import Film
from avipipe.pages.render import environment, inside_script, joined, script_hash, shared
from avipipe.text import safe_text

_HERE = Path(__file__).parent
_PAGE_BYTES = 60_000
"""Of a page without films and trials: styles, script and words."""
_TRIAL_BYTES = 500
"""Of a trial without its instruction: names of it and its films, and what frames these."""


@dataclass(frozen=True, slots=True)
class StudySummary:
    """The page that was written, and why cases are left out of it, a sentence each."""

    key: StudyKey
    num_bytes: int
    short_side_px: int
    left_out: tuple[str, ...]


def cases_of_runs(paths: Sequence[Path]) -> list[Case]:
    """The edits of manifests, or of folders that `avipipe eval run` made, together.

    Raises:
        ConfigError: one cannot be read.
        ManifestError: one is damaged, two have an edit of one name and method, or cases of one name
            have different sources.
    """
    found: list[Case] = []
    for path in paths:
        cases = read_cases(path / CASES_NAME if path.is_dir() else path)
        # What one run lacks, another may have.
        found += [case for case in cases if not case.control and case.edit is not None]
    where = ", ".join(map(str, paths))
    sources: dict[str, Path] = {}
    for case in found:
        if case.source is None or not case.source.is_file():
            continue
        other = sources.setdefault(case.name, case.source)
        if other != case.source and content(other) != content(case.source):
            raise ManifestError(
                f"{where}: cases of the name {case.name!r} have two sources, {other} and "
                f"{case.source}, and cannot be compared; rename one"
            )
    return completed(found, where)


def write_study(
    cases: Sequence[Case],
    path: Path,
    *,
    subject: Subject,
    num_trials: int,
    num_checks: int,
    seed: int,
    max_bytes: int,
    filmed: Callable[[int, int], None],
) -> StudySummary:
    """Write a page on which people compare edits, and beside it the key that says who made which.

    Args:
        max_bytes: of the page; all films get coarser until it holds.
        filmed: told of each film how many are ready, of how many.
    Raises:
        ConfigError: there is nothing to compare, or the films do not fit.
        MediaError: a film cannot be decoded, though its file could be opened.
    """
    usable, left_out = _playable(cases)
    trials = plan_study(
        usable, num_trials=num_trials, num_checks=num_checks, seed=seed, is_heard=is_heard
    )
    questions = dict(QUESTIONS[subject])
    if not all(trial.text for trial in trials):
        questions.pop(TEXT_QUESTION, None)
    names = _film_names(trials, seed)
    texts = [safe_text(trial.text) for trial in trials]
    used_bytes = _PAGE_BYTES + len(trials) * _TRIAL_BYTES + len(inside_script(texts))
    films = dict(
        zip(names.values(), study_films(list(names), max_bytes - used_bytes, filmed), strict=True)
    )
    key = signed(
        StudyKey(
            study="-",
            content=digest([texts, questions, [each.video for each in films.values()]]),
            subject=subject,
            seed=seed,
            questions=tuple(questions),
            films={name: film.method for film, name in names.items()},
            trials=_key_trials(trials, names),
        )
    )
    data = render(key, texts, questions, films).encode("utf-8")
    write_whole(key_path(path), key.model_dump_json(indent=1).encode("utf-8"))
    write_whole(path, data)
    short_px = min(min(each.width, each.height) for each in films.values())
    return StudySummary(key, len(data), short_px, tuple(left_out))


def _playable(cases: Sequence[Case]) -> tuple[list[Case], list[str]]:
    """The cases whose files can be opened, and why the others cannot."""
    usable, left_out = [], []
    for case in cases:
        problem = case.problem or _problem(case)
        if problem:
            left_out.append(f"{case.method}: {case.name}: {problem}")
        else:
            usable.append(case)
    return usable, left_out


def _problem(case: Case) -> str:
    if case.source is None or case.edit is None:
        return "expected a source and an edit"
    return next(filter(None, map(_problem_of_file, (case.source, case.edit))), "")


@cache
def _problem_of_file(path: Path) -> str:
    try:
        probe(path)
    except MediaError as error:
        return "" if error.kind is FailKind.NO_AUDIO_STREAM else f"{path.name}: {error}"
    return ""


def _film_names(trials: Sequence[Trial], seed: int) -> dict[StudyFilm, str]:
    """Film -> its name on the page, which says nothing of it: a place in a shuffled row."""
    films = {film for trial in trials for film in (trial.source, trial.left, trial.right)}
    ordered = sorted(films, key=lambda film: (film.name, film.method, str(film.video)))
    random.Random(seed).shuffle(ordered)
    return {film: f"f{place:03d}" for place, film in enumerate(ordered, start=1)}


def _key_trials(trials: Sequence[Trial], names: Mapping[StudyFilm, str]) -> dict[str, KeyTrial]:
    return {
        f"t{place:03d}": KeyTrial(
            name=trial.name,
            group=trial.group,
            source=names[trial.source],
            left=names[trial.left],
            right=names[trial.right],
            is_check=trial.is_check,
        )
        for place, trial in enumerate(trials, start=1)
    }


def render(
    key: StudyKey, texts: Sequence[str], questions: Mapping[str, str], films: Mapping[str, Film]
) -> str:
    """Render the page: HTML with styles, script and films inside, and nothing of who made them.

    A content security policy in the page forbids every request and every script but its own.

    Args:
        texts: of the trials, in their order: what was asked of the edit.
        questions: name -> words.
        films: by their names in the key.
    """
    script = '"use strict";\n' + shared("player.js") + joined(_HERE / "study.js")
    data = {
        "study": key.study,
        "questions": [{"name": name, "words": words} for name, words in questions.items()],
        "trials": [
            {
                "name": name,
                "text": text,
                **trial.model_dump(include={"source", "left", "right"}),
            }
            for (name, trial), text in zip(key.trials.items(), texts, strict=True)
        ],
        "shapes": {name: each.width / each.height for name, each in films.items()},
    }
    return (
        environment(_HERE)
        .get_template("study.html")
        .render(
            data=inside_script(data),
            num_trials=len(key.trials),
            films=[(name, Markup(each.video)) for name, each in films.items()],
            css=Markup(shared("base.css", "tool.css") + joined(_HERE / "study.css")),
            script=Markup(script),
            script_hash=script_hash(script),
        )
    )
