"""A fitted decision as a file that a person can read."""

from collections.abc import Mapping, Sequence

import yaml

from avipipe.calibrate.fit import Fit
from avipipe.decision.model import (
    EVEN_ODDS,
    VERSION,
    DecisionModel,
    Figure,
    Knot,
    Reliability,
    Term,
)


def _fixed(*knots: Knot) -> Term:
    return Term(knots=knots, prior=knots)


FIXED: Mapping[str, Term] = {
    "offset": _fixed((0.1, 0.0), (0.25, -2.5)),
    "predicted_jf": _fixed((0.4, -3.0), (0.7, 0.0)),
}
"""What is not fitted, as too few labelled clips show it, and only speaks against a clip.

* offset: where it stands out by 4 deviations, so that hardly a clip has one. Up to 0.1 s lies
  between the detectable and the acceptable of ITU-R BT.1359; 0.25 s is beyond both.
* predicted_jf: from 0.7 on nine masks in ten are right; below it, as much as it is likely to be
  wrong. Read off tracks of known truth (bench/results/masks-2cpu.md).
"""

_LEAST = 0.01
"""Log-odds under which a measure is left out: it moves no probability by more than 0.0025."""

_HEAD = """# What each measure adds to the log-odds that a clip is good (avipipe/decision/model.py).
# Between two knots [value, log-odds] it is linear, beyond them it stays; unknown adds nothing.
# `prior` counts where other backends measured than those that this was fitted on.
"""


def decision_model(
    fit: Fit,
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
        intercept=round(fit.intercept, 4),
        min_probability=EVEN_ODDS,
        backends=dict(sorted(backends.items())),
        terms={**_that_count(fit.terms()), **FIXED},
        data=data,
        figures=figures,
        reliability=tuple(reliability),
    )


def _that_count(terms: Mapping[str, Term]) -> dict[str, Term]:
    """Without those that the labels gave no weight."""
    return {
        name: term for name, term in terms.items() if max(abs(y) for _, y in term.knots) >= _LEAST
    }


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
