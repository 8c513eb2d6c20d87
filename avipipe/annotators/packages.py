"""Which packages a backend needs beyond the core, read off its source: nothing is imported."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

_OWN = "avipipe.annotators."


def missing_packages(module: str) -> dict[str, str]:
    """Of the packages that a module of annotators imports at some time, those not installed.

    Returns:
        the name that pip knows it by -> the extra of avipipe that brings it.
    """
    extras = _extras()
    roots = {name.split(".")[0] for name in _imported(module, set())}
    return {
        package: extra
        for root, (package, extra) in extras.items()
        if root in roots and not _is_installed(package)
    }


def _imported(module: str, seen: set[str]) -> Iterator[str]:
    """Everything that a module imports, in functions too, and what its own helpers import."""
    seen.add(module)
    source = _source(module)
    if source is None:
        return
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        for name in _names(node):
            if not name.startswith(_OWN):
                yield name
            elif name not in seen:
                yield from _imported(name, seen)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _source(name: str) -> Path | None:
    """The file of a module of annotators; None for a name in one, such as a class."""
    stem = Path(__file__).parent.joinpath(*name.removeprefix(_OWN).split("."))
    candidates = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@lru_cache(maxsize=1)
def _extras() -> Mapping[str, tuple[str, str]]:
    """Name at import -> (package, the first extra of avipipe that brings it)."""
    found: dict[str, tuple[str, str]] = {}
    for line in metadata.requires("avipipe") or ():
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        package = re.match(r"[\w.-]+", line)
        if extra is not None and package is not None and package[0] != "avipipe":
            root = package[0].replace("-", "_").split(".")[0]
            found.setdefault(root, (package[0], extra[1]))
    return found


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
