"""Which packages a backend needs beyond the core, read off its source: nothing is imported."""

import ast
import importlib.util
import re
import sys
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
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        for name in _names(node):
            if name.startswith(_OWN):
                if name not in seen and _is_module(name):
                    yield from _imported(name, seen)
            elif name.split(".")[0] not in sys.stdlib_module_names:
                yield name


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a class of a module, not a module of a package
        return False


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
