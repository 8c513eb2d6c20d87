"""What solving for an edit costs, against diffusers' own pipeline for the same backbone.

    python bench/edit.py [--bucket 81x704x1280] [--steps 50] [--compile]

Random weights: of the full network in bf16 on a GPU, of a small one of its proportions on a CPU.
Each row is a run with guidance; s/step is the median of all steps but the first (on a CPU, CPU
seconds). `WanPipeline` is given one timestep a sample, which is cheaper than one a token, as its
hub configures it. "time" and "FLOPs" are ratios to it: measured in the same run, and counted by
`avipipe.editor.avi_edit.flops`. "planned" is the memory plan's part that solves.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

from avipipe.editor.avi_edit.config import ModelConfig, SampleConfig
from avipipe.editor.avi_edit.data.encoders import tiny_encoders
from avipipe.editor.avi_edit.flops import forward_flops
from avipipe.editor.avi_edit.memory import measure_sizes
from avipipe.editor.avi_edit.network.loading import blank
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.avi_edit.solve import Conditions, solve
from avipipe.editor.common.grid import sigma_grid

# Untyped in their library.
_PIPELINE: Any = WanPipeline
_SCHEDULER: Any = FlowMatchEulerDiscreteScheduler
_BACKBONE: Any = WanTransformer3DModel

GIB = 2**30
SMALL = EditorConfig(
    num_layers=8,
    num_attention_heads=6,
    attention_head_dim=64,
    ffn_dim=1792,
    text_len=64,
    text_dim=64,
    audio_dim=64,
    num_audio_states=3,
    audio_layers=(0, 4),
    gamr_layers=(0, 4),
    gamr_ffn_dim=1792,
)
"""As many blocks to each of the refiner's as the full network has, and as wide for its width."""


@dataclass(frozen=True, slots=True)
class Setting:
    sizes: EditorConfig
    bucket: Bucket
    steps: int
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of each step, the floating-point operations of the run, and bytes at most."""

    step_s: list[float]
    flops: int
    peak_bytes: int | None

    @property
    def median_s(self) -> float:
        return statistics.median(self.step_s[1:])


class Stopwatch:
    """Seconds of each step on a GPU, and else CPU seconds, which no other process slows."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        if self._on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        self.steps_s: list[float] = []
        self._last_s = self._now_s()

    def lap(self, *told: Any) -> None:
        now_s = self._now_s()
        self.steps_s.append(now_s - self._last_s)
        self._last_s = now_s

    @property
    def peak_bytes(self) -> int | None:
        return torch.cuda.max_memory_reserved() if self._on_gpu else None

    def _now_s(self) -> float:
        if not self._on_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bucket", action="append", type=parse_bucket, help="FxHxW; repeatable")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--compile", action="store_true", help="compiled blocks, too")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if torch.cuda.is_available():
        device, dtype, sizes, steps = torch.device("cuda"), torch.bfloat16, EditorConfig(), 50
        buckets, where = [Bucket(81, 704, 1280), Bucket(121, 704, 1280)], "a GPU"
        where = torch.cuda.get_device_name()
    else:
        device, dtype, sizes, steps = torch.device("cpu"), torch.float32, SMALL, 6
        buckets, where = [Bucket(17, 256, 384)], f"CPU, {arguments.threads} thread(s)"
    for bucket in arguments.bucket or buckets:
        setting = Setting(sizes, bucket, arguments.steps or steps, device, dtype)
        print(
            f"\n{bucket.num_frames}x{bucket.height_px}x{bucket.width_px}, {bucket.num_tokens} "
            f"tokens, {setting.steps} steps with guidance, {dtype}, {where}"
        )
        compare(setting, compiled=(False, True) if arguments.compile else (False,))


def parse_bucket(text: str) -> Bucket:
    num_frames, height_px, width_px = map(int, text.split("x"))
    return Bucket(num_frames, height_px, width_px)


def compare(setting: Setting, compiled: tuple[bool, ...]) -> None:
    print(
        f"{'':<28}{'s/step':>8}{'run s':>8}{'time':>7}{'FLOPs':>7}{'TFLOP/s':>9}"
        f"{'peak GiB':>10}{'planned':>9}"
    )
    for compiles in compiled:
        base = run_wan(setting, compiles=compiles)
        name = ", compiled" if compiles else ""
        show(f"WanPipeline{name}", base, base, None)
        for feedback in ("off", "paper"):
            figures = run_ours(setting, feedback, compiles=compiles)
            what = "refining" if feedback == "paper" else "without refiner"
            show(f"avipipe, {what}{name}", figures, base, planned_bytes(setting))


def show(name: str, figures: Figures, base: Figures, planned: float | None) -> None:
    step_s = figures.median_s
    peak = "-" if figures.peak_bytes is None else f"{figures.peak_bytes / GIB:.1f}"
    print(
        f"{name:<28}{step_s:>8.3f}{sum(figures.step_s):>8.1f}{step_s / base.median_s:>7.2f}"
        f"{figures.flops / base.flops:>7.2f}"
        f"{figures.flops / len(figures.step_s) / step_s / 1e12:>9.3f}"
        f"{peak:>10}{'-' if planned is None else f'{planned / GIB:.1f}':>9}"
    )


def run_ours(setting: Setting, feedback: str, *, compiles: bool) -> Figures:
    sizes, bucket = setting.sizes, setting.bucket
    network = made(setting, lambda: blank(sizes))
    if compiles:
        network.compile_repeated_blocks(fullgraph=True)
    config = SampleConfig.model_validate({"num_steps": setting.steps, "gamr_feedback": feedback})
    edit, watch = conditions(setting), Stopwatch(setting.device)
    solve(network, edit, config, on_step=watch.lap)
    flops = forward_flops(sizes, bucket)
    refined = sigma_grid(setting.steps, config.shift)[:-1] > config.refine_above_sigma
    num_refined = int(refined.sum()) if feedback == "paper" else 0
    passes = 2 * setting.steps * (flops.backbone + flops.audio)
    return Figures(watch.steps_s, passes + num_refined * flops.refiner, watch.peak_bytes)


def run_wan(setting: Setting, *, compiles: bool) -> Figures:
    sizes, bucket = setting.sizes, setting.bucket
    names = (
        "num_layers num_attention_heads attention_head_dim ffn_dim in_channels freq_dim text_dim"
    )
    own = {name: getattr(sizes, name) for name in names.split()}
    network = made(setting, lambda: _BACKBONE(**own, out_channels=sizes.in_channels))
    if compiles:
        network.compile_repeated_blocks(fullgraph=True)
    pipeline = _PIPELINE(
        tokenizer=None,
        text_encoder=None,
        vae=tiny_encoders(setting.device).video.model,  # for its strides alone
        scheduler=_SCHEDULER(shift=5.0),
        transformer=network,
    )
    pipeline.set_progress_bar_config(disable=True)
    text = torch.randn(1, sizes.text_len, sizes.text_dim, device=setting.device)
    watch = Stopwatch(setting.device)

    def on_step(*told: Any) -> dict[str, Any]:
        watch.lap()
        return {}

    pipeline(
        prompt_embeds=text,
        negative_prompt_embeds=text,
        height=bucket.height_px,
        width=bucket.width_px,
        num_frames=bucket.num_frames,
        num_inference_steps=setting.steps,
        output_type="latent",
        callback_on_step_end=on_step,
    )
    flops = 2 * setting.steps * forward_flops(sizes, bucket).backbone
    return Figures(watch.steps_s, flops, watch.peak_bytes)


def made(setting: Setting, make: Callable[[], Any]) -> Any:
    """A network with random weights, in place."""
    torch.set_default_dtype(setting.dtype)
    torch.manual_seed(0)
    with setting.device:
        network = make()
    torch.set_default_dtype(torch.float32)
    return network.requires_grad_(False).eval()


def conditions(setting: Setting) -> Conditions:
    sizes, bucket, device = setting.sizes, setting.bucket, setting.device
    mask = torch.zeros(1, 1, *bucket.latent_size, dtype=torch.bool, device=device)
    mask[..., : mask.shape[-1] // 2] = True

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device)

    return Conditions(
        latents=normal(1, sizes.in_channels, *bucket.latent_size),
        mask=mask,
        precision=sizes.max_precision,
        text=normal(1, sizes.text_len, sizes.text_dim),
        no_text=normal(1, sizes.text_len, sizes.text_dim),
        audio=normal(1, bucket.num_frames, sizes.num_audio_states, sizes.audio_dim),
    )


def planned_bytes(setting: Setting) -> float:
    needs = measure_sizes(
        setting.sizes,
        setting.bucket,
        vae_config=tiny_encoders().video.model.config,
        dtype=setting.dtype,
        vae_dtype=setting.dtype,
        encoders_bytes=(0, 0, 0),
    )
    return needs.phases(ModelConfig(offload="models"))["solving"]


if __name__ == "__main__":
    main()
