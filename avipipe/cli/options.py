"""Options that several commands share, and how a dataset on disk is opened."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from avipipe.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])


def out_option(command: Command) -> Command:
    """`--out`: where the dataset stands."""
    return click.option(
        "--out", required=True, metavar="DATASET", help="Dataset folder, or URL such as s3://…."
    )(command)


def work_option(command: Command) -> Command:
    """`--work`: where ledger and intermediate results lie."""
    return click.option(
        "--work",
        type=click.Path(path_type=Path),
        help="Folder for ledger and intermediate results; DATASET/work by default.",
    )(command)


def create_bucket_option(command: Command) -> Command:
    """`--create-bucket`: only then is a bucket created that is missing."""
    return click.option(
        "--create-bucket", is_flag=True, help="Create the bucket of --out if it does not exist."
    )(command)


def config_options(command: Command) -> Command:
    """`--config`, `--set`, `--profile`: what a build is told."""
    command = click.option("--profile", help="Backends to use: embedded (default), light, full.")(
        command
    )
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one key, such as stages.decide.min_clip_s=3; may be repeated.",
    )(command)
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        help="YAML file with the configuration.",
    )(command)


def json_option(command: Command) -> Command:
    """Add `--json`, which prints for pipes."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def as_overrides(options: Mapping[str, str | None]) -> list[str]:
    """Options that stand for configuration keys, as the overrides they mean."""
    return [f"{key}={value}" for key, value in options.items() if value is not None]


@contextmanager
def needs_editor(what: str) -> Iterator[None]:
    """Say what to install where a package of the extra is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{what} needs the package `{error.name}`; run `pip install 'avipipe[editor]'`"
        ) from error


def require_folder(path: Path) -> None:
    """Refuse a file to write whose folder is not there, before any work.

    Raises:
        ConfigError: it is not there.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"--out {path}: there is no folder {folder}; make it first")
