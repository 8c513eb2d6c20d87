"""`avipipe doctor`."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from avipipe.cli.options import json_option
from avipipe.cli.output import cell, echo_json
from avipipe.pipeline.doctor import Finding, examine


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Tell which tools and annotators can run on this machine.

    Exit code 0: the embedded profile can run.

    \b
    Example:
      avipipe doctor
    """
    findings = examine()
    if as_json:
        echo_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    if not all(finding.ok for finding in findings if finding.needed):
        raise SystemExit(1)


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]no[/]" if finding.needed else "[yellow]no[/]"
        text = cell(finding.found)
        if finding.remedy:
            text.append("; ").append(finding.remedy, style="bold")
        table.add_row(mark, cell(finding.what), text)
    console = Console(highlight=False)
    console.print(table)
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    console.print(cell(f"{os.cpu_count()} CPUs, {free_gb:.0f} GB free in {Path.cwd()}"))
