"""The loop."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from avipipe.annotators.base import Frames
from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.train.begin import (
    begin,
    choose_optimiser,
    make_optimiser,
    set_learning_rate,
)
from avipipe.editor.avi_edit.train.checkpoint import Checkpoints
from avipipe.editor.avi_edit.train.config import TrainConfig
from avipipe.editor.avi_edit.train.ema import Ema
from avipipe.editor.avi_edit.train.metrics import Meter, Sink, Values
from avipipe.editor.avi_edit.train.objective import draw, losses_of, predict
from avipipe.editor.avi_edit.train.parallel import World, computing, in_full
from avipipe.editor.avi_edit.train.validate import validate
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.flow import sample_generator
from avipipe.errors import RunError

logger = logging.getLogger(__name__)

LOSSES = ("loss", "flow", "flow_full_frame", "mask")
Hook = Callable[[EditorTransformer], Mapping[str, Frames]]


class Stream(Protocol):
    """Batches without end, whose place can be kept and found again."""

    def __next__(self) -> Batch:
        """The next batch of this process."""

    def state_dict(self) -> dict[str, Any]:
        """The place, as JSON."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place."""


class TrainingListener(Protocol):
    """Who is told how the run goes."""

    def stepped(self, step: int, values: Values) -> None:
        """A step is done."""

    def validated(self, step: int, values: Values) -> None:
        """The network was measured."""

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint was written."""


@dataclass(slots=True)
class TrainingCounters:
    """Counters of a run.

    Attributes:
        step: steps that are done.
        num_updates: those of them that changed weights.
        num_bad: those of them whose loss was not finite; `num_bad_in_row` at last.
    """

    step: int = 0
    num_updates: int = 0
    num_bad: int = 0
    num_bad_in_row: int = 0


class Trainer:
    """Trains the editor's network, step by step, from a checkpoint on if asked to.

    Args:
        folder: of the run: checkpoints, and batches with bad losses.
        stream: batches to learn from.
        held_out: batches to validate with; none at all does without.
        listeners: told of the figures; give them to the first process only, as `sinks`.
        sample: edits clips with the (averaged) network after each validation: name -> video.
    """

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        folder: Path,
        stream: Stream,
        held_out: Sequence[Batch] = (),
        *,
        listeners: Sequence[TrainingListener] = (),
        sample: Hook | None = None,
        trust_checkpoint: bool = False,
    ) -> None:
        self.config, self.folder, self.stream = config, folder, stream
        self._world, self._held_out = world, held_out
        self._listeners, self._sample = listeners, sample
        self.sinks: Sequence[Sink] = ()
        self._dtype = DTYPES[config.precision]
        kind = choose_optimiser(config.optimiser, world)
        self.model = begin(config, world)
        self.optimiser = make_optimiser(self.model, config.optimiser, kind)
        self.ema = None if config.ema_decay is None else Ema(self.model, config.ema_decay)
        self.progress = TrainingCounters()
        self._checkpoints = Checkpoints(
            folder / "checkpoints",
            world,
            keep=config.checkpoint.keep,
            # however many processes share a batch
            identity={**config.identity(), "batch_size": config.batch_size * world.size},
            trusted=trust_checkpoint,
        )
        self._meter = Meter(config.network.sizes, world.device, config.lora)

    def resume(self) -> bool:
        """Go on from the newest checkpoint; whether there is one.

        Raises:
            ConfigError: it is of another configuration.
            RunError: it is damaged, or nothing says what its files were.
        """
        found = self._checkpoints.latest()
        if found is None:
            return False
        state = self._checkpoints.read_state(found)
        self._checkpoints.load(found, self.model, self.optimiser, self.ema)
        self.progress = TrainingCounters(**state["progress"])
        self.stream.load_state_dict(state["stream"])
        self._checkpoints.restore_rng(found)
        return True

    def run(self) -> bool:
        """Train until the last step, or until SIGINT or SIGTERM; whether it came to the end.

        Raises:
            RunError: too many losses in a row were not finite.
        """
        config = self.config
        if self.progress.step == 0:
            self.validate()
        with _signals() as stop:
            while self.progress.step < config.steps:
                stopping = self._step(stop.is_set())
                step = self.progress.step
                if stopping or step == config.steps or step % config.checkpoint.every_steps == 0:
                    self.save()
                if step == config.steps or step % config.validation.every_steps == 0:
                    self.validate()
                if stopping:
                    break
        return self.progress.step >= config.steps

    def save(self) -> None:
        """Write a checkpoint of weights, optimiser, stream and progress."""
        progress = {"progress": asdict(self.progress), "stream": self.stream.state_dict()}
        step = self.progress.step
        path = self._checkpoints.save(step, self.model, self.optimiser, self.ema, progress)
        for listener in self._listeners:
            listener.saved(step, path)

    def validate(self) -> dict[str, float]:
        """Measure the network, averaged if it is, on the batches that are held out."""
        if not self._held_out:
            return {}
        if self.ema is not None:
            with self.ema.applied(self.model):
                return self._validate()
        return self._validate()

    def _validate(self) -> dict[str, float]:
        config, step = self.config, self.progress.step
        values = validate(
            self.model,
            self._held_out,
            config.validation,
            config.loss,
            dtype=self._dtype,
            world=self._world,
            seed=config.seed,
        )
        for sink in self.sinks:
            sink.write(step, values)
        for listener in self._listeners:
            listener.validated(step, values)
        if self._sample is not None:
            videos = self._sample(self.model)
            for sink in self.sinks:
                sink.show(step, videos)
        return values

    def _step(self, stop: bool) -> bool:
        """One optimiser step; whether any process wants to stop."""
        config, progress = self.config, self.progress
        self._meter.begin()
        lr = set_learning_rate(self.optimiser, config.optimiser, progress.step)
        sums = torch.zeros(len(LOSSES) + 1, device=self._world.device)
        sums[-1] = float(stop)
        batches = []
        for micro in range(config.accumulate):
            batch = self._next_batch()
            batches.append(batch)
            sums[:-1] += self._learn(batch, micro) / config.accumulate
        weights = [weight for weight in self.model.parameters() if weight.grad is not None]
        norm = in_full(torch.nn.utils.clip_grad_norm_(weights, config.optimiser.max_grad_norm))
        *losses, stopping, grad_norm = torch.cat([self._world.mean(sums), norm.view(1)]).tolist()
        is_bad = not math.isfinite(losses[0] + grad_norm)
        if not is_bad:
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        progress.step += 1
        if is_bad:
            self._count_bad(batches)
        else:
            progress.num_bad_in_row = 0
            progress.num_updates += 1
            if self.ema is not None:
                self.ema.update(self.model, progress.num_updates)
        figures = dict(zip(LOSSES, losses, strict=True))
        self._tell({**figures, "grad_norm": grad_norm, "lr": lr, "num_bad": progress.num_bad})
        return bool(stopping)

    def _next_batch(self) -> Batch:
        began_s = time.perf_counter()
        batch = next(self.stream).to(self._world.device)
        self._meter.waited(time.perf_counter() - began_s)
        self._meter.worked(batch.bucket, len(batch.latents))
        return batch

    def _learn(self, batch: Batch, micro: int) -> Tensor:
        """Add the gradient of a micro-batch; its losses."""
        config = self.config
        draws = draw(batch, self._generators(len(batch.latents), micro), config.sigmas, config.drop)
        with computing(self.model, self._world.device, self._dtype):
            output = predict(self.model, batch, draws, self._dtype)
        losses = losses_of(output, batch, draws, config.loss)
        torch.autograd.backward(losses.total / config.accumulate)
        return torch.stack(losses).detach()

    def _generators(self, count: int, micro: int) -> list[torch.Generator]:
        """By the number of a sample among all that are seen, however they are dealt out."""
        config, world = self.config, self._world
        turn = (self.progress.step * config.accumulate + micro) * world.size + world.rank
        first = turn * config.batch_size
        return [sample_generator(config.seed, first + place) for place in range(count)]

    def _count_bad(self, batches: Sequence[Batch]) -> None:
        """Keep what made a loss that is not finite, for whoever looks into it.

        Raises:
            RunError: it has happened too often.
        """
        progress = self.progress
        progress.num_bad += 1
        progress.num_bad_in_row += 1
        folder = self.folder / "bad_batches"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step-{progress.step:08d}-rank-{self._world.rank}.pt"
        torch.save([asdict(batch) for batch in batches], path)
        logger.warning("the loss of step %d is not finite; its batch: %s", progress.step, path)
        if progress.num_bad_in_row >= self.config.max_bad_steps:
            raise RunError(
                f"the losses of {progress.num_bad_in_row} steps in a row were not finite; the last "
                f"batch is {path}. Look for broken latents in it, or resume from the last "
                "checkpoint with a smaller optimiser.lr."
            )

    def _tell(self, figures: dict[str, float | int]) -> None:
        step = self.progress.step
        values = {**figures, **self._meter.end()}
        if step % self.config.log.every_steps == 0 or step == self.config.steps:
            for sink in self.sinks:
                sink.write(step, values)
        for listener in self._listeners:
            listener.stepped(step, values)


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set an event at SIGINT or SIGTERM instead of dying in the middle of a step."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
