"""How good the masks are: on synthetic clips, on real tracks, and against boxes that were drawn.

    python bench/masks.py --seeds 1 2
    python bench/masks.py --profile light --composites MASKS --clips FOLDER [--signs FILE]
    python bench/masks.py --boxes CSV --dataset DATASET

Synthetic clips go through localization, detection, segmentation and propagation as in a build; the
mask of every frame is compared with what was drawn.

`--composites`: the DAVIS tracks in MASKS, and their things cut out and moved over the labelled
clips in FOLDER (`bench/composites.py`); J&F with and without what corrects a track, the predicted
one, and what passes the threshold. `--given` chooses what is given, the true mask of the first
frame or the boxes of what the detector has seen. `--signs` keeps what `bench/mask_signs.py` fits
the prediction on.

`--boxes`: the masks of a dataset against the boxes in CSV (`bench/boxes.py`).
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import boxes
import numpy as np
import numpy.typing as npt
import tracks
from composites import Track, composites, davis_tracks
from tracks import THRESHOLD_JF, Follower

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
        sights=detections,
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


def synthetic(arguments: argparse.Namespace, backends: dict[str, Any]) -> None:
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


def real(arguments: argparse.Namespace, backends: dict[str, Any]) -> None:
    follower = Follower(backends)
    given = davis_tracks(arguments.composites)
    dense = [track for track in given if len(track.known) > 2]
    rows = []
    for seed in arguments.seeds:
        for track in chain(
            dense if seed == arguments.seeds[0] else (), _made(given, arguments, seed)
        ):
            rows += [follower.score(track, each) for each in arguments.given]
    if arguments.signs is not None:
        arguments.signs.write_text(json.dumps([asdict(row) for row in rows]))
    print("\n".join(tracks.table(rows, arguments.threshold)))
    for each in arguments.given:
        group = [row for row in rows if row.given == each]
        print(f"\ngiven the {each}, as shipped (fitted on tracks such as these):")
        told = tracks.calibration([r.jf for r in group], [r.predicted for r in group])
        print("\n".join(told))
    print(f"CPU s: {sum(row.cpu_s for row in rows):.0f}")


def _made(given: list[Track], arguments: argparse.Namespace, seed: int) -> Iterator[Track]:
    return composites(given, arguments.clips, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--duration-s", type=float, default=4.0)
    parser.add_argument("--height-px", type=int, default=180)
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--composites", type=Path, metavar="MASKS", help="holds davis_*")
    parser.add_argument("--clips", type=Path, help="labelled clips, for their pictures")
    parser.add_argument("--given", nargs="+", choices=("mask", "box"), default=["mask", "box"])
    parser.add_argument("--threshold", type=float, default=THRESHOLD_JF, help="of predicted J&F")
    parser.add_argument("--signs", type=Path, help="keep them in this file")
    parser.add_argument("--boxes", type=Path, help="table of the boxes that were drawn")
    parser.add_argument("--dataset", type=Path, help="whose masks are compared with them")
    arguments = parser.parse_args()
    if arguments.boxes is not None:
        if arguments.dataset is None:
            parser.error("--boxes needs --dataset")
        rows = list(boxes.compare(arguments.dataset, boxes.read_drawn(arguments.boxes)))
        print("\n".join(boxes.table(rows)))
        return
    names = profile(arguments.profile)
    backends = {role: create(role, names[role]) for role in ROLES}
    for backend in backends.values():
        backend.setup()
    if arguments.composites is None:
        synthetic(arguments, backends)
    elif arguments.clips is None:
        parser.error("--composites needs --clips")
    else:
        real(arguments, backends)


if __name__ == "__main__":
    main()
