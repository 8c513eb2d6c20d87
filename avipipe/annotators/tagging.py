"""From the class scores of windows of sound to the tags of a clip, for every AudioSet tagger.

A sparse event must not be averaged away by the silence between: scores are means over the windows
that *sound*, those within 15 dB of the loudest one. What lies beneath, in windows quieter than
that, is measured apart.

`Tags.scores` holds the groups of `annotators.audioset`, but for those of the kind `none`: the mean
over the sounding windows of the group's best class, generic classes stepping back. `classes` holds
the 15 best classes, as means over the same windows. `details`:

* num_windows, num_sounding, num_quiet: windows in all, those that sound, and those 15 to 45 dB
  under the loudest.
* prevalence_GROUP: share of the sounding windows in which the group leads or reaches 0.3, for
  groups that name a source (kinds instance, many and music).
* quiet_GROUP: the group's mean score in the quiet windows, from 0.1 up: a bed under the sound.
* second_group_margin: score of the best group that names a source, minus that of the best other
  one that cannot be the same thing (a car and its engine can).
* kind_instance, kind_many, kind_ambience: mean over the sounding windows of the best class of the
  kind. `many` is a crowd, an orchestra or traffic; with a high `kind_ambience` and a low
  `kind_instance` nothing can be cut out.
* raw_music: the same for all music classes with "Music" itself, which any instrument raises;
  raw_genre: without it, so genres, moods and scores, which hardly any solo instrument raises;
  raw_instrument: the same for specific instruments. Produced music has a high `raw_genre` or a
  `raw_instrument` far below `raw_music`.
* first_family, second_family: scores of the two best families of instruments (plucked, keyboard,
  drums, mallets, brass, bowed, wind, electronic): several at once where the second is high, too.
* beside_speech: mean score of the best group that names a source other than a person's voice, over
  the sounding windows that are speech for at least half of their time; absent where none is.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators import audioset
from avipipe.annotators.base import Speech, Tags, Wave

Scores = npt.NDArray[np.float32]

SHORTEST_S = 0.25
"""Shortest sound that is tagged."""

_SILENCE_DBFS = -75.0
"""Level of the loudest window under which a clip is silence; a choice."""
# Under the loudest window: down to the first a window sounds, from there to the second it is quiet.
# Choices: beyond, it is the noise floor.
_SOUNDING_DB = 15.0
_QUIET_DB = 45.0
_HIGH_PASS_HZ = 100.0
"""Under it lies rumble, which is no level of what is heard; a choice."""
_PREVALENT = 0.3
"""Score from which a group is heard in a window beside the leading one; a choice."""
_LEAST_QUIET = 0.1
"""Least mean score in quiet windows that is told; a choice that keeps the details few."""
_NUM_CLASSES = 15
"""Classes that are told, of 527; a choice."""
_SOURCES = frozenset({"instance", "many", "music"})
_VOICES = ("speech", "singing", "human", "crowd")


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows that a tagger hears: `starts_W` in samples, each `length` samples long."""

    starts_W: npt.NDArray[np.int64]
    length: int

    def cut(self, wav_N: Wave) -> list[Wave]:
        """The sound in each window, shorter where the clip is shorter than a window."""
        return [wav_N[start : start + self.length] for start in self.starts_W]

    def levels_dbfs(self, wav_N: Wave, *, sample_rate_hz: int) -> npt.NDArray[np.float64]:
        """RMS level of each window (W,) without the rumble under 100 Hz, -120 for silence."""
        high_pass = scipy.signal.butter(
            2, _HIGH_PASS_HZ, "highpass", fs=sample_rate_hz, output="sos"
        )
        audible_N = scipy.signal.sosfilt(high_pass, wav_N.astype(np.float64))
        power = [float(np.square(part).mean()) for part in self.cut(np.asarray(audible_N))]
        return 10.0 * np.log10(np.maximum(power, 1e-12))

    def speech_shares(
        self, speech: Speech, *, num_samples: int, sample_rate_hz: int
    ) -> npt.NDArray[np.float64]:
        """Share of each window (W,) that is speech."""
        spoken_N = np.zeros(num_samples, dtype=np.float32)
        for turn in speech.turns:
            spoken_N[round(turn.start_s * sample_rate_hz) : round(turn.end_s * sample_rate_hz)] = 1
        return np.array([float(part.mean()) for part in self.cut(spoken_N)])


def windows(num_samples: int, *, length: int, hop: int) -> Windows:
    """Lay windows every `hop` samples; a last one ends where the sound ends."""
    last = max(0, num_samples - length)
    starts = list(range(0, last + 1, hop))
    if starts[-1] < last:
        starts.append(last)
    return Windows(np.array(starts, dtype=np.int64), length)


def tags_of(
    scores_WK: Scores,
    names: Sequence[str],
    *,
    level_dbfs_W: npt.NDArray[np.float64],
    speech_share_W: npt.NDArray[np.float64],
) -> Tags:
    """Pool the scores of windows to the tags of a clip.

    Args:
        scores_WK: of each class in each window, in [0, 1].
        names: of the classes, as AudioSet displays them.
        level_dbfs_W: level of each window.
        speech_share_W: share of each window that is speech.
    Returns:
        No scores for silence. `confidence` is the mean over the sounding windows of the best
        class's score: how sure the network is of anything at all.
    """
    loudest = float(level_dbfs_W.max())
    if loudest < _SILENCE_DBFS:
        return Tags(scores={}, confidence=None)
    sounding_W = level_dbfs_W >= loudest - _SOUNDING_DB
    quiet_W = ~sounding_W & (level_dbfs_W >= max(loudest - _QUIET_DB, _SILENCE_DBFS))
    heard_SK = scores_WK[sounding_W]
    scores = _mean_groups(heard_SK, names)
    kinds = audioset.kinds()
    mean_K = heard_SK.mean(axis=0)
    best = np.argsort(-mean_K, kind="stable")[:_NUM_CLASSES]
    details = {
        "num_windows": float(len(scores_WK)),
        "num_sounding": float(sounding_W.sum()),
        "num_quiet": float(quiet_W.sum()),
        "second_group_margin": _second_group_margin(scores),
        **_prevalence(heard_SK, names),
        **_quiet(scores_WK[quiet_W], names),
        **_kinds(heard_SK, names),
        **_music(heard_SK, names),
        **_beside_speech(scores_WK[sounding_W & (speech_share_W >= 0.5)], names),
    }
    return Tags(
        scores={group: score for group, score in scores.items() if kinds[group] != "none"},
        confidence=float(heard_SK.max(axis=1).mean()),
        details=details,
        classes={names[k]: float(mean_K[k]) for k in best},
    )


def _mean_groups(scores_WK: Scores, names: Sequence[str]) -> dict[str, float]:
    """Group -> mean over windows of its best class; generic classes are merged in the means."""
    best: dict[str, list[float]] = defaultdict(list)
    for scores_K in scores_WK:
        for group, score in audioset.specific_scores(_named(scores_K, names)).items():
            best[group].append(score)
    specific = {group: float(np.mean(values)) for group, values in best.items()}
    return audioset.merge(specific, _named(scores_WK.mean(axis=0), names))


def _named(scores_K: Scores, names: Sequence[str]) -> dict[str, float]:
    return dict(zip(names, scores_K.tolist(), strict=True))


def _sources(scores: Mapping[str, float]) -> dict[str, float]:
    """Those groups that name a source."""
    return {group: score for group, score in scores.items() if audioset.kinds()[group] in _SOURCES}


def _second_group_margin(scores: Mapping[str, float]) -> float:
    sources = _sources(scores)
    first = max(sources, key=sources.__getitem__)
    others = [score for group, score in sources.items() if not audioset.may_be_one(first, group)]
    return sources[first] - max(others, default=0.0)


def _prevalence(scores_WK: Scores, names: Sequence[str]) -> dict[str, float]:
    counts: dict[str, int] = defaultdict(int)
    for scores_K in scores_WK:
        sources = _sources(audioset.group_scores(_named(scores_K, names)))
        leader = max(sources, key=sources.__getitem__)
        for group, score in sources.items():
            counts[group] += group == leader or score >= _PREVALENT
    return {f"prevalence_{group}": n / len(scores_WK) for group, n in counts.items() if n}


def _quiet(scores_WK: Scores, names: Sequence[str]) -> dict[str, float]:
    if not len(scores_WK):
        return {}
    groups = _sources(_mean_groups(scores_WK, names))
    return {f"quiet_{group}": score for group, score in groups.items() if score >= _LEAST_QUIET}


def _kinds(scores_WK: Scores, names: Sequence[str]) -> dict[str, float]:
    of_kind = [audioset.classes()[name].kind for name in names]
    return {
        f"kind_{kind}": _mean_best(scores_WK, [k for k, is_a in enumerate(of_kind) if is_a == kind])
        for kind in ("instance", "many", "ambience")
    }


def _music(scores_WK: Scores, names: Sequence[str]) -> dict[str, float]:
    entries = [audioset.classes()[name] for name in names]
    music = [k for k, entry in enumerate(entries) if entry.group == "music"]
    instruments = [k for k, entry in enumerate(entries) if entry.family]
    families = {entry.family for entry in entries if entry.family}
    best = sorted(
        _mean_best(scores_WK, [k for k in instruments if entries[k].family == family])
        for family in families
    )
    return {
        "raw_music": _mean_best(scores_WK, music),
        "raw_genre": _mean_best(scores_WK, [k for k in music if not entries[k].over]),
        "raw_instrument": _mean_best(scores_WK, instruments),
        "first_family": best[-1] if best else 0.0,
        "second_family": best[-2] if len(best) > 1 else 0.0,
    }


def _beside_speech(scores_WK: Scores, names: Sequence[str]) -> dict[str, float]:
    if not len(scores_WK):
        return {}
    groups = _sources(_mean_groups(scores_WK, names))
    others = [score for group, score in groups.items() if group not in _VOICES]
    return {"beside_speech": max(others, default=0.0)}


def _mean_best(scores_WK: Scores, columns: list[int]) -> float:
    """Mean over the windows of the best of some classes; 0 without classes."""
    return float(scores_WK[:, columns].max(axis=1).mean()) if columns else 0.0
