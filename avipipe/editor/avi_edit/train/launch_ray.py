"""The same run as a job of Ray Train, which finds the GPUs of a cluster and joins its processes.

Data does not go through Ray: each process reads shards as it would under torchrun. The folder of
the run must be one that all nodes see.
"""

from pathlib import Path

import ray
import ray.train
from ray.train.torch import TorchTrainer

from avipipe.editor.avi_edit.train.config import TrainConfig
from avipipe.editor.avi_edit.train.run import train
from avipipe.errors import RunError


def launch(
    config: TrainConfig,
    folder: Path,
    *,
    num_workers: int,
    use_gpu: bool = True,
    address: str | None = None,
    resume: bool = False,
    trust_checkpoint: bool = False,
    max_failures: int = 0,
) -> None:
    """Train as a job of Ray Train.

    Args:
        num_workers: processes, one for each GPU.
        use_gpu: whether each process needs a GPU.
        address: of the Ray cluster to join, `auto` inside one; None starts Ray on this machine.
        max_failures: how often lost processes are replaced; the run then goes on from its newest
            checkpoint.
    Raises:
        RunError: Ray cannot be reached or started, or a process failed too often.
    """
    try:
        # Without an address never a cluster that merely happens to run, or is in the environment.
        ray.init(address=address or "local", include_dashboard=None if address else False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunError(f"cannot reach or start Ray (address: {address}): {error}") from error
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "folder": str(folder.resolve()),
            "resume": resume or max_failures > 0,
            "trust_checkpoint": trust_checkpoint,
        },
        scaling_config=ray.train.ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        run_config=ray.train.RunConfig(
            name=folder.name,
            storage_path=str(folder.resolve() / "ray"),
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
        ),
    )
    try:
        result = trainer.fit()
    finally:
        ray.shutdown()
    if result.error is not None:
        raise RunError(f"training on Ray failed: {result.error}") from result.error


def _train_worker(given: dict[str, object]) -> None:
    """One process; Ray Train has started torch.distributed and set torchrun's environment."""
    config = TrainConfig.model_validate(given["config"])
    train(
        config,
        Path(str(given["folder"])),
        resume=bool(given["resume"]),
        trust_checkpoint=bool(given["trust_checkpoint"]),
    )
