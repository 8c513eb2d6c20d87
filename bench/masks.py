"""How well the weight-free chain masks the sounding thing, on synthetic clips of known masks.

    python bench/masks.py --seeds 1 2

Each clip goes through localization, detection, segmentation and propagation as in a build; the
mask of every frame is compared with what was drawn.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from avipipe.annotators.instance import find_instance
from avipipe.annotators.mask_quality import overlap
from avipipe.annotators.registry import create, profile
from avipipe.annotators.signal import resample
from avipipe.manifests.rle import decode
from avipipe.synth import KINDS, SynthClip, render

FPS = Fraction(24)
RATE_HZ = 16_000
ROLES = ("localize", "detect", "segment", "propagate")


@dataclass(frozen=True)
class Row:
    kind: str
    seed: int
    p_value: float | None
    seed_iou: float
    mean_iou: float
    min_iou: float
    cpu_s: float


def measure(clip: SynthClip, backends: dict[str, Any]) -> Row:
    """Run the chain on one clip."""
    localizer, detector, segmenter, propagator = (backends[role] for role in ROLES)
    frames_THWC = np.stack(list(clip.frames()))
    wav_N = resample(clip.wav_CN.mean(axis=0), from_hz=clip.sample_rate_hz, to_hz=RATE_HZ)
    began_s = time.process_time()
    found = localizer.localize(frames_THWC, fps=FPS, wav_N=wav_N, sample_rate_hz=RATE_HZ)
    detections = detector.detect(frames_THWC, fps=FPS, prompts=[], localization=found)
    instance = find_instance(
        frames_THWC,
        detections,
        segmenter=segmenter,
        propagator=propagator,
        max_seeds=3,
        min_agreement=0.8,
    )
    spent_s = time.process_time() - began_s
    if instance is None:
        return Row(clip.kind.name, clip.seed, found.p_value, 0.0, 0.0, 0.0, spent_s)
    truth_THW = _truth(clip)
    overlaps = [overlap(a, b) for a, b in zip(instance.track.masks_THW, truth_THW, strict=True)]
    return Row(
        clip.kind.name,
        clip.seed,
        found.p_value,
        overlaps[instance.seed.detection.frame],
        float(np.mean(overlaps)),
        min(overlaps),
        spent_s,
    )


def _truth(clip: SynthClip) -> npt.NDArray[np.bool_]:
    sounding = next(thing for thing in clip.truth.objects if thing.sounding)
    return np.stack([decode(counts, clip.size) for counts in sounding.frames])


def _clips(seeds: list[int], *, duration_s: float, height_px: int) -> Iterator[SynthClip]:
    for name, kind in KINDS.items():
        if kind.verdict == "keep" and name != "cuts":  # its shots are separate clips in a build
            for seed in seeds:
                yield render(name, seed, duration_s=duration_s, height_px=height_px, fps=FPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--duration-s", type=float, default=4.0)
    parser.add_argument("--height-px", type=int, default=180)
    parser.add_argument("--profile", default="embedded")
    arguments = parser.parse_args()
    names = profile(arguments.profile)
    backends = {role: create(role, names[role]) for role in ROLES}
    for backend in backends.values():
        backend.setup()
    print(
        f"{'kind':<26}{'seed':>5}{'p':>7}{'seed IoU':>10}{'mean IoU':>10}{'min IoU':>9}{'CPU s':>7}"
    )
    rows = []
    clips = _clips(arguments.seeds, duration_s=arguments.duration_s, height_px=arguments.height_px)
    for clip in clips:
        row = measure(clip, backends)
        p = "-" if row.p_value is None else f"{row.p_value:.3f}"
        print(
            f"{row.kind:<26}{row.seed:>5}{p:>7}{row.seed_iou:>10.3f}{row.mean_iou:>10.3f}"
            f"{row.min_iou:>9.3f}{row.cpu_s:>7.1f}",
            flush=True,
        )
        rows.append(row)
    good = sum(row.mean_iou >= 0.9 for row in rows)
    mean = np.mean([row.mean_iou for row in rows])
    print(f"mean IoU {mean:.3f} over {len(rows)} clips; at least 0.9 in {good}")


if __name__ == "__main__":
    main()
