"""The numbers of a decision: what each measure adds to the log-odds that a clip is good.

An additive model. Each measure has knots between which its contribution is linear and beyond which
it stays, so it is bounded; unknown ones add nothing. With the intercept, contributions add up to
the log-odds of the probability that is shown.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from avipipe.decision.checks import KNOWN
from avipipe.errors import ConfigError
from avipipe.manifests.records import digest

VERSION = 1
EVEN_ODDS = 0.5
"""From which probability on a clip is kept by default: it is as likely good as not, or likelier."""

MAX_BYTES = 1_000_000

Knot = tuple[float, float]
"""Value of the measure, and what it adds to the log-odds."""


def _rising(knots: tuple[Knot, ...]) -> tuple[Knot, ...]:
    xs = [x for x, _ in knots]
    if any(not math.isfinite(number) for knot in knots for number in knot):
        raise ValueError("expected finite numbers")
    if any(b <= a for a, b in pairwise(xs)):
        raise ValueError("expected knots in rising order of the measure")
    return knots


Knots = Annotated[tuple[Knot, ...], Field(min_length=2), AfterValidator(_rising)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Term(_Model):
    """What one measure says.

    Attributes:
        knots: as fitted, for the backends that it was fitted on.
        prior: what the literature says, for all others.
    """

    knots: Knots
    prior: Knots

    def adds(self, value: float | None, *, by_prior: bool) -> float:
        """Log-odds that a value adds; 0 for an unknown one."""
        if value is None:
            return 0.0
        xs, ys = zip(*(self.prior if by_prior else self.knots), strict=True)
        return float(np.interp(value, xs, ys))

    @property
    def most(self) -> float:
        """The most that any value, known or not, can add."""
        return max(0.0, *(y for _, y in (*self.knots, *self.prior)))


class Reliability(_Model):
    """How often clips of a range of probability were good, cross-validated."""

    num: int
    mean_probability: float
    share_good: float


class Figure(_Model):
    """A cross-validated figure with its interval of 95 %."""

    value: float
    low: float
    high: float


class DecisionModel(_Model):
    """A small file of numbers; see the module.

    Attributes:
        name: of the profile, or of the dataset whose labels it was fitted on.
        min_probability: from which a clip is kept, unless the configuration says otherwise.
        backends: role -> `name@version` of the annotators that it was fitted on.
        data: what it was fitted on, in words.
        figures: cross-validated, by name.
    """

    version: Literal[1]
    name: str
    intercept: float = Field(allow_inf_nan=False)
    min_probability: float = Field(gt=0, lt=1)
    backends: Mapping[str, str]
    terms: Mapping[str, Term]
    data: str
    figures: Mapping[str, Figure] = {}
    reliability: tuple[Reliability, ...] = ()

    @field_validator("terms")
    @classmethod
    def _check_terms(cls, terms: Mapping[str, Term]) -> Mapping[str, Term]:
        unknown = sorted(set(terms) - KNOWN.keys())
        if unknown:
            raise ValueError(
                f"has measures that this version of avipipe lacks: {', '.join(unknown)}"
            )
        return terms

    def digest(self) -> str:
        """Hash of what decides: the numbers, not what is told about them."""
        numbers = self.model_dump(mode="json", exclude={"name", "data", "figures", "reliability"})
        return digest(numbers)


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one measure adds to the log-odds that a clip is good.

    Attributes:
        by_prior: it was measured by other backends than those that the numbers were fitted on.
    """

    measure: str
    value: float
    log_odds: float
    by_prior: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "measure": self.measure,
            "value": round(self.value, 4),
            "log_odds": round(self.log_odds, 4),
            "by_prior": self.by_prior,
        }


def contributions(
    model: DecisionModel, values: Mapping[str, float | None], priors: Collection[str]
) -> list[Contribution]:
    """What each known measure adds, that which speaks most strongly against first.

    Args:
        values: measure -> its value, as far as evidence was gathered.
        priors: measures that other backends gave than those that the model knows.
    """
    found = []
    for name, term in model.terms.items():
        value = values.get(name)
        if value is not None:
            adds = term.adds(value, by_prior=name in priors)
            found.append(Contribution(name, value, adds, name in priors))
    return sorted(found, key=lambda each: (each.log_odds, each.measure))


def log_odds(model: DecisionModel, found: Sequence[Contribution]) -> float:
    """Log-odds that the clip is good, on what is known."""
    return math.fsum([model.intercept, *(each.log_odds for each in found)])


def best_log_odds(
    model: DecisionModel, values: Mapping[str, float | None], found: Sequence[Contribution]
) -> float:
    """The most that the log-odds may still become, whatever is found in evidence to come.

    Args:
        values: has a key for each measure whose evidence is there, unknown (None) or not.
    """
    still = [term.most for name, term in model.terms.items() if name not in values]
    # Rounded once: sums that are rounded on the way depend on their order.
    return math.fsum([model.intercept, *(each.log_odds for each in found), *still])


def probability(odds: float) -> float:
    """The probability that log-odds mean."""
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


def shipped(profile: str) -> DecisionModel:
    """The numbers that a profile comes with. `full` has those of `light`: its own models
    count by their priors."""
    name = "embedded" if profile == "embedded" else "light"
    file = resources.files("avipipe.decision").joinpath(f"{name}.yaml")
    return parse_model(file.read_text("utf-8"), file.name)


def read_model(path: Path) -> DecisionModel:
    """A file of numbers.

    Raises:
        ConfigError: it cannot be read, or is no such file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{path}: expected a few kB of numbers, found {path.stat().st_size} B"
            )
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"stages.decide.model: cannot read {path}: {error}") from error
    return parse_model(text, str(path))


@lru_cache(maxsize=8)
def parse_model(text: str, where: str) -> DecisionModel:
    """From the text of a file.

    Raises:
        ConfigError: not YAML, another version, or not what a model has.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: expected YAML, found {error}; restore the file") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a decision model; make one with `avipipe calibrate`")
    if data.get("version") != VERSION:
        raise ConfigError(
            f"{where}: expected version {VERSION} of decision models, found "
            f"{data.get('version')!r}; make it anew with `avipipe calibrate`"
        )
    try:
        model = DecisionModel.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{where}: `{place}`: {first['msg']}; restore the file, or make it anew with "
            "`avipipe calibrate`"
        ) from error
    return model
