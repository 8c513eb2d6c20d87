"""`avipipe verify`."""

from pathlib import Path

import click

from avipipe.cli.options import json_option, out_option, work_option
from avipipe.cli.output import echo, echo_json
from avipipe.errors import ManifestError


@click.command("verify")
@out_option
@click.option("--fast", is_flag=True, help="Compare hashes and manifests; decode nothing.")
@click.option("--deep", is_flag=True, help="Measure clips against their sources again, if here.")
@click.option("--repair", is_flag=True, help="First make again what work/ still holds.")
@work_option
@json_option
def command(
    out: str, fast: bool, deep: bool, repair: bool, work: Path | None, as_json: bool
) -> None:
    """Check a published dataset: hashes, members, decodes, contract.

    Exit code 0: sound. 3: what is wrong is printed, a line each.

    \b
    Example:
      avipipe verify --out my-dataset
      avipipe verify --out my-dataset --deep
      avipipe verify --out my-dataset --repair
    """
    from avipipe.media.container import DEFAULT_LIMITS
    from avipipe.pipeline.remake import remake
    from avipipe.pipeline.remeasure import Remeasure
    from avipipe.pipeline.verify import MAX_OFFSET_MS, leftovers, verify
    from avipipe.pipeline.workspace import Workspace

    if fast and deep:
        raise click.UsageError("expected --fast or --deep, found both: one decodes nothing")
    if repair:
        for said in remake(Workspace.at(out, work)):
            echo(said, err=True)
    again = None
    if deep:
        config = Workspace.at(out, work).stored_config()
        limits = DEFAULT_LIMITS if config is None else config.stages.probe.limits
        again = Remeasure(MAX_OFFSET_MS, limits)
    faults = []
    for fault in verify(out, deep=not fast, again=again):
        faults.append(fault)
        if not as_json:
            echo(fault)
    if as_json:
        echo_json(faults)
    if faults:
        raise ManifestError(
            f"{len(faults)} faults in {out}. `avipipe verify --repair` makes again what work/ "
            "still holds; else restore the files, or build into a new folder"
        )
    for left in leftovers(out):
        echo(left, err=True)
    if not as_json:
        echo(f"{out} is sound")
        if again is not None:
            echo(
                f"{again.num_measured} clips measured again against their sources, "
                f"{again.num_without_source} whose source is no local file, or another one now"
            )
