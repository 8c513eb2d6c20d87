"""A folder of synthetic clips with their truth, and the list that a build takes."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from avipipe.errors import ConfigError
from avipipe.synth.encode import write_clip
from avipipe.synth.render import render
from avipipe.synth.scenes import DEFAULT_KINDS, KINDS
from avipipe.synth.truth import Truth, write_masks, write_truth

logger = logging.getLogger(__name__)

_RATES = (Fraction(24), Fraction(25), Fraction(30_000, 1_001), Fraction(30))


def generate(
    out: Path,
    *,
    num_clips: int,
    seed: int = 0,
    kinds: Sequence[str] | None = None,
    duration_s: float = 4.0,
    height_px: int = 360,
) -> Path:
    """Write `num_clips` clips, taking the kinds in turn.

    `out` receives `clips/*.mp4`, `masks/*.json`, `truth.jsonl`, and last `sources.txt`, a list of
    the clips for `avipipe build --source`. The same arguments give the same bytes.

    Args:
        seed: of the first clip; each later one has the next.
        kinds: keys of `KINDS`; None for `DEFAULT_KINDS`.
    Returns:
        the path of `sources.txt`.
    Raises:
        ConfigError: an unknown kind, or a size or a duration out of range.
    """
    names = _checked(DEFAULT_KINDS if kinds is None else kinds)
    for folder in ("clips", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    jobs = ((names[index % len(names)], seed + index) for index in range(num_clips))
    truths = list(_write_all(out, jobs, duration_s=duration_s, height_px=height_px))
    write_truth(truths, out / "truth.jsonl")
    sources = out / "sources.txt"
    sources.write_text("".join(f"{truth.file}\n" for truth in truths))
    return sources


def _write_all(
    out: Path, jobs: Iterator[tuple[str, int]], *, duration_s: float, height_px: int
) -> Iterator[Truth]:
    for kind, seed in jobs:
        fps = None if KINDS[kind].vfr else KINDS[kind].fps or _RATES[seed % len(_RATES)]
        clip = render(kind, seed, duration_s=duration_s, height_px=height_px, fps=fps)
        name = f"{kind}-{seed:05d}"
        write_clip(clip, out / "clips" / f"{name}.mp4")
        truth = replace(clip.truth, file=f"clips/{name}.mp4", masks_file=f"masks/{name}.json")
        write_masks(truth, out / truth.masks_file)
        logger.debug("%s: %s", name, KINDS[kind].summary)
        # Pixels' truth is on disk now; a thousand clips of it would not fit in memory.
        yield replace(truth, times_s=(), objects=(), root=out)


def _checked(kinds: Sequence[str]) -> Sequence[str]:
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        raise ConfigError(
            f"kinds: expected some of {', '.join(KINDS)}; got {', '.join(unknown) or 'none'}"
        )
    return kinds
