"""The tables that commands of `avipipe eval` print."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from avipipe.cli.output import cell


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", num_left: int = 1
) -> None:
    """Print rows of text under their heads; columns after the first `num_left` hold numbers."""
    named = cell(title) if title else None
    table = Table(title=named, box=None, pad_edge=False, title_justify="left")
    for place, column in enumerate(head):
        table.add_column(cell(column), justify="left" if place < num_left else "right")
    for row in rows:
        table.add_row(*map(cell, row))
    Console().print(table)
