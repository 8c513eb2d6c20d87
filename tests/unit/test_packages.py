"""What a backend says that it imports beyond the core is what its source imports."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from avipipe.annotators.registry import BACKENDS, create
from avipipe.annotators.weighted import packages_of
from avipipe.pipeline import doctor

ROOT = Path(__file__).parents[2]
OWN = "avipipe.annotators."
NAMES = [(role, name) for role, backends in BACKENDS.items() for name in backends]


def optional() -> list[str]:
    """The packages of the extras that backends are installed by, in the order they are listed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    found = [re.match(r"[\w.-]+", line) for line in extras["light"] + extras["full"]]
    return [match[0] for match in found if match is not None and match[0] != "avipipe"]


def source(module: str) -> Path | None:
    """The file of a module of annotators; None for a name in one, such as a class."""
    stem = ROOT.joinpath(*module.split("."))
    return next((p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()), None)


def imported(module: str, seen: set[str]) -> Iterator[str]:
    """Everything that a module imports, in functions too, and what its own helpers import."""
    seen.add(module)
    path = source(module)
    if path is None:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in names(node):
            if not name.startswith(OWN):
                yield name
            elif name not in seen:
                yield from imported(name, seen)


def names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


@pytest.mark.parametrize(("role", "name"), NAMES)
def test_a_backend_declares_the_packages_that_it_imports(role: str, name: str) -> None:
    backend = create(role, name)
    roots = {each.split(".")[0] for each in imported(type(backend).__module__, set())}
    expected = [each for each in optional() if each.replace("-", "_").split(".")[0] in roots]
    assert sorted(packages_of(backend)) == sorted(expected)


@pytest.mark.parametrize(
    ("role", "name", "reason", "extra"),
    [
        ("separate", "htdemucs", "torch, demucs not installed", "full"),
        ("detect", "yolox", "ai-edge-litert, onnxruntime not installed", "light"),
        ("vad", "pyannote", "torch, pyannote.audio not installed", "full"),
    ],
)
def test_doctor_names_missing_packages_and_the_extra_that_brings_them(
    monkeypatch: pytest.MonkeyPatch, role: str, name: str, reason: str, extra: str
) -> None:
    def version(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    doctor._obstacle.cache_clear()
    obstacle = doctor._obstacle(role, name)
    doctor._obstacle.cache_clear()
    assert obstacle == doctor.Obstacle(
        doctor.RemedyStep.INSTALL, reason, f"pip install 'avipipe[{extra}]'"
    )
