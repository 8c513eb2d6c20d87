"""Labelled files and what a decision makes of them: figures with intervals, and their tables."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from labelled import Label

from avipipe.calibrate.crossval import bootstrapped
from avipipe.calibrate.fit import Floats
from avipipe.decision.model import EVEN_ODDS, Figure

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Files by their best clip that counts.

    Attributes:
        probability_F: of that clip; 0 where there is none.
    """

    files: list[str]
    labels: list[Label]
    probability_F: Floats
    least: float = EVEN_ODDS

    @property
    def kept(self) -> Bools:
        return self.probability_F >= self.least

    @property
    def good(self) -> Bools:
        return np.array([label.is_keep for label in self.labels])

    def figure(self, name: str, chosen: Bools | None = None) -> Figure:
        """A figure of `FIGURES` over the files chosen, with its interval."""
        of = np.flatnonzero(np.ones(len(self.files), bool) if chosen is None else chosen)
        kept, good, said = self.kept[of], self.good[of], self.probability_F[of]
        groups = [self.labels[n].repository for n in of]
        return bootstrapped(groups, lambda at: FIGURES[name](kept[at], good[at], said[at]))


def share(part: Bools) -> float:
    return float(part.mean()) if len(part) else np.nan


def _auc(kept: Bools, good: Bools, said: Floats) -> float:
    if good.all() or not good.any():
        return np.nan
    above = said[good][:, None] - said[~good][None, :]
    return float((above > 0).mean() + (above == 0).mean() / 2)


FIGURES = {
    "balanced_accuracy": lambda kept, good, said: (share(kept[good]) + share(~kept[~good])) / 2,
    "keep_precision": lambda kept, good, said: share(good[kept]),
    "recall": lambda kept, good, said: share(kept[good]),
    "auc": _auc,
}


def table(title: str, judged: Judged) -> list[str]:
    """Figures of all, and by class of what sounds (a class's drops are all drops)."""
    lines = [
        f"## {title}: {len(judged.files)} files, "
        f"{len({label.repository for label in judged.labels})} repositories",
        "",
        "| files | balanced accuracy | keep-precision | recall | AUC |",
        "|---|---|---|---|---|",
        _row("all", judged, None),
    ]
    for kind in sorted({label.kind for label in judged.labels if label.is_keep and label.kind}):
        chosen = np.array([not label.is_keep or label.kind == kind for label in judged.labels])
        count = sum(label.kind == kind for label in judged.labels)
        lines.append(_row(f"{kind} ({count} to keep, all drops)", judged, chosen))
    return [*lines, ""]


def _row(name: str, judged: Judged, chosen: Bools | None) -> str:
    figures = [judged.figure(figure, chosen) for figure in FIGURES]
    cells = [f"{each.value:.3f} ({each.low:.2f}–{each.high:.2f})" for each in figures]
    return f"| {name} | {' | '.join(cells)} |"


def trade(judged: Judged) -> Iterator[str]:
    """What other least probabilities would give."""
    yield "| least probability | balanced accuracy | keep-precision | recall |"
    yield "|---:|---:|---:|---:|"
    for percent in range(20, 90, 10):
        other = replace(judged, least=percent / 100)
        found = [other.figure(name).value for name in list(FIGURES)[:3]]
        yield f"| {percent / 100:.1f} | {' | '.join(f'{value:.3f}' for value in found)} |"
    yield ""
