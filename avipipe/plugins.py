"""Names that stand for classes: a table is name -> `module:Class`, imported only when asked for."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from avipipe.errors import ConfigError


def load(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """Import the class that a name stands for.

    Args:
        kind: what the classes of the table are, for messages, such as "vad backend".
        name: of the table, or `module:Class` of a class that lives outside avipipe.
        table: name -> `module:Class`.
    Raises:
        ConfigError: there is no such name (the message says the nearest ones, and how to use a
            class of one's own), or the class of one's own cannot be imported.
        ModuleNotFoundError: a class of the table needs a package that is not installed.
    """
    if ":" not in name:
        check_known(kind, name, table, hint="; one of your own is given as `module:Class`")
        return _imported(table[name])
    try:
        return _imported(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"cannot load the {kind} {name!r}: {error}; expected `module:Class` that Python "
            "can import here and in every worker"
        ) from error


def _imported(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def check_known(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
    """Refuse a name that is not known.

    Args:
        hint: what else could be done, put at the end of the message.
    Raises:
        ConfigError: the message says the nearest names, and all of them.
    """
    names = list(known)
    if name in names:
        return
    nearest = " or ".join(map(repr, difflib.get_close_matches(name, names)))
    guess = f"; did you mean {nearest}?" if nearest else ""
    raise ConfigError(f"there is no {kind} {name!r}{guess} (known: {', '.join(names)}{hint})")
