"""The cases that came out worst, as films beside their sources."""

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from avipipe.errors import AvipipeError
from avipipe.evaluate.cases import Case
from avipipe.evaluate.catalogue import METRICS
from avipipe.evaluate.report.figures import SENSES, decimals, number
from avipipe.evaluate.store import content
from avipipe.evaluate.tables import ClipScore
from avipipe.manifests.records import digest
from avipipe.manifests.rle import write_json
from avipipe.media.normalize import NormalizeConfig
from avipipe.pages.film import Film, first_seconds

logger = logging.getLogger(__name__)

NUM_WORST = 10
"""Cases on the page: as many as a person looks at in a sitting, and some 4 MB of films."""
_FILM_S = 8.0
"""How much of a film is shown: all of most clips."""
_FILM_BYTES = 600_000
"""Of one film: 20 of them are a page that browsers open at once."""
_WAYS = tuple(
    NormalizeConfig(short_side_px=240, max_long_side_px=640, crf=crf, audio_kbps=64)
    for crf in (28, 34, 42)
)
"""240 pixels show what went wrong beside another picture of the size, on a screen."""
_NUM_BLAMED = 3
"""Metrics that are named for a case: those in which it is furthest down."""


@dataclass(frozen=True, slots=True)
class Blame:
    """A metric in which a case is far down: its value, and the mean of its method."""

    metric: str
    arrow: str
    value: str
    mean: str


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A case, how far down it is (0 the best of all, 1 the worst), and its two films."""

    case: Case
    place: float
    blames: tuple[Blame, ...]
    source: Film
    edit: Film


def worst_cases(cases: Sequence[Case], clips: Sequence[ClipScore], films: Path) -> list[WorstCase]:
    """Films of the worst edits, by their mean place over all metrics with a better and a worse.

    The protocols of one metric count as one together.

    Args:
        films: folder that keeps them for the next report.
    """
    places = _places(clips)
    by_key = {(case.method, case.name): case for case in cases if not case.control}
    overall = {key: _overall(own) for key, own in places.items()}
    ranked = sorted(overall, key=lambda key: (-overall[key], key))
    found: list[WorstCase] = []
    for key in ranked:
        if len(found) == NUM_WORST:
            break
        case = by_key[key]
        try:
            sides = [_kept_film(path, films) for path in (case.source, case.edit) if path]
        except (AvipipeError, OSError) as error:
            logger.warning("%s by %s cannot be shown: %s", case.name, case.method, error)
            continue
        blames = _blames(key, places[key], clips)
        found.append(WorstCase(case, overall[key], blames, *sides))
    return found


def _places(clips: Sequence[ClipScore]) -> dict[tuple[str, str], dict[str, float]]:
    """(method, case) -> metric -> share of all edits' scores that are better."""
    by_metric: dict[str, list[ClipScore]] = defaultdict(list)
    for clip in clips:
        if clip.value is not None and not clip.control and METRICS[clip.metric].sense != "none":
            by_metric[clip.metric].append(clip)
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for metric, own in by_metric.items():
        sign = 1 if METRICS[metric].sense == "higher" else -1
        values_N = sign * np.array([clip.value for clip in own], np.float64)
        num_better_N = len(own) - np.searchsorted(np.sort(values_N), values_N, side="right")
        for clip, num_better in zip(own, num_better_N.tolist(), strict=True):
            found[clip.method, clip.name][metric] = num_better / max(1, len(own) - 1)
    return found


def _overall(places: Mapping[str, float]) -> float:
    """Mean over metrics of the mean over their protocols."""
    by_metric: dict[str, list[float]] = defaultdict(list)
    for name, place in places.items():
        by_metric[name.split(".")[0]].append(place)
    return fmean(map(fmean, by_metric.values()))


def _blames(
    key: tuple[str, str], places: Mapping[str, float], clips: Sequence[ClipScore]
) -> tuple[Blame, ...]:
    method, name = key
    found = []
    for metric in sorted(places, key=lambda metric: -places[metric])[:_NUM_BLAMED]:
        own = [c for c in clips if c.method == method and c.metric == metric]
        values = [clip.value for clip in own if clip.value is not None]
        (value,) = (clip.value for clip in own if clip.name == name and clip.value is not None)
        digits = decimals(values)
        unit = f" {METRICS[metric].unit}".rstrip()
        found.append(
            Blame(
                metric,
                SENSES[METRICS[metric].sense],
                number(value, digits) + unit,
                number(fmean(values), digits) + unit,
            )
        )
    return tuple(found)


def _kept_film(path: Path, films: Path) -> Film:
    """The film of a file, encoded where it is not there yet."""
    ways = [way.model_dump() for way in _WAYS]
    kept = films / f"{digest([content(path), _FILM_S, _FILM_BYTES, ways])[:32]}.json"
    try:
        return Film(**json.loads(kept.read_bytes()))
    except (OSError, ValueError, TypeError):
        made = first_seconds(
            path, _FILM_S, ways=_WAYS, max_bytes=_FILM_BYTES, advice="it is left out"
        )
    films.mkdir(parents=True, exist_ok=True)
    write_json(kept, asdict(made))
    return made
