"""What each backend of each role costs for a second of clip, and how much memory it takes.

    python bench/annotators.py --roles vad tag --seconds 20
    python bench/annotators.py --backends xmem sam2_video --height-px 480 --out results.md

A synthetic person talks; sizes are those of a build (motion at 180 px, faces as their backend wants
them, masks at --height-px). Weights that lie here are taken. Else there are random ones of the
official sizes, loaded as in a build: they cost the same, and what they find means nothing. A row is
a process of its own. Memory is by what it grows from before the weights and libraries are loaded;
on a GPU it is what torch held at most. Where a run takes less than 10 s the second one counts.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from random_weights import RECIPES, size_gb, write

from avipipe import weights
from avipipe.annotators.base import (
    ActiveSpeakers,
    Box,
    Frames,
    Localization,
    Mask,
    SpeakerTrack,
    Speech,
    Turn,
    Wave,
)
from avipipe.annotators.key_frames import key_frames
from avipipe.annotators.registry import BACKENDS, create
from avipipe.annotators.signal import resample
from avipipe.annotators.views import tiles
from avipipe.annotators.weighted import needs_of, uses_gpu
from avipipe.errors import AvipipeError
from avipipe.synth import render

FPS = Fraction(24)
RATE_HZ = 48_000
SPEECH_RATE_HZ = 16_000
MOTION_PX = 180
FACE_STEP_FRAMES = 6
SHORT_RUN_S = 10.0
MAX_PHRASE = 90

COLUMNS = (
    ("role", "---"),
    ("backend", "---"),
    ("weights", "---"),
    ("device", "---"),
    ("batch", "---:"),
    ("load CPU s", "---:"),
    ("CPU s per s", "---:"),
    ("wall s per s", "---:"),
    ("memory, MB", "---:"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip with everything that annotators are given; `mask_HW` is of its middle frame."""

    frames_THWC: Frames
    wav_CN: Wave
    mask_HW: Mask

    @property
    def duration_s(self) -> float:
        return float(len(self.frames_THWC) / FPS)

    @property
    def box(self) -> Box:
        x, y, width, height = cv2.boundingRect(self.mask_HW.astype(np.uint8))
        return float(x), float(y), float(x + width), float(y + height)

    @property
    def speech(self) -> Speech:
        return Speech((Turn(0.0, self.duration_s),), 1.0)

    @property
    def localization(self) -> Localization:
        heat_HW = cv2.blur(self.mask_HW.astype(np.float32), (31, 31))
        return Localization(0.8, 0.01, 0.4, 0.0, heat_HW, self.box, 0.9)

    @property
    def speakers(self) -> ActiveSpeakers:
        """A face in the upper middle of the box, in every sixth frame, as `look` stores it."""
        x0, y0, x1, y1 = self.box
        width, height = x1 - x0, y1 - y0
        face = (x0 + 0.35 * width, y0 + 0.1 * height, x1 - 0.35 * width, y0 + 0.35 * height)
        frames = tuple(range(0, len(self.frames_THWC), FACE_STEP_FRAMES))
        track = SpeakerTrack(frames, (face,) * len(frames), (2.0,) * len(frames))
        return ActiveSpeakers((track,), 1.0)

    def mono(self, rate_hz: int) -> Wave:
        return resample(self.wav_CN.mean(axis=0), from_hz=RATE_HZ, to_hz=rate_hz)

    def shrunk(self, height_px: int) -> Frames:
        height, width = self.frames_THWC.shape[1:3]
        size = (round(width * height_px / height), height_px)
        if not 0 < height_px < height:
            return self.frames_THWC
        return np.stack(
            [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in self.frames_THWC]
        )


def make_scene(seconds: float, height_px: int) -> Scene:
    clip = render("speaker", 0, duration_s=seconds, height_px=height_px, fps=FPS)
    frames_THWC = np.stack(list(clip.frames()))
    masks_THW = clip.truth.masks()
    wav_CN = np.asarray(np.broadcast_to(clip.wav_CN, (2, clip.wav_CN.shape[1])), np.float32)
    return Scene(frames_THWC, wav_CN, masks_THW[len(masks_THW) // 2])


def task(role: str, backend: Any, scene: Scene) -> Callable[[], object]:
    """What a build asks of a backend for this clip; its inputs are made beforehand."""
    if role in ("vad", "diarize", "tag"):
        wav_N, heard = scene.mono(SPEECH_RATE_HZ), {"sample_rate_hz": SPEECH_RATE_HZ}
        if role == "vad":
            return lambda: backend.speech(wav_N, **heard)
        method = backend.diarize if role == "diarize" else backend.tag
        return lambda: method(wav_N, speech=scene.speech, **heard)
    if role == "separate":
        return lambda: backend.separate(scene.wav_CN, sample_rate_hz=RATE_HZ)
    if role in ("localize", "active_speaker"):
        wanted_px = MOTION_PX if role == "localize" else backend.height_px or MOTION_PX
        frames_THWC, wav_N = scene.shrunk(wanted_px), scene.mono(SPEECH_RATE_HZ)
        method = backend.localize if role == "localize" else backend.score
        return lambda: method(frames_THWC, fps=FPS, wav_N=wav_N, sample_rate_hz=SPEECH_RATE_HZ)
    return _picture_task(role, backend, scene)


def _picture_task(role: str, backend: Any, scene: Scene) -> Callable[[], object]:
    frames_THWC, mask_HW = scene.frames_THWC, scene.mask_HW
    if role == "detect":
        return lambda: backend.detect(
            frames_THWC,
            fps=FPS,
            prompts=["person"],
            localization=scene.localization,
            speakers=scene.speakers,
        )
    if role == "classify":
        frames = [frames_THWC[n] for n in key_frames(frames_THWC)]
        return lambda: backend.classify([view for frame in frames for view in _views(frame)])
    if role == "text":
        return lambda: backend.find([frames_THWC[n] for n in key_frames(frames_THWC)])
    if role == "match":
        x0, y0, x1, y1 = map(int, scene.box)
        rate_hz = backend.sample_rate_hz or SPEECH_RATE_HZ
        heard = {"wav_N": scene.mono(rate_hz), "sample_rate_hz": rate_hz, "heard": {"Speech": 0.9}}
        crops = [frames_THWC[:, y0:y1, x0:x1], frames_THWC[:, :, : max(1, x0)]]
        return lambda: backend.match(crops, labels=["person", "drum"], fps=FPS, **heard)
    if role == "segment":
        frames = [frames_THWC[n] for n in key_frames(frames_THWC)]
        return lambda: [backend.segment(frame, box=scene.box, label="person") for frame in frames]
    if role == "propagate":
        seed = len(frames_THWC) // 2
        return lambda: backend.propagate(frames_THWC, seed_frame=seed, seed_mask_HW=mask_HW)
    assert role == "caption", role
    shown = np.linspace(0, len(frames_THWC) - 1, backend.num_frames).astype(int)
    return lambda: backend.caption(frames_THWC[shown], evidence=_evidence(scene))


def _views(frame_HWC: Frames) -> list[Frames]:
    """The whole of a frame and six parts of it, as `look` shows them."""
    return [frame_HWC[part] for part in tiles(frame_HWC)]


def _evidence(scene: Scene) -> dict[str, Any]:
    height, width = scene.mask_HW.shape
    box = (scene.box / np.array([width, height, width, height])).tolist()
    turn = {"start_s": 0.0, "end_s": scene.duration_s, "label": "speech"}
    listen = {"tags": {"speech": 0.9}, "speech": [turn], "speech_ratio": 1.0, "onsets_s": []}
    steps = [box] * -(-len(scene.frames_THWC) // FACE_STEP_FRAMES)
    return {
        "listen": listen,
        "look": {"faces": None},
        "cut": {"duration_s": scene.duration_s},
        "mask": {"boxes": steps, "box_step_frames": FACE_STEP_FRAMES},
    }


@dataclass(frozen=True, slots=True)
class Job:
    """One row."""

    role: str
    name: str
    batch_size: int | None
    """None: its own."""


@dataclass(frozen=True, slots=True)
class Spent:
    load_cpu_s: float
    cpu_s: float
    wall_s: float
    memory_mb: float
    batch_size: int | None
    """That it worked with; None for a backend that has none."""


def measure(job: Job, scene_path: Path, answer: Connection) -> None:
    """Runs in a process of its own."""
    with np.load(scene_path) as arrays:
        scene = Scene(**arrays)
    backend = create(job.role, job.name)
    before_mb, began_s = _memory_mb("VmRSS"), time.process_time()
    try:
        backend.setup()
        load_cpu_s = time.process_time() - began_s
        if job.batch_size is not None:
            backend.batch_size = job.batch_size
        run = task(job.role, backend, scene)
        cpu_s, wall_s = _seconds(run)
        if wall_s < SHORT_RUN_S:
            cpu_s, wall_s = _seconds(run)
    except (AvipipeError, ImportError) as error:
        answer.send(str(error).partition("\n")[0])
        return
    grown_mb = _memory_mb("VmHWM") - before_mb
    on_gpu = uses_gpu(backend) and os.environ["CUDA_VISIBLE_DEVICES"]
    memory_mb = _gpu_memory_mb() if on_gpu else grown_mb
    clip_s = scene.duration_s
    batch_size = getattr(backend, "batch_size", None)
    answer.send(Spent(load_cpu_s, cpu_s / clip_s, wall_s / clip_s, memory_mb, batch_size))


def _seconds(run: Callable[[], object]) -> tuple[float, float]:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu_s, time.perf_counter() - wall_s


def _memory_mb(field: str) -> float:
    """VmRSS: now, VmHWM: at most so far. `getrusage` would start with the parent's peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"no {field} in /proc/self/status; expected Linux")


def _gpu_memory_mb() -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 1e6


def find_cuda(answer: Connection) -> None:
    """Asked in a process of its own, so that the others start without torch."""
    try:
        import torch
    except ImportError:
        answer.send(False)
    else:
        answer.send(torch.cuda.is_available())


def tell_size(name: str, answer: Connection) -> None:
    answer.send(size_gb(name))


def write_random(name: str, root: Path, answer: Connection) -> None:
    answer.send(write(name, root))


def in_process(function: Callable[..., None], *args: Any) -> Any:
    """What a fresh process sends; None if it was killed."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=function, args=(*args, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        process.join()


@dataclass(slots=True)
class Bench:
    """Makes rows; random weights are written once, into `root`."""

    root: Path
    scene_path: Path
    devices: Sequence[str]
    batch_sizes: Sequence[int]
    max_gb: float

    def rows(self, role: str, name: str) -> Iterator[list[str]]:
        backend = create(role, name)
        needs = needs_of(backend)
        found, reason = self._weights(needs)
        if reason:
            yield [role, name, found, "-", "", f"cannot run here: {reason}"]
            return
        for device in self.devices if uses_gpu(backend) else ["cpu"]:
            os.environ["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else "0"
            for spent in self._all_batches(role, name):
                yield [role, name, found, device, *_cells(spent)]

    def _all_batches(self, role: str, name: str) -> Iterator[Spent | str]:
        """With the batch size that a build uses, then, if there is one at all, with others."""
        first = in_process(measure, Job(role, name, None), self.scene_path)
        yield first or "its process died, perhaps for memory"
        if isinstance(first, Spent) and first.batch_size is not None:
            for size in self.batch_sizes:
                if size != first.batch_size:
                    spent = in_process(measure, Job(role, name, size), self.scene_path)
                    yield spent or f"a batch of {size}: its process died, perhaps for memory"

    def _weights(self, needs: Sequence[str]) -> tuple[str, str]:
        """Which ones are taken, and why there are none."""
        os.environ.pop(weights.lock.LOCK_ENV, None)
        os.environ[weights.cache.FOLDER_ENV] = OFFICIAL_FOLDER
        missing = [need for need in needs if weights.find(weights.entry(need)) is None]
        if not missing:
            return ("official" if needs else "none"), ""
        if list(needs) != missing or len(needs) > 1 or needs[0] not in RECIPES:
            return "missing", f"avipipe weights pull {' '.join(missing)}"
        return "random", self._make_random(needs[0])

    def _make_random(self, name: str) -> str:
        size = in_process(tell_size, name)
        if size > self.max_gb:
            return f"needs {size:.1f} GB for its weights alone, {self.max_gb:g} GB are allowed"
        if RECIPES[name].save is None:
            return "how long it talks only its official weights know"
        root = self.root / name
        if not root.exists() and in_process(write_random, name, root) is None:
            return "its random weights could not be written"
        os.environ[weights.cache.FOLDER_ENV] = str(root)
        os.environ[weights.lock.LOCK_ENV] = str(root / "lock.yaml")
        return ""


OFFICIAL_FOLDER = os.environ.get(weights.cache.FOLDER_ENV, "")


def _cells(spent: Spent | str) -> list[str]:
    if isinstance(spent, str):
        return ["", f"cannot run here: {spent[:MAX_PHRASE]}"]
    figures = (spent.load_cpu_s, spent.cpu_s, spent.wall_s)
    size = "" if spent.batch_size is None else str(spent.batch_size)
    return [size, *map(_figure, figures), f"{spent.memory_mb:.0f}"]


def _figure(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds >= 0.001 else "0"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join([*cells, *[''] * (len(COLUMNS) - len(cells))])} |"


def tell(text: str, out: Path | None) -> None:
    """At once, so that a run that is stopped leaves what it has measured."""
    print(text, flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--roles", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--backends", nargs="+", help="only these, whatever their role")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of the clip")
    parser.add_argument("--height-px", type=int, default=360, help="of the frames for masks")
    parser.add_argument("--device", choices=["cpu", "cuda", "both"], default="both")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int, default=1, help="of a process on a CPU")
    parser.add_argument("--max-gb", type=float, default=6.0, help="largest random weights")
    parser.add_argument("--out", type=Path, help="append the table to this file")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    has_cuda = args.device != "cpu" and in_process(find_cuda)
    devices = ["cpu"] if not has_cuda else ["cuda"] if args.device == "cuda" else ["cpu", "cuda"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        scene = make_scene(args.seconds, args.height_px)
        scene_path = root / "scene.npz"
        np.savez(
            scene_path,
            frames_THWC=scene.frames_THWC,
            wav_CN=scene.wav_CN,
            mask_HW=scene.mask_HW,
        )
        bench = Bench(root, scene_path, devices, args.batch_sizes, args.max_gb)
        head = [
            f"\n{args.seconds:g} s, masks at {args.height_px} px, {args.threads} threads; GPU: "
            + ("measured" if has_cuda else "not measured"),
            "",
            _line([name for name, _ in COLUMNS]),
            _line([rule for _, rule in COLUMNS]),
        ]
        tell("\n".join(head), args.out)
        for role in args.roles:
            for name in BACKENDS[role]:
                if args.backends and name not in args.backends:
                    continue
                for cells in bench.rows(role, name):
                    tell(_line(cells), args.out)


if __name__ == "__main__":
    main()
