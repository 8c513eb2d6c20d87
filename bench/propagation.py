"""How well a mask is carried through real clips: J, F and their mean, as DAVIS defines them.

    python bench/propagation.py --davis ../shared/masks

Of every object of every clip in the folder the mask of the first frame is given, and the others are
compared with the truth, the first and the last frame left out. Where an object's truth is known
only once, the clip is played forth and back again, and what comes home is compared with what was
given. Every registered backend runs
in a process of its own, whose peak memory is printed; one that cannot run says why.

Source: Perazzi et al., A benchmark dataset and evaluation methodology for VOS, CVPR 2016.
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from composites import Track, davis_tracks

from avipipe.annotators.registry import BACKENDS, create
from avipipe.errors import WeightsError

Mask = npt.NDArray[np.bool_]

BOUNDARY_TOLERANCE = 0.008
"""Of the picture's diagonal: how far apart two boundaries still agree."""


def region_similarity(found_HW: Mask, truth_HW: Mask) -> float:
    """J: intersection over union, 1 where both are empty."""
    union = int((found_HW | truth_HW).sum())
    return int((found_HW & truth_HW).sum()) / union if union else 1.0


def boundary_accuracy(found_HW: Mask, truth_HW: Mask) -> float:
    """F: harmonic mean of precision and recall of the boundary pixels."""
    radius_px = int(np.ceil(BOUNDARY_TOLERANCE * np.hypot(*found_HW.shape)))
    found, truth = _boundary(found_HW), _boundary(truth_HW)
    if not found.any() or not truth.any():
        return float(found.any() == truth.any())
    precision = float((found & _near(truth, radius_px)).sum() / found.sum())
    recall = float((truth & _near(found, radius_px)).sum() / truth.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask_HW: Mask) -> Mask:
    edge = np.zeros_like(mask_HW)
    edge[:, :-1] |= mask_HW[:, :-1] ^ mask_HW[:, 1:]
    edge[:-1] |= mask_HW[:-1] ^ mask_HW[1:]
    edge[:-1, :-1] |= mask_HW[:-1, :-1] ^ mask_HW[1:, 1:]
    return edge


def _near(edge_HW: Mask, radius_px: int) -> Mask:
    rows, columns = np.ogrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    disc = (rows**2 + columns**2 <= radius_px**2).astype(np.uint8)
    return np.asarray(cv2.dilate(edge_HW.astype(np.uint8), disc) > 0)


def _row(name: str, scores: list[tuple[float, float]], seconds: float, frames: int) -> float:
    j, f = np.mean(scores, axis=0)
    print(f"{name:<28}{j:8.3f}{f:8.3f}{(j + f) / 2:8.3f}{seconds / frames * 1e3:12.1f}")
    return float(j + f) / 2


def followed(track: Track, propagator: Any) -> float:
    """From the first true mask on."""
    first = track.known[0]
    began_s = time.process_time()
    found = propagator.propagate(
        track.frames_THWC, seed_frame=first, seed_mask_HW=track.truth_THW[first]
    )
    spent_s = time.process_time() - began_s
    pairs = [(found.masks_THW[n], track.truth_THW[n]) for n in track.known[1:-1]]
    scores = [(region_similarity(*pair), boundary_accuracy(*pair)) for pair in pairs]
    return _row(track.name, scores, spent_s, len(track.frames_THWC))


def there_and_back(track: Track, propagator: Any) -> float:
    """From the one true mask to the farther end of the clip and home again."""
    (start,) = track.known
    given_HW, frames_THWC = track.truth_THW[start], track.frames_THWC
    ahead = frames_THWC[start:] if start < len(frames_THWC) // 2 + 1 else frames_THWC[start::-1]
    way_THWC = np.concatenate([ahead, ahead[-2::-1]])
    began_s = time.process_time()
    found = propagator.propagate(way_THWC, seed_frame=0, seed_mask_HW=given_HW)
    spent_s = time.process_time() - began_s
    home = found.masks_THW[-1]
    scores = [(region_similarity(home, given_HW), boundary_accuracy(home, given_HW))]
    return _row(f"{track.name}, there and back", scores, spent_s, len(way_THWC))


def bench(root: Path, backend: str) -> None:
    """All rows of one backend."""
    print(f"\n{backend}")
    propagator = create("propagate", backend)
    try:
        propagator.setup()
    except (WeightsError, ImportError) as error:
        print(f"not measured: {error}")
        return
    print(f"{'clip':<28}{'J':>8}{'F':>8}{'J&F':>8}{'CPU ms/frame':>14}")
    tracks = davis_tracks(root)
    means = [
        (followed if len(track.known) > 2 else there_and_back)(track, propagator)
        for track in tracks
    ]
    dense = [mean for track, mean in zip(tracks, means, strict=True) if len(track.known) > 2]
    for name, group in (("mean of those followed", dense), ("mean of all", means)):
        print(f"{name:<28}{'':16}{np.mean(group):8.3f}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak_mib:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True, help="holds folders davis_*")
    parser.add_argument("--backend", choices=BACKENDS["propagate"], help="only this one")
    arguments = parser.parse_args()
    for backend in [arguments.backend] if arguments.backend else BACKENDS["propagate"]:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=bench, args=(arguments.davis, backend))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
