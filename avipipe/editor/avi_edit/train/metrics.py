"""What a run measures of itself, and where it writes that."""

import io
import json
import math
import resource
import time
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from avipipe.annotators.base import Frames
from avipipe.editor.avi_edit.flops import forward_flops
from avipipe.editor.avi_edit.lora import LoraConfig
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.errors import ConfigError
from avipipe.manifests.samples import FPS

Values = Mapping[str, float | int | None]
Videos = Mapping[str, Frames]

GIF_FPS = 8

PEAK_TFLOPS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "H800": 989,
    "A100": 312,
    "A800": 312,
    "L40S": 362,
    "RTX 5090": 210,
    "RTX 4090": 165,
    "RTX 3090": 71,
}
"""Part of a GPU's name -> its dense bfloat16 TFLOP/s, from the data sheets."""


def peak_tflops(device: torch.device) -> float | None:
    """What the device can do at best; None where that is not known, as of any CPU."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((float(peak) for part, peak in PEAK_TFLOPS.items() if part in name), None)


def learning_flops(config: EditorConfig, bucket: Bucket, lora: LoraConfig | None) -> int:
    """Floating-point operations of training on one clip.

    A pass forward, and two backward: one for activations, and one for weights, which frozen parts
    do not need. What adapters add, and what checkpointing computes again, does not count.
    """
    flops = forward_flops(config, bucket)
    backbone = 3 if lora is None else 2
    new = 2 if lora is not None and lora.new_modules == "adapted" else 3
    return backbone * flops.backbone + new * (flops.audio + flops.refiner)


class Meter:
    """Measures steps: their time, how much of it was spent waiting for data, and their work."""

    def __init__(
        self, config: EditorConfig, device: torch.device, lora: LoraConfig | None = None
    ) -> None:
        self._config, self._device, self._lora = config, device, lora
        self._peak_tflops = peak_tflops(device)
        self._began_s = self._waited_s = 0.0
        self._worked = Counter[Bucket]()

    def begin(self) -> None:
        """Start the clock of a step."""
        self._began_s, self._waited_s = time.perf_counter(), 0.0
        self._worked.clear()

    def waited(self, seconds: float) -> None:
        """So long no data was there."""
        self._waited_s += seconds

    def worked(self, bucket: Bucket, num_samples: int) -> None:
        """A micro-batch of so many clips was learnt from."""
        self._worked[bucket] += num_samples

    def end(self) -> dict[str, float | int | None]:
        """The figures of the step, of this process alone; call it when the device is done."""
        step_time_s = time.perf_counter() - self._began_s  # before operations are counted
        num_tokens = sum(bucket.num_tokens * count for bucket, count in self._worked.items())
        flops = sum(
            learning_flops(self._config, bucket, self._lora) * count
            for bucket, count in self._worked.items()
        )
        tflops = flops / step_time_s / 1e12
        return {
            "step_time_s": round(step_time_s, 4),
            "data_wait_s": round(self._waited_s, 4),
            "samples_per_s": round(self._worked.total() / step_time_s, 4),
            "latent_tokens_per_s": round(num_tokens / step_time_s, 1),
            "tflops": round(tflops, 4),
            "mfu": None if self._peak_tflops is None else round(tflops / self._peak_tflops, 4),
            "peak_memory_bytes": peak_memory_bytes(self._device),
        }


def peak_memory_bytes(device: torch.device) -> int | None:
    """The most that a GPU has reserved so far; of a CPU's process, its largest resident size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Sink:
    """Where metrics and videos go; takes in, and does nothing with, what it has no place for."""

    def write(self, step: int, values: Values) -> None:
        """Take in what was measured at a step."""

    def show(self, step: int, videos: Videos) -> None:
        """Take in what was edited at a step."""

    def close(self) -> None:
        """Write what is left."""


class VideoFiles(Sink):
    """A folder for each step, with an MP4 for each video."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def show(self, step: int, videos: Videos) -> None:
        folder = self._folder / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, frames_FHWC in videos.items():
            _write_mp4(folder / f"{name}.mp4", frames_FHWC)


def _write_mp4(path: Path, frames_FHWC: Frames) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18"})
        stream.height, stream.width = frames_FHWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame_HWC in frames_FHWC:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class JsonLines(Sink):
    """A line of JSON for each step, in a file that a resumed run goes on with."""

    def __init__(self, path: Path, *, num_steps: int) -> None:
        """Lines of steps after `num_steps`, which will be run again, are taken out.

        So are those that nobody can read any more: a run does not fail for its figures.
        """
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        path.write_bytes(b"".join(line for line in lines if _step(line) <= num_steps))
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Values) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _step(line: bytes) -> float:
    """Of a line; later than any of one that is torn or damaged."""
    try:
        return int(json.loads(line)["step"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf


class TensorBoard(Sink):
    """TensorBoard's event files; videos are moving pictures among its images."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "log.tensorboard: TensorBoard is not installed; run `pip install tensorboard`, "
                "or leave it off"
            ) from error
        self._writer: Any = SummaryWriter(str(folder))

    def write(self, step: int, values: Values) -> None:
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)

    def show(self, step: int, videos: Videos) -> None:
        summary_pb2: Any = import_module("tensorboard.compat.proto.summary_pb2")
        for name, frames_FHWC in videos.items():
            height, width = frames_FHWC.shape[1:3]
            image = summary_pb2.Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=_gif(frames_FHWC)
            )
            value = summary_pb2.Summary.Value(tag=f"val/{name}", image=image)
            self._writer.file_writer.add_summary(summary_pb2.Summary(value=[value]), step)

    def close(self) -> None:
        self._writer.close()


def _gif(frames_FHWC: Frames) -> bytes:
    """Eight frames a second, which is what a page with many of them bears."""
    every = FPS // GIF_FPS
    first, *rest = (Image.fromarray(frame_HWC) for frame_HWC in frames_FHWC[::every])
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=1000 // GIF_FPS, loop=0)
    return file.getvalue()


class WandB(Sink):
    """A run of Weights & Biases."""

    def __init__(self, project: str, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            wandb: Any = import_module("wandb")
        except ImportError as error:
            raise ConfigError(
                "log.wandb: wandb is not installed; run `pip install wandb`, or leave it off"
            ) from error
        self._wandb = wandb
        self._run: Any = wandb.init(project=project, dir=folder, config=dict(config))

    def write(self, step: int, values: Values) -> None:
        self._run.log(dict(values), step=step)

    def show(self, step: int, videos: Videos) -> None:
        shown = {
            f"val/{name}": self._wandb.Video(frames_FHWC.transpose(0, 3, 1, 2), fps=FPS)
            for name, frames_FHWC in videos.items()
        }
        self._run.log(shown, step=step)

    def close(self) -> None:
        self._run.finish()
