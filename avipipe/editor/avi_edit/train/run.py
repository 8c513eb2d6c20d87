"""A run from its configuration to exported weights: what the command line and Ray Train call."""

from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Protocol

import torch
import yaml

from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.data.cache import FeatureCache
from avipipe.editor.avi_edit.data.encoders import Encoders, load_encoders, load_video_encoder
from avipipe.editor.avi_edit.data.features import Features
from avipipe.editor.avi_edit.data.stream import ClipStream, held_out, lost_workers_explained
from avipipe.editor.avi_edit.run_folder import CHECKPOINTS, CONFIG, METRICS, MODEL, SAMPLES
from avipipe.editor.avi_edit.train.config import TrainConfig
from avipipe.editor.avi_edit.train.export import export
from avipipe.editor.avi_edit.train.memory import memory_explained, plan_memory
from avipipe.editor.avi_edit.train.metrics import JsonLines, Sink, TensorBoard, VideoFiles, WandB
from avipipe.editor.avi_edit.train.parallel import World, joined
from avipipe.editor.avi_edit.train.samples import Sampler
from avipipe.editor.avi_edit.train.trainer import Trainer, TrainingListener
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.memory import MemoryPlan
from avipipe.errors import ConfigError


class RunListener(TrainingListener, Protocol):
    """Who is told of the beginning, too."""

    def planned(self, plan: MemoryPlan) -> None:
        """So much memory it will take."""

    def began(self, step: int, steps: int) -> None:
        """At this step, of so many."""

    def ended(self, folder: Path, *, done: bool) -> None:
        """The run is over, or was stopped at a checkpoint."""


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    trust_checkpoint: bool = False,
    listener: RunListener | None = None,
) -> bool:
    """Train into a folder; whether the run came to its end, and was not stopped by a signal.

    `folder` gets `config.yaml`, `metrics.jsonl`, `samples/`, `checkpoints/` and, at the end,
    `model/`.

    Args:
        resume: go on from the newest checkpoint, if there is one.
        trust_checkpoint: also where nothing says what its files were; torch runs what is in them.
        listener: told by the first process.
    Raises:
        ConfigError: there is a run in the folder, and it is not to be resumed, or of another
            configuration; no clip can be used.
        WeightsError: weights are missing.
        RunError: too many losses were not finite, memory ran out, or a process is lost.
    """
    if not resume and (folder / CHECKPOINTS).exists():
        raise ConfigError(
            f"{folder} holds a run already; add --resume to go on with it, or choose another --out"
        )
    if config.cpu_threads is not None:
        torch.set_num_threads(config.cpu_threads)
    with joined() as world:
        features = _features(config, world)
        if listener is not None and world.is_first:
            listener.planned(plan_memory(config, world, encoders_bytes=features.num_bytes))
        stream = ClipStream(
            config.data,
            features,
            batch_size=config.batch_size,
            rank=world.rank,
            world_size=world.size,
        )
        with (
            lost_workers_explained(),
            closing(stream),
            memory_explained(config, world, encoders_bytes=features.num_bytes),
        ):
            batches = _held_out(config, features)
            trainer = Trainer(
                config,
                world,
                folder,
                stream,
                batches,
                listeners=[listener] if listener and world.is_first else (),
                sample=_sampler(config, batches, features, world),
                trust_checkpoint=trust_checkpoint,
            )
            if resume:
                trainer.resume()
            return _run(trainer, world, listener)


def _run(trainer: Trainer, world: World, listener: RunListener | None) -> bool:
    config, folder = trainer.config, trainer.folder
    if world.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        written = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        (folder / CONFIG).write_text(written, encoding="utf-8")
        trainer.sinks = _sinks(config, folder, trainer.progress.step)
        if listener is not None:
            listener.began(trainer.progress.step, config.steps)
    world.barrier()
    try:
        done = trainer.run()
    finally:
        for sink in trainer.sinks:
            sink.close()
    if done:
        with trainer.ema.applied(trainer.model) if trainer.ema else nullcontext():
            export(trainer.model, config, folder / MODEL, world)
    if listener is not None and world.is_first:
        listener.ended(folder, done=done)
    return done


def _features(config: TrainConfig, world: World) -> Features:
    if config.data.cache is not None:
        return FeatureCache(config.data.cache, config.data)
    return load_encoders(config.data.encoders, world.device)


def _held_out(config: TrainConfig, features: Features) -> Sequence[Batch]:
    """Clips to validate with, all given as boxes: the hardest masks to refine."""
    if not config.validation.num_clips:
        return []
    boxes = config.data.model_copy(update={"insertion": 1.0, "deletion": 0.0})
    return held_out(
        boxes,
        features,
        split=config.validation.split,
        num_clips=config.validation.num_clips,
    )


def _sampler(
    config: TrainConfig, batches: Sequence[Batch], features: Features, world: World
) -> Sampler | None:
    chosen = batches[: config.validation.num_samples]
    if not chosen:
        return None
    video = None
    if isinstance(features, Encoders) and world.is_first:
        video = features.video
    elif world.is_first:
        video = load_video_encoder(config.data.encoders)
    dtype = DTYPES[config.precision]
    return Sampler(chosen, config.validation.sample, world, video=video, dtype=dtype)


def _sinks(config: TrainConfig, folder: Path, step: int) -> list[Sink]:
    sinks: list[Sink] = [JsonLines(folder / METRICS, num_steps=step), VideoFiles(folder / SAMPLES)]
    if config.log.tensorboard:
        sinks.append(TensorBoard(folder / "tensorboard"))
    if config.log.wandb is not None:
        sinks.append(WandB(config.log.wandb, folder, config.model_dump(mode="json")))
    return sinks
