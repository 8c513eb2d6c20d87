"""`avipipe weights`."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from avipipe.annotators.uses import WeightUse, profile_weights, weight_users
from avipipe.cli.options import json_option
from avipipe.cli.output import cell, echo, echo_json
from avipipe.errors import ConfigError, WeightsError
from avipipe.weights import Found, Weight, entry, find, known, missing_message
from avipipe.weights.pull import part_bytes, pull

POLL_INTERVAL_S = 0.2


@click.group("weights")
def command() -> None:
    """List, pull and verify the weights of models.

    Nothing else in avipipe downloads weights. docs/weights.md tells where they lie and what their
    licences ask of you.

    \b
    Examples:
      avipipe weights list
      avipipe weights pull --profile light
      avipipe weights verify
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Tell what each model weighs, its licence, who needs it, and where it lies.

    \b
    Example:
      avipipe weights list
    """
    uses = weight_users()
    rows = [(weight, find(weight), uses.get(name, [])) for name, weight in known().items()]
    if as_json:
        echo_json([_as_json(*row) for row in rows])
    else:
        _show(rows)


@command.command("pull")
@click.argument("names", nargs=-1)
@click.option("--profile", "profiles", multiple=True, help="Pull all of a profile: light, full.")
def pull_(names: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    """Download weights into the cache folder, checked; what is here already stays.

    NAMES are those of `avipipe weights list`. A download that broke off goes on where it stopped.

    \b
    Examples:
      avipipe weights pull --profile light
      avipipe weights pull xmem sam2
    """
    wanted = dict.fromkeys([*names, *(name for key in profiles for name in profile_weights(key))])
    if not names and not profiles:
        raise ConfigError("nothing to pull: expected names, or --profile light; see: weights list")
    refused = []
    for weight in [entry(name) for name in wanted]:
        try:
            with _progress(weight):
                found = pull(weight)
        except WeightsError as error:
            # The others are pulled first: one model's terms must not hold them up.
            refused.append(str(error))
        else:
            echo(f"{weight.name}: {_size(found.size_bytes)}, {weight.licence}, at {found.path}")
    if refused:
        raise WeightsError("\n\n".join(refused))


@command.command("verify")
@click.argument("names", nargs=-1)
@click.option("--profile", "profiles", multiple=True, help="Check all weights of a profile.")
@click.option("--missing", is_flag=True, help="Report missing weights as errors, too.")
@json_option
def verify_(
    names: tuple[str, ...], profiles: tuple[str, ...], missing: bool, as_json: bool
) -> None:
    """Read all weights anew and compare their hashes.

    Exit code 0: what is here is right. 4: what is wrong is printed.

    \b
    Example:
      avipipe weights verify --profile light --missing
    """
    wanted = dict.fromkeys([*names, *(name for key in profiles for name in profile_weights(key))])
    chosen = [entry(name) for name in wanted] or list(known().values())
    states = {}
    for weight in chosen:
        states[weight.name] = _state(weight)
        if not as_json and states[weight.name] != "missing":
            echo(f"{weight.name}: {states[weight.name]}")
    absent = [weight for weight in chosen if states[weight.name] == "missing"]
    if as_json:
        echo_json(states)
    elif absent:
        echo(f"not here: {', '.join(weight.name for weight in absent)}")
    wrong = [name for name, state in states.items() if state not in _SOUND]
    if wrong:
        raise WeightsError(f"{len(wrong)} weights are not right: {', '.join(wrong)}")
    if missing and absent:
        raise WeightsError(missing_message(absent))


_RIGHT = "right"
_UNKNOWN = "here; nothing says what its hash should be"
_SOUND = (_RIGHT, _UNKNOWN, "missing")


def _state(weight: Weight) -> str:
    found = find(weight)
    if found is None:
        return "missing"
    try:
        found.check(again=True)
    except WeightsError as error:
        return str(error)
    return _RIGHT if set(found.files) <= set(found.accepted) else _UNKNOWN


@contextmanager
def _progress(weight: Weight) -> Iterator[None]:
    """A bar on a terminal, fed by what has arrived on the disk; nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    done = threading.Event()
    with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(weight.name, total=weight.download_bytes)

        def follow() -> None:
            while not done.wait(POLL_INTERVAL_S):
                progress.update(task, completed=part_bytes(weight))

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            done.set()
            follower.join()


Row = tuple[Weight, Found | None, Sequence[WeightUse]]


def _show(rows: Iterable[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("weight", "size", "licence", "needed by", "profiles", "where"):
        # Names are what `weights pull` takes, so they are never cut.
        table.add_column(
            column,
            justify="right" if column == "size" else "left",
            no_wrap=column == "weight",
            overflow="fold",
        )
    for weight, found, uses in rows:
        table.add_row(
            cell(weight.name),
            _size(_bytes(weight, found)),
            cell(weight.licence + ("*" if weight.gated else "")),
            cell(_needed_by(uses) or weight.purpose),
            ", ".join(_profiles(uses)) or "-",
            found.place if found else "[yellow]missing[/]",
        )
    console = Console()
    console.print(table)
    console.print("* gated: its terms must be accepted on its page; ? known once it is pulled")


def _as_json(weight: Weight, found: Found | None, uses: Sequence[WeightUse]) -> dict[str, object]:
    return {
        "name": weight.name,
        "size_bytes": _bytes(weight, found),
        "licence": weight.licence,
        "gated": weight.gated,
        "page": weight.page,
        "purpose": weight.purpose,
        "backends": [f"{use.role}: {use.backend}" for use in uses],
        "profiles": _profiles(uses),
        "place": found.place if found else None,
        "path": str(found.path) if found else None,
        "revision": found.pulled.revision if found and found.pulled else weight.revision,
    }


def _needed_by(uses: Sequence[WeightUse]) -> str:
    roles: dict[str, list[str]] = {}
    for use in uses:
        roles.setdefault(use.backend, []).append(use.role)
    return ", ".join(f"{', '.join(names)}: {backend}" for backend, names in roles.items())


def _profiles(uses: Sequence[WeightUse]) -> list[str]:
    return list(dict.fromkeys(profile for use in uses for profile in use.profiles))


def _bytes(weight: Weight, found: Found | None) -> int | None:
    return found.size_bytes if found else weight.size_bytes


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "?"
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
