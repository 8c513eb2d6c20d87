"""Fits the prediction of J&F on tracks whose truth is known.

    python bench/masks.py --profile light --composites MASKS --clips FOLDER --seeds 1 2 --signs FILE
    python bench/mask_signs.py FILE …

A ridge regression whose weights cannot be negative, as each sign speaks for a track; an unknown one
says nothing. It is tried on the tracks of each thing in turn, fitted on those of all others. The
table that is printed goes into `avipipe/annotators/track_signs.py`.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from tracks import BAD_JF, calibration

Array = npt.NDArray[np.float64]

SIGNS = ("return", "fit", "likeness", "persistence")
"""Few, each of another kind; agreement, steadiness and trust got no weight beside them."""
SHRINKAGE = 10.0
"""Weight of the ridge, in tracks."""


class Model:
    """Terms of standardised signs and a constant."""

    def __init__(self, signs: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        self.signs = signs
        known = [_values(rows, sign) for sign in signs]
        self.centres = np.array([np.nanmean(values) for values in known]).round(3)
        self.scales = np.array([max(np.nanstd(values), 0.01) for values in known]).round(3)
        jf_N = np.array([row["jf"] for row in rows])
        self.constant = round(float(jf_N.mean()), 3)
        terms_NK = self._terms(rows)
        ridge_KK = np.sqrt(SHRINKAGE) * np.eye(len(signs))
        left = np.concatenate([terms_NK, ridge_KK])
        right = np.concatenate([jf_N - self.constant, np.zeros(len(signs))])
        self.weights = nnls(left, right)[0].round(3)

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Array:
        return np.clip(self.constant + self._terms(rows) @ self.weights, 0.0, 1.0)

    def _terms(self, rows: Sequence[Mapping[str, Any]]) -> Array:
        values = np.stack([_values(rows, sign) for sign in self.signs], axis=1)
        terms_NK: Array = np.nan_to_num((values - self.centres) / self.scales)
        return terms_NK

    def table(self) -> Iterator[str]:
        yield f"_CONSTANT = {self.constant}"
        for sign, *numbers in zip(self.signs, self.centres, self.scales, self.weights, strict=True):
            yield f'    "{sign}": ({", ".join(str(float(each)) for each in numbers)}),'


def _values(rows: Sequence[Mapping[str, Any]], sign: str) -> Array:
    found = [row["signs"].get(sign) for row in rows]
    return np.array([np.nan if value is None else value for value in found], np.float64)


def crossed(signs: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Array:
    """Predictions by models that have not seen the thing of the track."""
    told = np.zeros(len(rows))
    for source in {row["source"] for row in rows}:
        of_it = np.array([row["source"] == source for row in rows])
        others = [row for row in rows if row["source"] != source]
        told[of_it] = Model(signs, others).predict([r for r in rows if r["source"] == source])
    return told


def trade(jf_N: Array, told_N: Array) -> Iterator[str]:
    yield "| threshold | pass | mean J&F | below 0.6 |"
    yield "|---:|---:|---:|---:|"
    for threshold in np.arange(0.5, 0.86, 0.02):
        passing = jf_N[told_N >= threshold]
        if passing.size:
            bad = np.mean(passing < BAD_JF)
            share = passing.size / jf_N.size
            yield f"| {threshold:.2f} | {share:.0%} | {passing.mean():.3f} | {bad:.0%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="written by `masks.py --signs`")
    parser.add_argument("--signs", nargs="+", default=SIGNS)
    arguments = parser.parse_args()
    rows = [row for path in arguments.files for row in json.loads(path.read_text())]
    rows = [row for row in rows if row["signs"]]
    jf_N = np.array([row["jf"] for row in rows])
    told_N = crossed(arguments.signs, rows)
    for given in sorted({row["given"] for row in rows}):
        which = np.array([row["given"] == given for row in rows])
        print(f"\ngiven the {given}, {which.sum()} tracks of things not fitted on")
        print("\n".join(calibration(jf_N[which], told_N[which])))
        print("\n".join(trade(jf_N[which], told_N[which])))
    print("\n" + "\n".join(Model(arguments.signs, rows).table()))


if __name__ == "__main__":
    main()
