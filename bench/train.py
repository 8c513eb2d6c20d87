"""What a training step costs, with random weights and data that wait for nobody.

    python bench/train.py [--config tiny] [--bucket 17x64x96] [--steps 20] [--set key=value]

Prints one row for each bucket: median step, latent tokens and TFLOP/s (counted by
`avipipe.editor.avi_edit.flops`), MFU where the device's peak is known, and memory: measured, and as
planned.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.train.config import TrainConfig, load_config
from avipipe.editor.avi_edit.train.memory import plan_memory
from avipipe.editor.avi_edit.train.metrics import Values, peak_memory_bytes
from avipipe.editor.avi_edit.train.parallel import World
from avipipe.editor.avi_edit.train.trainer import Trainer

WARM_UP_STEPS = 3


class RandomStream:
    """The same random batch again and again. A `trainer.Stream`."""

    def __init__(self, sizes: EditorConfig, bucket: Bucket, batch_size: int) -> None:
        cells = (batch_size, 1, *bucket.latent_size)
        mask = torch.zeros(cells, dtype=torch.bool)
        mask[..., : cells[-1] // 2] = True
        text = torch.randn(batch_size, sizes.text_len, sizes.text_dim)
        self._batch = Batch(
            keys=("random",) * batch_size,
            starts=(0,) * batch_size,
            tasks=tuple("edit" for _ in range(batch_size)),
            bucket=bucket,
            latents=torch.randn(batch_size, sizes.in_channels, *bucket.latent_size),
            mask=mask,
            exact_mask=mask,
            precision=torch.ones(batch_size, dtype=torch.int64),
            text=text,
            no_text=torch.zeros_like(text[:1]),
            audio=torch.randn(
                batch_size, bucket.num_frames, sizes.num_audio_states, sizes.audio_dim
            ),
            has_audio=torch.ones(batch_size, dtype=torch.bool),
        )

    def __next__(self) -> Batch:
        return self._batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Figures:
    """Collects the figures of steps. A `trainer.Listener`."""

    def __init__(self) -> None:
        self.steps: list[Values] = []

    def stepped(self, step: int, values: Values) -> None:
        if step > WARM_UP_STEPS:
            self.steps.append(values)

    def validated(self, step: int, values: Values) -> None: ...

    def saved(self, step: int, path: Path) -> None: ...

    def median(self, name: str) -> float | None:
        found = [value for values in self.steps if (value := values[name]) is not None]
        return statistics.median(found) if found else None


def parse_bucket(text: str) -> Bucket:
    num_frames, height_px, width_px = map(int, text.split("x"))
    return Bucket(num_frames, height_px, width_px)


def measure(config: TrainConfig, bucket: Bucket, world: World) -> str:
    before_bytes = peak_memory_bytes(world.device) or 0
    stream, figures = RandomStream(config.network.sizes, bucket, config.batch_size), Figures()
    with tempfile.TemporaryDirectory() as folder:
        run = Trainer(config, world, Path(folder), stream, listeners=[figures])
        run.run()
    data = config.data.model_copy(update={"buckets": (bucket,)})
    plan = plan_memory(config.model_copy(update={"data": data}), world)
    used_mib = ((peak_memory_bytes(world.device) or 0) - before_bytes) / 2**20
    planned_mib = plan.peak_bytes / 2**20
    mfu = figures.median("mfu")
    name = f"{bucket.num_frames}x{bucket.height_px}x{bucket.width_px}"
    return (
        f"{name:<14}{bucket.num_tokens:>7}{figures.median('step_time_s'):>9.3f}"
        f"{figures.median('latent_tokens_per_s'):>11.0f}{figures.median('tflops'):>10.4f}"
        f"{'-' if mfu is None else f'{mfu:.1%}':>7}{used_mib:>10.0f}{planned_mib:>10.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="tiny", help="as of `avipipe train`")
    parser.add_argument("--bucket", action="append", type=parse_bucket, help="FxHxW; repeatable")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    overrides = [f"steps={arguments.steps + WARM_UP_STEPS}", "network.begin=fresh"]
    config = load_config(arguments.config, [*overrides, *arguments.overrides], dataset="none")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{arguments.config} on {where}, {config.precision}, batch {config.batch_size}")
    print(
        f"{'bucket':<14}{'tokens':>7}{'step s':>9}{'tokens/s':>11}{'TFLOP/s':>10}{'MFU':>7}"
        f"{'MiB more':>10}{'planned':>10}"
    )
    for bucket in arguments.bucket or config.data.buckets:
        print(measure(config, bucket, World(0, 1, device)))


if __name__ == "__main__":
    main()
