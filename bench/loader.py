"""What it costs to read clips for training, against a bare decode of the same files by PyAV.

    avipipe synth --out clips --num-clips 6 --kind bounce --kind strike
    avipipe build --source clips/sources.txt --out dataset
    python bench/loader.py --dataset dataset --bucket 81x704x1280

CPU seconds for a clip of the bucket, workers included, and clips a second of wall time. Encoders
are left out: on the fly, features cost what their networks cost. The cache holds random features
of the sizes and types of the real ones.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import torch
from torch.utils.data import DataLoader, Dataset

from avipipe.editor.avi_edit.data.buckets import Chosen, sort_into_buckets
from avipipe.editor.avi_edit.data.cache import FeatureCache, cache_dataset
from avipipe.editor.avi_edit.data.clip import Clip, read_clip
from avipipe.editor.avi_edit.data.config import DataConfig
from avipipe.editor.avi_edit.data.encoders import Encoders
from avipipe.editor.avi_edit.data.stream import ClipStream
from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.editor.common.codec import Latents
from avipipe.editor.common.shards import ShardDataset


class Noise:
    """Features as Wan2.2's VAE, UMT5-XXL and wav2vec2-large give them, in size."""

    identity = "noise"
    shape = (25, 1024)

    def __init__(self, bucket: Bucket, kind: str) -> None:
        num_seconds = bucket.num_frames / 24
        sizes = {"audio": (25, int(50 * num_seconds), 1024), "text": (60, 4096)}
        self._size = sizes.get(kind, (48, *bucket.latent_size))
        self._is_video = kind == "video"

    def encode(self, _: object) -> Any:
        draw = torch.randn(self._size).bfloat16
        return Latents(draw(), draw()) if self._is_video else draw()


class Clips(Dataset[Clip]):
    """Clips without end, in turn."""

    def __init__(
        self, dataset: ShardDataset, chosen: list[Chosen], config: DataConfig, *, media: bool
    ) -> None:
        self._dataset, self._chosen, self._config, self._media = dataset, chosen, config, media

    def __getitem__(self, number: int) -> Clip:
        turn, index = divmod(number, len(self._chosen))
        return read_clip(self._dataset, *self._chosen[index], turn, self._config, media=self._media)


def bare(dataset: ShardDataset, chosen: list[Chosen], num_clips: int) -> Iterator[None]:
    """Decode whole files, and do nothing with the frames."""
    contents = [dataset.read(each.sample, ("mp4",))["mp4"] for each in chosen]
    for number in range(num_clips):
        with av.open(io.BytesIO(contents[number % len(contents)]), mode="r") as container:
            container.streams.video[0].codec_context.thread_count = 1
            for _ in container.decode(video=0):
                pass
        yield


def bare_part(
    dataset: ShardDataset, chosen: list[Chosen], config: DataConfig, num_clips: int
) -> Iterator[None]:
    """Decode the frames of the parts alone, and convert each to RGB at its own size."""
    takes = []
    for number in range(num_clips):
        turn, index = divmod(number, len(chosen))
        clip = read_clip(dataset, *chosen[index], turn, config, media=False)
        takes.append((dataset.read(clip.sample, ("mp4",))["mp4"], clip.take))
    yield
    for content, take in takes:
        with av.open(io.BytesIO(content), mode="r") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            assert stream.time_base is not None
            container.seek(int(take.start / 24 / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                number = round((frame.time or 0) * 24)
                if number >= take.frames.stop:
                    break
                if number >= take.start:
                    frame.to_ndarray(format="rgb24")
        yield


def cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(run: Callable[[], object], num_clips: int) -> tuple[float, float]:
    """CPU and wall seconds for a clip."""
    began_s, began_cpu_s = time.perf_counter(), cpu_s()
    run()
    return (cpu_s() - began_cpu_s) / num_clips, (time.perf_counter() - began_s) / num_clips


def exhaust(things: Iterator[object]) -> None:
    for _ in things:
        pass


def drain(stream: ClipStream, num_batches: int) -> None:
    exhaust(islice(stream, num_batches))
    stream.close()


def clips_of(reader: Clips, num_clips: int, workers: int) -> None:
    loader = DataLoader(
        reader, None, sampler=range(num_clips), num_workers=workers, collate_fn=lambda clip: clip
    )
    exhaust(iter(loader))


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--bucket", default="81x704x1280", help="frames x height x width")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    bucket = Bucket(*map(int, given.bucket.split("x")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = DataConfig(
            dataset=given.dataset,
            split=given.split,
            buckets=(bucket,),
            takes=2,
            index=folder / "index",
            workers=given.workers,
        )
        dataset = ShardDataset(given.dataset, given.split, index=config.index)
        chosen, skipped = sort_into_buckets(dataset.samples, config.buckets)
        count = given.clips
        parts: Any = {kind: Noise(bucket, kind) for kind in ("video", "text", "audio")}
        encoders = Encoders(**parts)
        num_frames = sum(each.sample.num_frames for each in chosen) / len(chosen)
        print(
            f"{len(chosen)} samples of {num_frames:.0f} frames on average, skipped: "
            f"{dict(skipped) or 'none'}; bucket {given.bucket}\n"
        )
        part = bare_part(dataset, chosen, config, count)
        next(part)
        rows = {
            "bare decode of the whole files": lambda: exhaust(bare(dataset, chosen, count)),
            "bare decode of the parts, to RGB": lambda: exhaust(part),
            "clip: decode, scale, masks, sound": lambda: clips_of(
                Clips(dataset, chosen, config, media=True), count, 0
            ),
            f"the same in {given.workers} workers": lambda: clips_of(
                Clips(dataset, chosen, config, media=True), count, given.workers
            ),
            "clip without media (masks alone)": lambda: clips_of(
                Clips(dataset, chosen, config, media=False), count, 0
            ),
        }
        cache_dataset(config, encoders, folder / "cache", splits=(given.split,))
        stream = ClipStream(config, FeatureCache(folder / "cache", config), batch_size=1)
        rows[f"batch from a cache, {given.workers} workers"] = lambda: drain(stream, count)
        print("| | CPU s a clip | ratio | clips/s |\n|---|---:|---:|---:|")
        base = 0.0
        for title, run in rows.items():
            used_s, took_s = measure(run, count)
            base = base or used_s
            print(
                f"| {title} | {used_s:.3f} | {used_s / base:.2f} | {1 / took_s:.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
