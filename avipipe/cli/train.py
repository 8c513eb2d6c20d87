"""`avipipe train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avipipe.cli.options import json_option, needs_editor
from avipipe.cli.output import echo, echo_json

if TYPE_CHECKING:
    from avipipe.editor.avi_edit.train.config import TrainConfig

config_option = click.option(
    "--config",
    "name",
    required=True,
    help="tiny, lora-24g, full-h200, paper, or a YAML file; see docs/train.md.",
)
data_option = click.option(
    "--data", required=True, metavar="DATASET", help="Published dataset: a folder or URL."
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, such as optimiser.lr=1e-5; may be repeated.",
)


class RunGroup(click.Group):
    """Without the name of a subcommand, trains."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("train", cls=RunGroup)
def command() -> None:
    """Train the editor on a published dataset.

    `avipipe train` alone means `avipipe train run`. docs/train.md tells of configurations, memory,
    several GPUs and Ray.

    \b
    Examples:
      avipipe train --config tiny --data my-dataset --out my-run
      avipipe train --config lora-24g --data my-dataset --out my-run --set optimiser.lr=5e-5
      avipipe train --config tiny --data my-dataset --out my-run --resume --steps 4000
      avipipe train cache --config full-h200 --data my-dataset --out features
    """


@command.command("run")
@config_option
@data_option
@click.option("--out", required=True, metavar="RUN", type=click.Path(path_type=Path))
@set_option
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the whole run.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in RUN.")
@click.option(
    "--trust-checkpoint",
    is_flag=True,
    help="Resume also where no hash of its files is known; torch runs what is in them.",
)
@click.option("--ray-workers", type=click.IntRange(min=1), help="Processes of a Ray Train job.")
@click.option("--ray-address", help="Ray cluster to join: `auto` inside one; none starts Ray here.")
@json_option
def run_(
    name: str,
    data: str,
    out: Path,
    overrides: tuple[str, ...],
    steps: int | None,
    resume: bool,
    trust_checkpoint: bool,
    ray_workers: int | None,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Train; RUN gets metrics, checkpoints and, at the end, the weights.

    Start it with torchrun to train in several processes. Ctrl-C writes a checkpoint first.

    \b
    Examples:
      avipipe train --config tiny --data my-dataset --out my-run
      torchrun --nproc-per-node 8 --no-python avipipe train --config paper --data D --out R
    """
    with needs_editor("training"):
        from avipipe.editor.avi_edit.train.run import train
    from avipipe.cli.train_progress import TrainProgress

    config = _config(name, data, (*overrides, *([f"steps={steps}"] if steps else [])))
    if ray_workers is not None:
        _launch(
            config,
            out,
            num_workers=ray_workers,
            address=ray_address,
            resume=resume,
            trust_checkpoint=trust_checkpoint,
        )
        return
    with TrainProgress(as_json=as_json) as progress:
        done = train(
            config, out, resume=resume, trust_checkpoint=trust_checkpoint, listener=progress
        )
    if not done:
        raise SystemExit(130)


@command.command("cache")
@config_option
@data_option
@click.option("--out", required=True, metavar="CACHE", type=click.Path(path_type=Path))
@set_option
@json_option
def cache_(name: str, data: str, out: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Compute latents, text and sound features once, for `--set data.cache=CACHE`.

    Start it with torchrun to share the clips among several GPUs. What is there already stays.

    \b
    Example:
      avipipe train cache --config full-h200 --data my-dataset --out features --set data.takes=4
    """
    with needs_editor("training"):
        from avipipe.editor.avi_edit.data.cache import cache_dataset
        from avipipe.editor.avi_edit.data.encoders import load_encoders
        from avipipe.editor.avi_edit.train.parallel import joined
    from avipipe.cli.train_progress import Caching

    config = _config(name, data, overrides)
    with joined() as world, Caching(shown=world.is_first and not as_json) as progress:
        report = cache_dataset(
            config.data,
            load_encoders(config.data.encoders, world.device),
            out,
            splits=config.splits,
            rank=world.rank,
            world_size=world.size,
            progress=progress,
        )
    figures = {
        "parts": report.num_parts,
        "new": report.num_new,
        "bytes": report.num_bytes,
        "skipped": dict(report.skipped),
    }
    if as_json:
        echo_json(figures, indent=None)
    else:
        echo(
            f"{report.num_new} of {report.num_parts} parts of clips are new; they take "
            f"{report.num_bytes / 1e6:.1f} MB in {out}"
        )


def _config(name: str, data: str, overrides: tuple[str, ...]) -> "TrainConfig":
    from avipipe.editor.avi_edit.train.config import load_config

    return load_config(name, overrides, dataset=data)


def _launch(config: "TrainConfig", out: Path, **options: Any) -> None:
    from avipipe.editor.avi_edit.train.launch_ray import launch

    launch(
        config,
        out,
        # tiny networks train on CPUs; no other does
        use_gpu=config.network.preset != "tiny",
        **options,
    )
    echo(f"trained in {out}")
