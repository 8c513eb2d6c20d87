"""`pairs.json`: the degraded masks that stand beside the exact one, by precision factor."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avipipe.errors import ManifestError
from avipipe.manifests import rle
from avipipe.manifests.degrade import DegradationLevel, Law, degrade, seed_of
from avipipe.manifests.rle import MaskTrack


@dataclass(frozen=True, slots=True)
class PairLevel:
    """The degraded masks of one level: run-length counts, one a frame."""

    level: DegradationLevel
    seed: int
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The mask pairs of a clip: the levels 1 … P, as `pairs.json` holds them."""

    law: Law
    levels: tuple[PairLevel, ...]

    def to_json(self) -> dict[str, Any]:
        levels = [
            {
                "p": entry.level.p,
                "kernel": entry.level.kernel,
                "sigma": entry.level.sigma,
                "threshold": entry.level.threshold,
                "seed": entry.seed,
                "frames": list(entry.frames),
            }
            for entry in self.levels
        ]
        return {"law": self.law.to_json(), "levels": levels}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Pairs":
        """Raises KeyError or TypeError where the data contract is broken, ManifestError for a law
        that is not known here or has another number of levels."""
        law = Law.from_json(data["law"])
        if len(data["levels"]) != law.num_levels:
            raise ManifestError(
                f"expected {law.num_levels} levels, as its law says, found {len(data['levels'])}"
            )
        if not all(rle.are_counts(entry["frames"]) for entry in data["levels"]):
            raise ManifestError("expected the frames of each level to be run-length counts")
        levels = tuple(
            PairLevel(
                DegradationLevel(entry["p"], entry["kernel"], entry["sigma"], entry["threshold"]),
                entry["seed"],
                tuple(entry["frames"]),
            )
            for entry in data["levels"]
        )
        return cls(law, levels)


def make_pairs(law: Law, masks: MaskTrack, clip_key: str) -> Pairs:
    """Degrade every frame of a mask track. Holds one frame as pixels at a time."""
    factors = range(1, law.num_levels + 1)
    seeds = [seed_of(clip_key, p) for p in factors]
    frames = _degrade_frames(law, masks, seeds)
    return Pairs(
        law,
        tuple(
            PairLevel(law.level(p, masks.size[0]), seed, tuple(level[p - 1] for level in frames))
            for p, seed in zip(factors, seeds, strict=True)
        ),
    )


def check_pairs(pairs: Pairs, masks: MaskTrack) -> list[str]:
    """Check stored pairs: the law applied to m_gt must give them exactly; say what is wrong."""
    levels = pairs.levels
    expected = [pairs.law.level(p, masks.size[0]) for p in range(1, pairs.law.num_levels + 1)]
    found = [entry.level for entry in levels]
    if found != expected:
        return [f"the law has the levels {expected}, the file has {found}"]
    faults = [
        f"level {entry.level.p} has {len(entry.frames)} frames, the mask {len(masks.frames)}"
        for entry in levels
        if len(entry.frames) != len(masks.frames)
    ]
    if faults:
        return faults
    again = _degrade_frames(pairs.law, masks, [entry.seed for entry in levels])
    return [
        f"level {entry.level.p}, frame {frame}: the law gives another mask"
        for entry in levels
        for frame, counts in enumerate(entry.frames)
        if counts != again[frame][entry.level.p - 1]
    ]


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Write `pairs.json`."""
    rle.write_json(path, pairs.to_json())


def read_pairs(path: Path) -> Pairs:
    """Read `pairs.json`.

    Raises:
        ManifestError: it is not what the data contract says.
    """
    try:
        return Pairs.from_json(json.loads(path.read_bytes()))
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(
            f"{path}: expected an object with law and levels, got {error!r};"
            " run the pair stage again"
        ) from error


def _degrade_frames(law: Law, masks: MaskTrack, seeds: Sequence[int]) -> list[list[str]]:
    """Counts by frame, then by level."""
    return [
        [rle.encode(level_HW) for level_HW in degrade(law, masks.mask(frame), seeds)]
        for frame in range(len(masks.frames))
    ]
