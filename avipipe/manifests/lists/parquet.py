"""Tables in Parquet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avipipe.errors import ManifestError
from avipipe.manifests.lists.entry import ListEntry, check_header, entry_of_row


def read_parquet(path: Path) -> Iterator[ListEntry]:
    """Read the rows of a table in Parquet.

    Raises:
        ManifestError: it is no table, or a row is wrong; names it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ManifestError(f"{path}: this is not a Parquet file: {error}") from error
    names = tuple(name.strip().lower() for name in table.column_names)
    check_header(names, str(path))
    columns = [
        _values(column, name, path) for column, name in zip(table.columns, names, strict=True)
    ]
    for number, row in enumerate(zip(*columns, strict=True), start=1):
        where = f"{path}: row {number}"
        yield entry_of_row(dict(zip(names, row, strict=True)), where, path.parent)


def _values(column: Any, name: str, path: Path) -> Iterator[Any]:
    """The values of a column; dates and times as text, as Python's know neither years after 9999
    nor nanoseconds."""
    import pyarrow as pa

    if pa.types.is_temporal(column.type) and not pa.types.is_duration(column.type):
        column = column.cast(pa.string())
    for number, value in enumerate((cell for chunk in column.chunks for cell in chunk), start=1):
        try:
            yield value.as_py()
        except (ValueError, OverflowError, pa.ArrowException) as error:
            raise ManifestError(
                f"{path}: row {number}: `{name}` of type {column.type} cannot be read: {error}"
            ) from error
