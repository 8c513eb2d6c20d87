"""Reads what a build wrote for itself; where that is damaged, says in which file and line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from avipipe.errors import ManifestError
from avipipe.manifests.records import SourceLine
from avipipe.pipeline.graph import Row, UsedBackends

BACKENDS_VERSION = 1


def read_document(data: bytes, where: str) -> Any:
    """Read the one YAML document of a file, from its mark `---` to its mark `...`.

    Earlier versions of avipipe marked neither.

    Raises:
        ManifestError: not UTF-8, not YAML, or cut short.
    """
    remedy = "Restore this file, or use another --out"
    text = ""
    try:
        text = data.decode()
        document = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _damaged(where, line, f"expected UTF-8, found {error}", remedy) from error
    except yaml.YAMLError as error:
        line = _line_of(error, text)
        raise _damaged(where, line, f"expected YAML, found {error}", remedy) from error
    if not text or (text.startswith("---\n") and not text.endswith("\n...\n")):
        problem = "expected `...` as the last line, found that the file is cut short here"
        raise _damaged(where, text.count("\n") + 1, problem, remedy)
    return document


def read_lines(data: bytes, path: Path) -> Iterator[SourceLine]:
    """Read the sources of a list, as `Row.to_json` writes them, a line each.

    Raises:
        ManifestError: one of them is damaged, or there is none.
    """
    for number, line in enumerate(data.splitlines(keepends=True) or [b""], start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("the file is cut short here")
            yield Row.from_json(line.decode()).source
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged(
                str(path),
                number,
                f"expected a source of the list, found {type(error).__name__}: {error}",
                "Restore this file; or delete it and run `avipipe build` with the whole list: what "
                "is done is kept",
            ) from error


def read_backends(data: bytes, path: Path) -> UsedBackends:
    """Read the backends and weights of a build, as `write_backends` writes them.

    Raises:
        ManifestError: damaged.
    """
    try:
        content = json.loads(data)
        if content["version"] != BACKENDS_VERSION:
            raise ValueError(f"version {content['version']}, expected {BACKENDS_VERSION}")
        return {
            stage: {
                role: {key: used[key] for key in ("name", "version", "weights")}
                for role, used in roles.items()
            }
            for stage, roles in content["stages"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(
            str(path),
            1,
            f"expected the backends of a build, found {type(error).__name__}: {error}",
            "Delete it; the next `avipipe build` writes it again",
        ) from error


def _line_of(error: yaml.YAMLError, text: str) -> int:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return error.problem_mark.line + 1
    return text.count("\n", 0, getattr(error, "position", 0)) + 1


def _damaged(where: str, line: int, problem: str, remedy: str) -> ManifestError:
    return ManifestError(f"{where}:{line}: {problem}. {remedy}")
