"""`avipipe calibrate`."""

import shlex
from pathlib import Path

import click

from avipipe.cli.options import require_folder, work_option
from avipipe.cli.output import echo
from avipipe.errors import ConfigError
from avipipe.text import title_of


@click.command("calibrate")
@click.argument("dataset")
@click.option(
    "--labels",
    "labels_path",
    required=True,
    metavar="FILE.jsonl",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Export of the page that `avipipe review` writes.",
)
@click.option(
    "--out",
    "path",
    required=True,
    metavar="FILE.yaml",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write the numbers to.",
)
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the folds of the cross-validation."
)
@work_option
def command(dataset: str, labels_path: Path, path: Path, seed: int, work: Path | None) -> None:
    """Fit the decision to clips of a dataset that people have judged.

    DATASET is the --out of a build. The numbers that it was built with are where the fit begins:
    twenty labels move them a little, hundreds a lot. Says how precise the decision is on clips
    that it was not fitted on; the dataset's card says it, too, once the numbers are applied.

    \b
    Example:
      avipipe calibrate my-dataset --labels review.jsonl --out decision.yaml
      avipipe refilter --out my-dataset --set stages.decide.model=decision.yaml --apply
    """
    from avipipe.calibrate.dataset import calibrate
    from avipipe.calibrate.write import as_yaml
    from avipipe.decision.model import shipped
    from avipipe.files import write_whole
    from avipipe.manifests.labels import read_labels
    from avipipe.pipeline.calibration import figure
    from avipipe.pipeline.refilter import load_measures
    from avipipe.pipeline.workspace import Workspace

    require_folder(path)
    workspace = Workspace.at(dataset, work)
    config = workspace.require_config()
    if not workspace.has_work():
        raise ConfigError(
            f"{dataset}: the work folder of its build is not here, and with it the evidence that"
            " numbers are fitted on; say where it is with --work, or build again"
        )
    with workspace.open_ledger(read_only=True) as ledger:
        clips = list(load_measures(ledger))
    labels = read_labels(labels_path, {clip.clip_id for clip in clips})
    judge = config.stages.decide.judge(shipped(config.profile))
    found = calibrate(clips, labels, judge, _source_of, name=title_of(dataset), seed=seed)
    write_whole(path, as_yaml(found.model).encode())
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.verdicts.items()))
    echo(f"{len(labels)} labels: {told}", err=True)
    for title, value in found.model.figures.items():
        echo(f"  {figure(title, value)}", err=True)
    echo(f"  calibration error of the decision so far: {found.before:.2f}", err=True)
    echo(f"  keeps clips from a probability of {found.model.min_probability:.2f} on", err=True)
    echo(
        f"Apply it: avipipe refilter --out {shlex.quote(dataset)} "
        f"--set stages.decide.model={shlex.quote(str(path))} --apply",
        err=True,
    )
    echo(str(path))


def _source_of(clip_id: str) -> str:
    """Clip ids end in the times of the clip."""
    return clip_id.rsplit("_", 2)[0]
