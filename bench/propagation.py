"""How well a mask is carried through real clips: J, F and their mean, as DAVIS defines them.

    python bench/propagation.py --davis ../shared/masks

`davis_dogs-jump`: the mask of the first frame is given, the others are compared with the truth, the
first and the last frame left out. `davis_judo` has each truth only once: the clip is played forth
and back again, and what comes home is compared with what was given. Every registered backend runs
in a process of its own, whose peak memory is printed; one that cannot run says why.

Source: Perazzi et al., A benchmark dataset and evaluation methodology for VOS, CVPR 2016.
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from avipipe.annotators.registry import BACKENDS, create
from avipipe.errors import WeightsError

Mask = npt.NDArray[np.bool_]
Frames = npt.NDArray[np.uint8]

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


def _indices(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def _row(name: str, scores: list[tuple[float, float]], seconds: float, frames: int) -> float:
    j, f = np.mean(scores, axis=0)
    print(f"{name:<28}{j:8.3f}{f:8.3f}{(j + f) / 2:8.3f}{seconds / frames * 1e3:12.1f}")
    return float(j + f) / 2


def dogs_jump(root: Path, propagator: Any) -> None:
    """Each of three objects from the first frame on."""
    with av.open(str(root / "frames.mp4")) as container:
        frames_THWC = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode()])
    truth_THW = np.stack([_indices(path) for path in sorted((root / "masks").glob("*.png"))])
    means = []
    for index in (1, 2, 3):
        began_s = time.process_time()
        track = propagator.propagate(frames_THWC, seed_frame=0, seed_mask_HW=truth_THW[0] == index)
        spent_s = time.process_time() - began_s
        pairs = list(zip(track.masks_THW, truth_THW == index, strict=True))[1:-1]
        scores = [(region_similarity(*pair), boundary_accuracy(*pair)) for pair in pairs]
        means.append(_row(f"dogs-jump, object {index}", scores, spent_s, len(frames_THWC)))
    print(f"{'dogs-jump, mean':<28}{'':16}{np.mean(means):8.3f}")


def judo(root: Path, propagator: Any) -> None:
    """Each object from its one true mask, to an end of the clip and back."""
    paths = sorted((root / "frames").glob("*.jpg"))
    frames_THWC = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    for path in sorted((root / "masks").glob("*.png")):
        start = int(path.stem)
        index_HW = _indices(path)
        given_HW = np.zeros(frames_THWC.shape[1:3], np.bool_)
        given_HW[:, : index_HW.shape[1]] = index_HW > 0
        ahead = frames_THWC[start:] if start < len(paths) // 2 + 1 else frames_THWC[start::-1]
        there_and_back = np.concatenate([ahead, ahead[-2::-1]])
        began_s = time.process_time()
        track = propagator.propagate(there_and_back, seed_frame=0, seed_mask_HW=given_HW)
        spent_s = time.process_time() - began_s
        home = track.masks_THW[-1]
        scores = [(region_similarity(home, given_HW), boundary_accuracy(home, given_HW))]
        _row(f"judo, there and back from {start}", scores, spent_s, len(there_and_back))


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
    dogs_jump(root / "davis_dogs-jump", propagator)
    judo(root / "davis_judo", propagator)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak_mib:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--davis", type=Path, required=True, help="holds davis_dogs-jump, davis_judo"
    )
    parser.add_argument("--backend", choices=BACKENDS["propagate"], help="only this one")
    arguments = parser.parse_args()
    for backend in [arguments.backend] if arguments.backend else BACKENDS["propagate"]:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=bench, args=(arguments.davis, backend))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
