"""Geometry of the report's charts: numbers in, coordinates and SVG paths out."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from avipipe.pipeline.report.model import Curve, Measure, Outlook, StageRow

# In pixels of the page: margins of a chart, and two sizes.
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 10.0, 12.0, 24.0


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a drawing, in its own units."""

    width: float
    height: float

    def x_at(self, value: float, low: float, high: float) -> float:
        inner = self.width - _LEFT - _RIGHT
        return _LEFT + inner * (value - low) / ((high - low) or 1)

    def y_at(self, value: float, top: float) -> float:
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * value / top


SMALL, LARGE = Size(340.0, 170.0), Size(540.0, 260.0)
"""Width and height in pixels of the page."""


@dataclass(frozen=True, slots=True)
class BarSegment:
    """A part of a stage's bar, in percent of the bar's column."""

    left: float
    width: float
    status: str
    reason: str
    amount: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Plot:
    """A what-if curve in the coordinates of a drawing of its size."""

    size: Size
    settled_line: str
    settled_area: str
    open_area: str
    limit_x: float
    limit_y: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def segments(stage: StageRow, *, hours: bool, widest: float) -> tuple[BarSegment, ...]:
    """Divide a stage's bar: what goes on, then each loss, then what is pending."""
    tally = stage.hours if hours else stage.items
    parts = [("keep", "", tally.kept)]
    parts += [
        (loss.status, loss.reason, loss.hours if hours else loss.items) for loss in stage.losses
    ]
    parts.append(("pending", "", tally.pending))
    drawn, left = [], 0.0
    for status, reason, amount in parts:
        width = 100 * amount / widest if widest else 0.0
        if width > 0:
            drawn.append(BarSegment(left, width, status, reason, amount))
        left += width
    return tuple(drawn)


def share(measure: Measure, value: float) -> float:
    """Position of a value on a measure's scale, in percent; beyond its ends, at them."""
    return 100 * min(1.0, max(0.0, (value - measure.low) / (measure.high - measure.low)))


def waveform(peaks: Sequence[float]) -> str:
    """Draw a waveform: an outline that mirrors the peaks, 1000 wide and 100 high."""
    if not peaks:
        return ""
    step = 1000 / len(peaks)
    points = [(step * (n + 0.5), 48 * min(1.0, max(0.0, p)) + 0.6) for n, p in enumerate(peaks)]
    upper = [f"{x:.1f} {50 - y:.1f}" for x, y in points]
    lower = [f"{x:.1f} {50 + y:.1f}" for x, y in reversed(points)]
    return f"M0 50L{'L'.join(upper)}L1000 50L{'L'.join(lower)}Z"


def plot(curve: Curve | Outlook, size: Size, *, per_hour: float | None) -> Plot:
    """Draw a what-if curve: settled clips as a line, open ones as an area above it.

    Args:
        per_hour: how many of the page's units of time make an hour; None for items.
    """
    settled: Sequence[float] = curve.settled
    open_: Sequence[float] = curve.open
    if per_hour is not None:
        settled = [per_hour * hours for hours in curve.settled_hours]
        open_ = [per_hour * hours for hours in curve.open_hours]
    total = [a + b for a, b in zip(settled, open_, strict=True)]
    whole = per_hour is None
    y_ticks = ticks(0, max([*total, 1 if whole else 1e-6]), 3, whole=whole)
    top = max(y_ticks[-1], max(total))
    low, high = curve.xs[0], curve.xs[-1]

    def points(values: Sequence[float]) -> list[str]:
        steps = _steps(curve.xs, values, late=curve.sense == "at_most")
        return [f"{size.x_at(x, low, high):.1f} {size.y_at(y, top):.1f}" for x, y in steps]

    line = "M" + "L".join(points(settled))
    floor, right, left = size.y_at(0, top), size.x_at(high, low, high), size.x_at(low, low, high)
    now = curve.xs.index(curve.limit)
    return Plot(
        size=size,
        settled_line=line,
        settled_area=f"{line}L{right:.1f} {floor:.1f}L{left:.1f} {floor:.1f}Z",
        open_area="M" + "L".join(points(total)) + "L" + "L".join(points(settled)[::-1]) + "Z",
        limit_x=size.x_at(curve.limit, low, high),
        limit_y=size.y_at(settled[now], top),
        x_ticks=_x_ticks(curve.xs, size),
        y_ticks=tuple(Tick(size.y_at(v, top), v) for v in y_ticks),
    )


@dataclass(frozen=True, slots=True)
class SharePlot:
    """Expected precision and recall as lines, in the coordinates of a drawing of its size."""

    size: Size
    precision_line: str
    recall_line: str
    limit_x: float
    precision_y: float | None
    recall_y: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def share_plot(outlook: Outlook, size: Size) -> SharePlot:
    """Draw what an outlook expects; a line ends where nothing is kept any more."""
    low, high = outlook.xs[0], outlook.xs[-1]

    def line(values: Sequence[float | None]) -> str:
        pairs = zip(outlook.xs, values, strict=True)
        points = [
            f"{size.x_at(x, low, high):.1f} {size.y_at(y, 1):.1f}"
            for x, y in pairs
            if y is not None
        ]
        return "M" + "L".join(points) if points else ""

    def now(values: Sequence[float | None]) -> float | None:
        value = values[outlook.now]
        return None if value is None else size.y_at(value, 1)

    return SharePlot(
        size=size,
        precision_line=line(outlook.precision),
        recall_line=line(outlook.recall),
        limit_x=size.x_at(outlook.limit, low, high),
        precision_y=now(outlook.precision),
        recall_y=now(outlook.recall),
        x_ticks=_x_ticks(outlook.xs, size),
        y_ticks=tuple(Tick(size.y_at(v, 1), 100 * v) for v in (0.0, 0.25, 0.5, 0.75, 1.0)),
    )


def _x_ticks(xs: Sequence[float], size: Size) -> tuple[Tick, ...]:
    low, high = xs[0], xs[-1]
    found = ticks(low, high, 5, whole=all(x.is_integer() for x in xs))
    return tuple(Tick(size.x_at(v, low, high), v) for v in found if low <= v <= high)


def _steps(
    xs: Sequence[float], ys: Sequence[float], *, late: bool
) -> Iterator[tuple[float, float]]:
    """The corners of a staircase that jumps at the later or the earlier end of a step."""
    yield xs[0], ys[0]
    for (x0, y0), (x1, y1) in pairwise(zip(xs, ys, strict=True)):
        if y0 != y1:
            corner = x1 if late else x0
            yield corner, y0
            yield corner, y1
    yield xs[-1], ys[-1]


def ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """About `count` round numbers from `low` to `high`, the last at or beyond `high`."""
    if high <= low:
        return [low, low + 1]
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]
