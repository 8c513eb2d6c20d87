"""What a metric is, and how one ends: with a number, or with the reason why there is none."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, Protocol

from avipipe.annotators.weighted import Weighted
from avipipe.errors import ConfigError, ItemError, WeightsError
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.weights import entry, find

logger = logging.getLogger(__name__)

Status = Literal["ok", "skipped", "failed", "undefined"]
"""A number; not asked for as something is not given; broken; or without a value by nature."""
Sense = Literal["higher", "lower", "none"]
"""Which way is better; `none` where that depends on what was asked."""
Family = Literal["picture", "motion", "mask", "sound", "synchrony", "text", "set"]
Need = Literal[
    "pictures",
    "pairs",
    "mask",
    "both_masks",
    "sound",
    "source_sound",
    "source_prompt",
    "target_prompt",
    "events",
    "label",
    "target_label",
    "request",
    "questions",
    "checklist",
]
"""Pictures of the edit; pictures that lie on those of the source; a mask of either side, or of
both; a sound; a prompt; events of the sound; a class; an instruction or a target prompt; questions
of FiVE-Acc; a checklist."""

MIN_COMMON = 0.5
"""Share of the source that an edit must last, and the other way round, to be compared with it: less
than half of either says little of the whole. A choice."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by one protocol.

    Attributes:
        measure: from a case to a finite number; raises `Undefined` where there is none.
        needs: what it is undefined or skipped without.
        family: under which the report has it.
        words: what it says, for people, in a sentence.
        protocol: what moves its number: views, models, windows, and whose definition it is.
        unit: of its values, empty for shares and scores.
        extractors: the models that it computes with.
        version: raised whenever the same case would score otherwise.
    """

    measure: Callable[[CaseView], float]
    needs: tuple[Need, ...]
    sense: Sense
    family: Family
    words: str
    protocol: str
    unit: str = ""
    extractors: tuple[type[Weighted], ...] = ()
    version: int = 1

    @property
    def weights(self) -> tuple[str, ...]:
        """Names in the lock file."""
        return weights_of(self.extractors)

    @property
    def identity(self) -> str:
        """Its version, and what identifies its models and weights.

        Raises:
            WeightsError: one is missing.
        """
        return identity_of(self.version, self.extractors)


def metric_by(
    measure: Callable[[CaseView], float],
    extractor: type[Weighted],
    sense: Sense,
    words: str,
    protocol: str,
    *needs: Need,
    family: Family,
    unit: str = "",
) -> Metric:
    """A metric by one model."""
    return Metric(
        measure=measure,
        needs=needs,
        sense=sense,
        family=family,
        words=words,
        protocol=protocol,
        unit=unit,
        extractors=(extractor,),
    )


def weights_of(extractors: Sequence[type[Weighted]]) -> tuple[str, ...]:
    """Names in the lock file of what models load."""
    return tuple(name for each in extractors for name in each.needs)


def served_by(metric: "NeedsModels") -> str:
    """The name of the model that a server has for a metric; empty where none is asked or named."""
    try:
        return "@".join(name for each in _served(metric) for name in each().weights.values())
    except ConfigError:
        return ""


def identity_of(version: int, extractors: Sequence[type[Weighted]]) -> str:
    """A version, and what identifies models and their weights.

    Raises:
        WeightsError: one is missing.
    """
    models: list[Any] = [each() for each in extractors]
    told = [part for model in models for part in (str(model.version), *model.weights.values())]
    return "@".join([str(version), *told])


@dataclass(frozen=True, slots=True)
class Score:
    """How one metric ended for one case; `value` is None unless it is ok; `seconds` of CPU."""

    status: Status
    value: float | None = None
    reason: str = ""
    seconds: float = 0.0

    @property
    def is_final(self) -> bool:
        """Whether asking again would give the same: what failed or was skipped may be mended."""
        return self.status in ("ok", "undefined")


class NeedsModels(Protocol):
    """What computes with models, or with none."""

    @property
    def extractors(self) -> tuple[type[Weighted], ...]: ...


def lacking(metric: NeedsModels) -> str:
    """Why a metric is skipped on this machine; empty where all that it computes with is here."""
    for each in _served(metric):
        try:
            _ = each().weights
        except ConfigError as error:
            return str(error)
    missing = [name for name in weights_of(metric.extractors) if find(entry(name)) is None]
    if missing:
        names = " ".join(missing)
        return f"weights {', '.join(missing)} are missing; run `avipipe weights pull {names}`"
    packages = {name for each in metric.extractors for name in each.packages}
    absent = sorted(name for name in packages if not _is_installed(name))
    if absent:
        return f"{', '.join(absent)} not installed; run `pip install 'avipipe[eval]'`"
    return ""


def _served(metric: NeedsModels) -> list[type[Weighted]]:
    """Models that are on a server: they have no weights here, and a name in the environment."""
    return [each for each in metric.extractors if not each.needs]


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def scored(metric: Metric, view: CaseView) -> Score:
    """Measure a case with a metric that lacks nothing here; whatever happens is a score."""
    return attempted(metric.needs, view, lambda: metric.measure(view))


def attempted(needs: tuple[Need, ...], view: CaseView, measure: Callable[[], float]) -> Score:
    """Measure what a case must have `needs` for; whatever happens is a score.

    Raises:
        ConfigError: no case can be measured so; the user has to mend something.
    """
    began_s = time.process_time()
    try:
        lack = _lack(needs, view)
        if lack is not None:
            return lack
        value = float(measure())
    except Undefined as error:
        return Score("undefined", reason=error.reason, seconds=time.process_time() - began_s)
    except WeightsError as error:
        return Score("skipped", reason=str(error))
    except ItemError as error:
        return Score("failed", reason=str(error))
    except ConfigError:
        raise
    except MemoryError:
        return Score("failed", reason="there is too little memory for it: use fewer --workers")
    except Exception as error:
        logger.exception("a metric failed")
        return Score("failed", reason=f"{type(error).__name__}: {error}")
    seconds = time.process_time() - began_s
    if not math.isfinite(value):
        return Score("undefined", reason=f"it came out as {value}", seconds=seconds)
    return Score("ok", value, seconds=seconds)


def _lack(needs: tuple[Need, ...], view: CaseView) -> Score | None:
    """How a metric ends that the case gives too little for; None where all is there."""
    for need in needs:
        match need:
            case "mask" if view.mask is None and view.edit_mask is None:
                return Score("skipped", reason="the case has no mask")
            case "both_masks" if view.control:
                return Score("skipped", reason="a control has no mask of its own")
            case "both_masks" if view.mask is None or view.edit_mask is None:
                return Score("skipped", reason="the case has no two masks to compare")
            case "source_prompt" if not view.case.source_prompt:
                return Score("skipped", reason="the case has no source prompt")
            case "target_prompt" if not view.case.target_prompt:
                return Score("skipped", reason="the case has no target prompt")
            case "events" if not view.case.events_s:
                return Score("skipped", reason="the case has no events of the sound (`events_s`)")
            case "label" if not view.case.label:
                return Score("skipped", reason="the case has no class of the source (`label`)")
            case "target_label" if not view.case.target_label:
                return Score(
                    "skipped", reason="the case has no class of the target (`target_label`)"
                )
            case "request" if not (view.case.instruction or view.case.target_prompt):
                return Score("skipped", reason="the case has no instruction and no target prompt")
            case "questions" if view.case.questions is None:
                return Score("skipped", reason="the case has no questions of a benchmark")
            case "checklist" if not view.case.checklist:
                return Score("skipped", reason="the case has no checklist")
            case "sound" if not view.sound.has_sound:
                return Score("undefined", reason="the edit has no sound")
            case "source_sound" if not view.source.has_sound:
                return Score("undefined", reason="the source has no sound")
            case "pairs":
                if reason := _not_comparable(view):
                    return Score("undefined", reason=reason)
    return None


def _not_comparable(view: CaseView) -> str:
    """Why source and edit cannot be compared picture by picture."""
    if not view.is_same_shape:
        shapes = ["{:.0f}x{:.0f}".format(*each.shape) for each in (view.source, view.edit)]
        return f"the source is {shapes[0]} and the edit {shapes[1]}: they do not show the same"
    lengths_s = sorted((view.source.duration_s, view.edit.duration_s))
    if lengths_s[0] < MIN_COMMON * lengths_s[1]:
        return (
            f"the source lasts {view.source.duration_s:.2f} s and the edit "
            f"{view.edit.duration_s:.2f} s: less than half is common"
        )
    return ""
