"""Calibration of the decision: how reliable it is, and for the evidence of which backends."""

from collections.abc import Iterator, Mapping

from avipipe.decision.check import STAGES
from avipipe.decision.checks import KNOWN
from avipipe.decision.judge import by_prior
from avipipe.decision.model import DecisionModel, Figure
from avipipe.pipeline.graph import Graph

REMEDY = "`avipipe review`, then `avipipe calibrate`"
"""Command that fits a decision of one's own."""

REAL_MATERIAL_PROFILE = "light"
"""Profile for real material, recommended over `embedded`, which knows no names of things."""

FIGURES = ("balanced_accuracy", "keep_precision")
"""Figures of a model that are reported first."""


def uncalibrated(model: DecisionModel, backends: Mapping[str, str]) -> tuple[str, ...]:
    """Annotators whose measures count by their priors only, as `ROLE (BACKEND)`.

    Args:
        backends: role -> `name@version`, as evidence has them.
    """
    asked = {role for name in by_prior(model, backends) for role in KNOWN[name].roles}
    return tuple(
        f"{role} ({backend})"
        for role, backend in sorted(backends.items())
        if role in asked and model.backends.get(role) != backend and not _is_none(backend)
    )


def _is_none(backend: str) -> bool:
    """Whether it measures nothing, so that nothing counts by it."""
    return backend.partition("@")[0] == "none"


def backends_of(graph: Graph) -> dict[str, str]:
    """Annotators that evidence for decisions will come from: role -> `name@version`."""
    return {
        role: backend
        for stage in graph.annotated
        if stage.name in STAGES
        for role, backend in stage.backend_names().items()
    }


def figure(name: str, found: Figure) -> str:
    """Format a figure: `keep-precision 0.91 (0.86 to 0.95)`."""
    label = {"keep_precision": "keep-precision"}.get(name, name.replace("_", " "))
    return f"{label} {interval(found)}"


def interval(found: Figure) -> str:
    """Format a value with its interval: `0.91 (0.86 to 0.95)`."""
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def reliability(model: DecisionModel, profile: str) -> str:
    """Reliability of a profile's decisions, cross-validated; empty where not measured."""
    if model.name != profile:
        return ""
    known = [figure(name, model.figures[name]) for name in FIGURES if name in model.figures]
    if not known:
        return ""
    advice = f"; for real material use `{REAL_MATERIAL_PROFILE}`" if profile == "embedded" else ""
    return f"cross-validated on labelled clips: {', '.join(known)}{advice}"


def notes(graph: Graph) -> Iterator[str]:
    """Notes on the decision, for the user before a build begins."""
    profile, model = graph.config.profile, graph.judge.model
    if held := reliability(model, profile):
        yield f"Profile {profile}, {held}"
    if others := uncalibrated(model, backends_of(graph)):
        yield (
            f"The decision is not calibrated for {', '.join(others)}: what they measure counts by "
            f"what the literature says; {REMEDY}"
        )
