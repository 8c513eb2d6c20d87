"""Measures many cases in processes of their own, and goes on after whatever stops it."""

import logging
import multiprocessing
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

from avipipe.evaluate.cases import Case
from avipipe.evaluate.measuring import CaseScores, all_died, measure, works

logger = logging.getLogger(__name__)

_LEAD = 2
"""Sources a worker that wait for it: enough that none idles, few enough that one death costs
little."""

_Work = tuple[Case, ...]


class EvaluateListener(Protocol):
    """Is told how a run goes on."""

    def planned(self, num_cases: int) -> None:
        """So many cases there are."""

    def measured(self, done: Sequence[CaseScores]) -> None:
        """Cases of one more source are done."""


def measure_all(
    cases: Sequence[Case],
    metrics: Sequence[str],
    work: Path,
    *,
    workers: int,
    listener: EvaluateListener,
) -> list[CaseScores]:
    """Measure cases, those of one source in one process; the results are in the order of names.

    What is done is stored as it comes: a run that is killed, however it is, goes on from there.

    Args:
        metrics: names of the catalogue.
        work: folder of the store.
        workers: processes; each takes up to about 1 GB of memory.
    Raises:
        OSError: nothing more can be written.
    """
    listener.planned(len(cases))
    found: list[CaseScores] = []
    for part in _measured(works(cases), metrics, work, workers):
        listener.measured(part)
        found += part
    return sorted(found, key=lambda each: (each.case.method, each.case.name))


def _measured(
    todo: Sequence[_Work], metrics: Sequence[str], work: Path, workers: int
) -> Iterator[list[CaseScores]]:
    """Scores as they come; what was on its way when a process died is tried again, alone."""
    suspects: list[_Work] = []
    rest = list(todo)
    while rest:
        rest, begun = yield from _until_death(rest, metrics, work, workers)
        suspects += begun
    for each in suspects:
        _, begun = yield from _until_death([each], metrics, work, 1)
        if begun:
            logger.warning("the process that measured %s died twice", each[0].name)
            yield all_died(each, metrics)


def _until_death(
    todo: Sequence[_Work], metrics: Sequence[str], work: Path, workers: int
) -> Generator[list[CaseScores], None, tuple[list[_Work], list[_Work]]]:
    """Measure until all is done or a process dies.

    Returns:
        what was not begun, and what was on its way then.
    """
    rest = list(reversed(todo))
    running: dict[Future[list[CaseScores]], _Work] = {}
    context = multiprocessing.get_context("spawn")  # forking would copy threads of libraries
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            while rest or running:
                while rest and len(running) < workers * _LEAD:
                    future = pool.submit(measure, rest[-1], metrics, work)
                    running[future] = rest.pop()  # not before: a pool that died takes nothing
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    scores = future.result()
                    del running[future]
                    yield scores
        except BrokenProcessPool:
            return rest[::-1], list(running.values())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [], []
