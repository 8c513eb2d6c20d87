"""How the report writes numbers and senses."""

import math
from collections.abc import Sequence

from avipipe.evaluate.metric import Sense

SENSES: dict[Sense, str] = {"higher": "↑", "lower": "↓", "none": ""}
_MINUS = "\u2212"


def decimals(values: Sequence[float]) -> int:
    """Places behind the point for numbers that are to be compared: three figures or four."""
    largest = max(abs(value) for value in values)
    if largest == 0:
        return 1
    return min(max(2 - math.floor(math.log10(largest)), 1), 6)


def number(value: float, places: int) -> str:
    """A number with so many places behind the point; never `-0.00`."""
    text = f"{value:.{places}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", _MINUS)
