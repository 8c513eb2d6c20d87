"""What it costs to measure edits without weights, against a bare decode and a bare Farneback.

    python bench/evaluate.py --clips FOLDER

Each clip's first 3 s, as a dataset holds them (720p, 24 fps), are the source; the edit is the same
with a darker rectangle, which is the mask. CPU seconds are of `avipipe eval run` as a user has it,
its start and its report included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from avipipe.editor.edit.video import write_video
from avipipe.errors import AvipipeError
from avipipe.evaluate.catalogue import METRICS
from avipipe.evaluate.metric import lacking
from avipipe.manifests import rle
from avipipe.media.decode import read_frames
from avipipe.media.normalize import AUDIO_NAME, FPS, VIDEO_NAME, NormalizeConfig, normalize
from avipipe.media.probe import probe

LENGTH_S = 3.0
EDITED = (slice(200, 520), slice(400, 880))
"""Rows and columns of the picture that an edit changes."""

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""As AV-Align's code has it."""


def make_edit(path: Path, name: str, folder: Path) -> None:
    """Write source, edit and mask of a clip; MediaError where it has no 3 s with sound."""
    info = probe(path)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    normalize(path, info, start_s=0, end_s=LENGTH_S, folder=work, config=NormalizeConfig())
    source = folder / "sources" / f"{name}.mp4"
    (work / VIDEO_NAME).rename(source)
    frames_THWC = read_frames(
        source, probe(source), start_s=0, end_s=LENGTH_S, fps=FPS, height_px=720
    )
    mask_THW = np.zeros(frames_THWC.shape[:3], np.bool_)
    mask_THW[:, *EDITED] = True
    frames_THWC[mask_THW] //= 2
    write_video(folder / "edits" / f"{name}.mp4", iter(frames_THWC), work / AUDIO_NAME, crf=17)
    masks = folder / "masks" / f"{name}.masks.json"
    rle.write_masks(masks, map(rle.encode, mask_THW), size=frames_THWC.shape[1:3])


def make_edits(clips: Path, count: int, folder: Path) -> int:
    """Make edits of the first clips that have 3 s with sound; how many there were."""
    for name in ("sources", "edits", "masks"):
        (folder / name).mkdir()
    made = 0
    for path in sorted(clips.iterdir()):
        try:
            info = probe(path)
            if info.duration_s >= LENGTH_S and info.audio is not None:
                make_edit(path, path.stem, folder)
                made += 1
        except AvipipeError:
            continue
        if made == count:
            break
    return made


def evaluate(folder: Path, metrics: Sequence[str], *, masks: bool) -> None:
    """`avipipe eval run`, without controls, by two processes."""
    asked = [word for name in metrics for word in ("--metric", name)]
    given = ["--mask", str(folder / "masks")] if masks else []
    subprocess.run(
        [
            *(Path(sys.executable).with_name("avipipe"), "eval", "run", "--no-controls"),
            *("--source", str(folder / "sources"), "--edit", f"ours={folder / 'edits'}"),
            *("--out", str(folder / "measured"), "--workers", "2", *given, *asked),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def decode(paths: Sequence[Path]) -> None:
    """Decode whole files, and do nothing with the pictures."""
    for path in paths:
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for _ in container.decode(video=0):
                pass


def flows(paths: Sequence[Path]) -> None:
    """Decode files to grey, with Farneback's flow from picture to picture, and no more."""
    cv2.setNumThreads(1)
    for path in paths:
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            last_HW = None
            for frame in container.decode(video=0):
                grey_HW = frame.to_ndarray(format="gray")
                if last_HW is not None:
                    cv2.calcOpticalFlowFarneback(last_HW, grey_HW, None, **FARNEBACK)
                last_HW = grey_HW


def cpu_s() -> float:
    """CPU seconds of this process and all that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clips", required=True, type=Path)
    parser.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    plain = [n for n, m in METRICS.items() if not lacking(m) and not n.startswith("avalign")]
    aligned = [name for name in METRICS if name.startswith("avalign")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = make_edits(given.clips, given.count, folder)
        edits = sorted((folder / "edits").iterdir())
        both = [*edits, *sorted((folder / "sources").iterdir())]
        rows: dict[str, Callable[[], None]] = {
            "bare decode of source and edit": lambda: decode(both),
            f"{len(plain)} metrics without weights": lambda: evaluate(folder, plain, masks=True),
            "the same from the store": lambda: evaluate(folder, plain, masks=True),
            "bare decode and Farneback of the edit": lambda: flows(edits),
            f"{len(aligned)} metrics of AV-Align": lambda: evaluate(folder, aligned, masks=True),
        }
        print(f"{count} edits of {LENGTH_S:g} s\n\n| | CPU s an edit | ratio |\n|---|---:|---:|")
        base_s = 0.0
        for title, run in rows.items():
            began_s = cpu_s()
            run()
            used_s = (cpu_s() - began_s) / count
            base_s = used_s if title.startswith("bare") else base_s
            print(f"| {title} | {used_s:.3f} | {used_s / base_s:.1f} |", flush=True)


if __name__ == "__main__":
    main()
