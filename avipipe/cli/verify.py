"""`avipipe verify`."""

import click

from avipipe.cli.options import json_option, out_option
from avipipe.cli.output import echo, echo_json
from avipipe.errors import ManifestError


@click.command("verify")
@out_option
@click.option("--fast", is_flag=True, help="Compare hashes and manifests; decode nothing.")
@json_option
def command(out: str, fast: bool, as_json: bool) -> None:
    """Check a published dataset: hashes, members, decodes, contract.

    Exit code 0: sound. 3: what is wrong is printed, a line each.

    \b
    Example:
      avipipe verify --out my-dataset
    """
    from avipipe.pipeline.verify import verify

    faults = []
    for fault in verify(out, deep=not fast):
        faults.append(fault)
        if not as_json:
            echo(fault)
    if as_json:
        echo_json(faults)
    if faults:
        raise ManifestError(
            f"{len(faults)} faults in {out}. Restore the files, or build into a new folder: what "
            "is in work/ is not made again"
        )
    if not as_json:
        echo(f"{out} is sound")
