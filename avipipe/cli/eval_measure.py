"""Measures cases for commands of `avipipe eval`, and writes tables and report."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avipipe.evaluate.cases import Case
    from avipipe.evaluate.conclude import Conclusion


def measured(
    cases: "list[Case]",
    metrics: list[str],
    out: Path,
    work: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    seed: int,
    workers: int | None,
    allow_small_n: bool,
    as_json: bool,
) -> "Conclusion":
    """Measure a shard of the cases; `out` gets tables and report, `work` the scores."""
    from avipipe.cli.eval_progress import EvaluateProgress
    from avipipe.evaluate.cases import select
    from avipipe.evaluate.conclude import conclude, metric_facts
    from avipipe.evaluate.report.render import write_report
    from avipipe.evaluate.run import measure_all
    from avipipe.evaluate.tables import answer_rows, clip_scores, feature_rows

    out.mkdir(parents=True, exist_ok=True)
    own = select(cases, shard)
    with EvaluateProgress(as_json=as_json) as progress:
        scores = measure_all(
            own,
            metrics,
            work,
            workers=workers or len(os.sched_getaffinity(0)),
            listener=progress,
        )
    conclusion = conclude(
        out,
        cases,
        clip_scores(scores),
        feature_rows(scores),
        answer_rows(scores),
        metrics={name: metric_facts(name) for name in metrics},
        seed=seed,
        allow_small_n=allow_small_n,
        shard=shard,
    )
    write_report(conclusion, work)
    return conclusion
