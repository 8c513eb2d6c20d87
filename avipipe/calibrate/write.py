"""A fitted decision as a file that a person can read."""

from collections.abc import Mapping, Sequence

import yaml

from avipipe.calibrate.crossval import Tuned
from avipipe.decision.model import VERSION, DecisionModel, Figure, Reliability

_HEAD = """# What each measure adds to the log-odds that a clip is good (avipipe/decision/model.py).
# Between two knots [value, log-odds] it is linear, beyond them it stays; unknown adds nothing.
# `prior` counts where other backends measured than those that this was fitted on.
"""


def decision_model(
    tuned: Tuned,
    *,
    name: str,
    backends: Mapping[str, str],
    data: str,
    figures: Mapping[str, Figure],
    reliability: Sequence[Reliability],
) -> DecisionModel:
    """See `DecisionModel`."""
    return DecisionModel(
        version=VERSION,
        name=name,
        intercept=round(tuned.fit.intercept, 4),
        min_probability=tuned.min_probability,
        backends=dict(sorted(backends.items())),
        terms=tuned.fit.terms(),
        data=data,
        figures=figures,
        reliability=tuple(reliability),
    )


def as_yaml(model: DecisionModel) -> str:
    """The text of its file."""
    data = model.model_dump(mode="json")
    terms, reliability = data.pop("terms"), data.pop("reliability")
    figures = data.pop("figures")
    text = _HEAD + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    text += "terms:\n"
    for name, term in terms.items():
        text += f"  {name}:\n    knots: {term['knots']}\n    prior: {term['prior']}\n"
    text += "figures:" + _lines({name: _flow(figure) for name, figure in figures.items()})
    text += "reliability:" + ("\n" if reliability else " []\n")
    return text + "".join(f"  - {_flow(each)}\n" for each in reliability)


def _lines(rows: Mapping[str, str]) -> str:
    return "\n" + "".join(f"  {name}: {row}\n" for name, row in rows.items()) if rows else " {}\n"


def _flow(values: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"
