"""Draws a `Report` as one HTML file that needs nothing else."""

from functools import partial
from pathlib import Path

import jinja2
from markupsafe import Markup

from avipipe import __version__
from avipipe.pages.render import environment, joined, script_hash, shared
from avipipe.pipeline.report import charts
from avipipe.pipeline.report.model import Report, StageRow
from avipipe.pipeline.words import REASONS

PER_HOUR = {"h": 1.0, "min": 60.0, "s": 3600.0}
"""Units of time, and how many make an hour."""

_HERE = Path(__file__).parent
_MINUS = "\u2212"


def render(report: Report) -> str:
    """Render the page: HTML with styles, script and pictures inside; needs no network.

    A content security policy in the page forbids every request and every script but its own, so
    not even a hostile file name could change that.
    """
    script = joined(_HERE / "report.js")
    unit = hours_unit(report)
    return _template().render(
        r=report,
        reasons=REASONS,
        charts=charts,
        levels=_levels(report.stages),
        hours=partial(format_hours, unit=unit),
        unit=unit,
        per_hour=PER_HOUR[unit],
        css=Markup(shared("base.css") + joined(_HERE / "report.css")),
        script=Markup(script),
        script_hash=script_hash(script),
        version=__version__,
    )


def hours_unit(report: Report) -> str:
    """Choose the unit in which the longest time on the page is easy to read."""
    longest = max([stage.hours.total for stage in report.stages], default=0.0)
    if longest >= 2:
        return "h"
    return "min" if longest >= 2 / 60 else "s"


def format_hours(hours: float, *, unit: str) -> str:
    """Format hours in the page's unit: `1,234 h`, `12.3 min`."""
    return f"{format_amount(hours * PER_HOUR[unit])} {unit}"


def format_amount(value: float) -> str:
    """Format an amount by three figures or its whole part: `0.04`, `12.3`, `1,234`."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    places = 0 if magnitude >= 100 else 1 if magnitude >= 10 else 2
    if magnitude < 0.01:
        return f"{value:.1g}".replace("-", _MINUS)
    return f"{value:,.{places}f}".replace("-", _MINUS)


def format_count(value: float) -> str:
    """Format a count: `1,234,567`."""
    return f"{value:,.0f}"


def format_number(value: float) -> str:
    """Format a measure, limit or cost in short: `2`, `0.05`, `−50`."""
    return f"{value:.3g}".replace("-", _MINUS) if abs(value) < 1e6 else format_count(value)


def format_signed(value: float) -> str:
    """Format log-odds: `+0.62`, `−1.20`, `0.00`."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", _MINUS)


def format_chance(value: float) -> str:
    """Format a probability: `0.83`; never `1.00` or `0.00`, as nothing is sure."""
    return f"{min(max(value, 0.01), 0.99):.2f}"


def format_bytes(value: float) -> str:
    """Format bytes in powers of ten: `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{format_amount(value)} PB"


def format_percent(part: float, whole: float) -> str:
    """Format a share: `12.3 %`; a dash where there is no whole."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    return f"{share:.0f} %" if share in (0, 100) or share >= 10 else f"{share:.1f} %"


def format_clock(seconds: float) -> str:
    """Format a time of a clock: `1:02:03.4`, `2:03.4`."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    tail = f"{rest // 10:02d}.{rest % 10}"
    if minutes < 60:
        return f"{minutes}:{tail}"
    return f"{minutes // 60}:{minutes % 60:02d}:{tail}"


def format_duration(seconds: float) -> str:
    """Format a duration: `12.3 s`, `4 min 10 s`, `3 h 20 min`."""
    if seconds < 60:
        return f"{format_amount(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def words(name: str) -> str:
    """Turn an identifier into words: `several_speakers` -> `several speakers`."""
    return name.replace("_", " ")


def _levels(stages: tuple[StageRow, ...]) -> list[tuple[str, list[StageRow]]]:
    """The funnel in its two parts: sources, then the clips they were split into."""
    return [
        (level, [stage for stage in stages if stage.level == level]) for level in ("source", "clip")
    ]


def _template() -> jinja2.Template:
    own = environment(_HERE)
    own.filters.update(
        amount=format_amount,
        bytes=format_bytes,
        chance=format_chance,
        clock=format_clock,
        count=format_count,
        duration=format_duration,
        number=format_number,
        signed=format_signed,
        words=words,
    )
    own.globals["percent"] = format_percent
    return own.get_template("report.html")
