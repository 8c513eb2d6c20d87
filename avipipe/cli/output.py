"""How commands print: what comes from outside reaches a terminal as text that it does not obey."""

import json
from typing import TYPE_CHECKING, Any

import click

from avipipe.text import said

if TYPE_CHECKING:
    from rich.text import Text


def echo(text: str, *, err: bool = False, **style: Any) -> None:
    """Print a text in its lines, with control characters as `\\x1b` and without secrets.

    Args:
        style: as `click.style` takes it.
    """
    click.secho(said(text), err=err, **style)


def echo_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a JSON value; it is ASCII, so it needs no other care."""
    click.echo(json.dumps(value, indent=indent))


def cell(text: str, style: str = "") -> "Text":
    """A text from outside for a table of rich, which takes no markup from it."""
    from rich.text import Text

    return Text(said(text), style)
