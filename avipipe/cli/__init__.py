"""The command line. This package is the only place that prints.

A command's module is imported when the command is called, so `avipipe --help` costs little.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from avipipe import __version__
from avipipe.errors import DISK_ERRNOS, AvipipeError, disk_error

COMMANDS = {
    "build": "Turn a list of sources into a published dataset.",
    "plan": "Show what a build would run, and what is cached already.",
    "status": "Show where every item of a dataset stands.",
    "why": "Tell the whole story of one clip or source.",
    "retry": "Let failed items run again at the next build.",
    "refilter": "Decide otherwise on stored evidence; show which clips flip.",
    "report": "Write the HTML report of a dataset.",
    "review": "Write a page on which people judge a sample of the clips.",
    "calibrate": "Fit the decision to clips that people have judged.",
    "verify": "Check a published dataset: hashes, members, decodes, contract.",
    "weights": "List, pull and verify the weights of models.",
    "doctor": "Tell which tools and annotators can run on this machine.",
    "train": "Train the editor on a published dataset.",
    "mask": "Write a page on which a person draws the mask of a video.",
    "edit": "Edit an instance of a video, in sync with its sound.",
    "eval": "Measure edits: metrics by protocol, intervals, controls, one report.",
    "audio-edit": "Edit a sound track as an instruction says; judge it, and try again.",
    "synth": "Write clips whose masks, sounds and verdicts are known exactly.",
}
"""Command -> its one-line help; each lives in the module of its name, with _ for -."""


class LazyGroup(click.Group):
    """Lists commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"avipipe.cli.{cmd_name.replace('-', '_')}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="avipipe")
@click.option("-v", "--verbose", count=True, help="Say more; twice for debugging.")
@click.option("-q", "--quiet", is_flag=True, help="Say errors only.")
def cli(verbose: int, quiet: bool) -> None:
    """Build datasets for audio-synchronised video instance editing.

    \b
    Example:
      avipipe build --source list.txt --out my-dataset
    """
    from avipipe import log

    log.configure(-1 if quiet else verbose)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an expected error is one message and its exit code."""
    try:
        cli.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "Stopped. Nothing is lost: run the same command again to go on from here.", err=True
        )
        sys.exit(130)
    except AvipipeError as error:
        _fail(error)
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        _fail(disk_error(error))


def _fail(error: AvipipeError) -> NoReturn:
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(str(error), err=True)
    sys.exit(error.exit_code)
