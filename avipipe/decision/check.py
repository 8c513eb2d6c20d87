"""What one measure is: where it is measured, what it speaks for, and how people are told."""

from dataclasses import dataclass
from typing import Literal

from avipipe.decision.hearing import Measure
from avipipe.manifests.records import DropReason

Sense = Literal["at_least", "at_most"]

STAGES = ("listen", "look", "mask")
"""Whose evidence is measured, in the order in which it is gathered."""


@dataclass(frozen=True, slots=True)
class Check:
    """One measure of the decision, and how it is told.

    Attributes:
        name: by which model files, manifests and configuration know it.
        stage: with whose evidence, and that of the stages before it, it can be measured.
        sense: `at_least` where high values speak for a clip, `at_most` where low ones do.
        span: values beyond it tell no more; between them log-odds rise or fall.
        reason: what is the matter with a clip that it speaks against.
        claim: what is so of a clip that it speaks for; `quantity` and `unit` of the value.
        roles: the annotators on which the value rests.
        limit: the field of `DecideConfig` that holds an optional hard limit; empty without one.
    """

    name: str
    stage: str
    measure: Measure
    sense: Sense
    span: tuple[float, float]
    reason: DropReason
    claim: str
    quantity: str
    unit: str = ""
    roles: tuple[str, ...] = ()
    limit: str = ""

    @property
    def sign(self) -> int:
        return 1 if self.sense == "at_least" else -1
