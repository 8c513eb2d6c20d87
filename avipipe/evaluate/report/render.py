"""Draws the report as one HTML file that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from avipipe import __version__
from avipipe.evaluate.catalogue import LISTED
from avipipe.evaluate.conclude import Conclusion
from avipipe.evaluate.metric import lacking
from avipipe.evaluate.report.figures import SENSES
from avipipe.evaluate.report.model import EvaluatePage, page_of
from avipipe.evaluate.report.worst import WorstCase, worst_cases
from avipipe.files import write_whole
from avipipe.pages.render import environment, joined, script_hash, shared

REPORT_NAME = "report.html"

_HERE = Path(__file__).parent


def write_report(conclusion: Conclusion, work: Path) -> Path:
    """Write `report.html` beside the tables of a run; `work` keeps its films."""
    worst = worst_cases(conclusion.run.cases, conclusion.run.clips, work / "films")
    path = conclusion.run.folder / REPORT_NAME
    write_whole(path, render(page_of(conclusion), worst).encode("utf-8"))
    return path


def render(page: EvaluatePage, worst: Sequence[WorstCase]) -> str:
    """Render the page: HTML with styles, script and films inside; needs no network.

    A content security policy in the page forbids every request and every script but its own, so
    not even a hostile prompt could change that.
    """
    script = joined(_HERE / "report.js")
    return (
        environment(_HERE)
        .get_template("report.html")
        .render(
            p=page,
            worst=[(case, Markup(case.source.video), Markup(case.edit.video)) for case in worst],
            metrics=LISTED,
            senses=SENSES,
            controls={each.control: each.words for each in page.columns if each.control},
            lacking={name: lacking(LISTED[name]) for name in page.facts["metrics"]},
            css=Markup(shared("base.css") + joined(_HERE / "report.css")),
            script=Markup(script),
            script_hash=script_hash(script),
            version=__version__,
        )
    )
