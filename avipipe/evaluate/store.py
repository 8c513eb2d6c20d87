"""Where scores, features and answers are kept, by what they depend on: nothing is made twice."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from avipipe.evaluate.cases import Case
from avipipe.evaluate.extractors.wan_vae import vae_identity
from avipipe.evaluate.judge import JudgeAnswer
from avipipe.evaluate.metric import Metric, Score
from avipipe.evaluate.set_metric import FeatureKind, FeaturePair
from avipipe.evaluate.views import VIEWS_VERSION, Features, MediaView
from avipipe.files import sha256_of, written_whole
from avipipe.manifests.records import digest
from avipipe.manifests.rle import write_json

_GIVEN = ("target_label", "events_s", "questions", "checklist")
"""What a case may bring along for some metrics alone."""

_KEY_CHARS = 32
"""Digits of a hash that names a file: 128 bits, so that no two things share one."""


@cache
def content(path: Path) -> str:
    """What a file holds, hashed once a process."""
    return sha256_of(path)


def case_key(case: Case) -> str:
    """What the scores of a case depend on: the content of its files, not their names.

    Raises:
        OSError: one of them cannot be read.
    """
    parts: dict[str, Any] = {name: content(path) for name, path in sorted(case.files.items())}
    for name in ("source_prompt", "target_prompt", "instruction", "label", "control", "shown"):
        parts[name] = getattr(case, name)
    if case.vae is not None:
        parts["vae"] = vae_identity(case.vae)
    # Only where they are given, so that what was stored before there were any is found.
    given = case.model_dump(mode="json", include=set(_GIVEN), exclude_defaults=True)
    parts |= {name: given[name] for name in _GIVEN if name in given}
    return digest([VIEWS_VERSION, parts])[:_KEY_CHARS]


def metric_key(name: str, metric: Metric | FeatureKind) -> str:
    """What a metric is, or features, with version and weights."""
    return f"{name}@{metric.identity}"


class StoredCase(NamedTuple):
    """Scores of a case by key of their metric, and what was done to make it comparable.

    `asked` are the keys of what a judge answered.
    """

    scores: dict[str, Score]
    notes: tuple[str, ...]
    asked: tuple[str, ...] = ()


class ScoreStore:
    """A folder that any number of processes read and write at once."""

    def __init__(self, folder: Path) -> None:
        self._scores, self._features = folder / "scores", folder / "features"
        self._pairs, self._answers = folder / "pairs", folder / "answers"

    def read(self, key: str) -> StoredCase:
        """What is known of a case; what is damaged counts as missing, and is made anew."""
        try:
            found = json.loads(self._file(key).read_bytes())
            scores = {name: Score(**score) for name, score in found["scores"].items()}
            asked = map(str, found.get("asked", ()))  # which older stores have not
            return StoredCase(scores, tuple(found["notes"]), tuple(asked))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return StoredCase({}, ())

    def add(
        self,
        key: str,
        scores: Mapping[str, Score],
        notes: Sequence[str],
        asked: Sequence[str] = (),
    ) -> None:
        """Add the scores of a case that stay as they are, and what a judge was asked for them."""
        final = {name: score for name, score in scores.items() if score.is_final}
        if not final and not asked:
            return
        path = self._file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        before = self.read(key)
        told = {name: asdict(score) for name, score in {**before.scores, **final}.items()}
        all_asked = dict.fromkeys((*before.asked, *asked))
        write_json(path, {"scores": told, "notes": list(notes), "asked": list(all_asked)})

    def answer(self, key: str) -> JudgeAnswer | None:
        """What a judge answered; None where it was not asked, or that is damaged."""
        try:
            return JudgeAnswer(**json.loads(self._answer_file(key).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def keep_answer(self, key: str, answer: JudgeAnswer) -> None:
        """Keep what a judge answered."""
        path = self._answer_file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(answer))

    def feature(self, view: MediaView, name: str, make: Callable[[], Features]) -> Features:
        """An array of numbers of a file, made where it is not here yet.

        Args:
            name: of what it is, and of its version.
        """
        key = digest([VIEWS_VERSION, content(view.path), list(view.shown), name])[:_KEY_CHARS]
        path = self._features / key[:2] / f"{key}.npy"
        try:
            found: Features = np.load(path, allow_pickle=False)
            return found
        except (OSError, ValueError):
            made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as draft, draft.open("wb") as file:
            np.save(file, made, allow_pickle=False)
        return made

    def pair(self, key: str, kind: str) -> FeaturePair | None:
        """The features of a case; None where they are missing or damaged.

        Args:
            kind: key of what they are.
        """
        try:
            with np.load(self._pair_file(key, kind), allow_pickle=False) as found:
                return FeaturePair(found["source"], found["edit"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None

    def add_pair(self, key: str, kind: str, pair: FeaturePair) -> None:
        """Keep the features of a case."""
        path = self._pair_file(key, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as draft, draft.open("wb") as file:
            np.savez(file, source=pair.source_ND, edit=pair.edit_MD)

    def _pair_file(self, key: str, kind: str) -> Path:
        return self._pairs / key[:2] / f"{digest([key, kind])[:_KEY_CHARS]}.npz"

    def _answer_file(self, key: str) -> Path:
        return self._answers / key[:2] / f"{key[:_KEY_CHARS]}.json"

    def _file(self, key: str) -> Path:
        return self._scores / key[:2] / f"{key}.json"
