"""What the report says of masks over the precision factor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from avipipe.evaluate.mask_curves import EditorCurve
from avipipe.evaluate.report.figures import number

_PLACES = 3
"""Of J&F, which is at most 1: more than a thousandth is noise of a few edits."""


@dataclass(frozen=True, slots=True)
class CurveLine:
    """An editor's curve as text: precision factor and J&F of each point, and the mean height."""

    editor: str
    points: tuple[tuple[int, str], ...]
    mean: str
    num: str


def curve_lines(curves: Sequence[EditorCurve]) -> Iterator[CurveLine]:
    """A line for each editor."""
    for each in curves:
        pairs = zip(each.curve.precision_P, each.curve.jf, strict=True)
        yield CurveLine(
            each.editor,
            tuple((int(level), number(float(jf), _PLACES)) for level, jf in pairs),
            number(each.curve.mean_jf, _PLACES),
            f"{each.num}" if each.num == each.num_total else f"{each.num} of {each.num_total}",
        )
