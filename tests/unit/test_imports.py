"""The direction of imports, and what the command line must not load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "avipipe"

BELOW: dict[str, set[str]] = {
    "text": set(),
    "files": set(),
    "errors": {"text"},
    "log": {"text"},
    "config_file": {"text", "errors"},
    "plugins": {"text", "errors"},
    "media": {"text", "errors", "files", "log", "config_file"},
}
BELOW["services"] = BELOW["media"] | {"media"}
BELOW["weights"] = BELOW["media"] | {"media"}
BELOW["manifests"] = BELOW["media"] | {"media"}
BELOW["annotators"] = BELOW["manifests"] | {"manifests", "weights", "services", "plugins"}
BELOW["pages"] = BELOW["manifests"] | {"manifests"}
BELOW["decision"] = BELOW["annotators"] | {"annotators"}
BELOW["stages"] = BELOW["decision"] | {"decision"}
BELOW["pipeline"] = BELOW["stages"] | {"stages", "pages"}
BELOW["calibrate"] = BELOW["pipeline"] | {"pipeline"}
BELOW["audio_agent"] = BELOW["annotators"] | {"annotators", "pages"}
BELOW["synth"] = BELOW["audio_agent"] | {"audio_agent"}
BELOW["editor"] = BELOW["audio_agent"] | {"audio_agent"}
BELOW["evaluate"] = BELOW["annotators"] | {"annotators", "pages"}
BELOW["cli"] = BELOW["calibrate"] | BELOW["editor"] | {"calibrate", "editor", "synth", "evaluate"}
"""Part of avipipe -> the parts that it may import."""

RAY_FILES = {"pipeline/ray_data.py", "editor/avi_edit/train/launch_ray.py"}
LOCK_FILES = {"files.py", "media/host_gate.py"}
TORCH_FREE = ("torch", "transformers")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for name in imported(path):
        words = name.split(".")
        if words[0] == "avipipe" and len(words) > 1 and not words[1].startswith("__"):
            assert words[1] in BELOW[part] | {part}, f"{part} must not import {name}"


def editor_parts(name: str) -> tuple[str, ...]:
    """The parts of a dotted name below `avipipe.editor`; none where it is of something else."""
    words = tuple(name.split("."))
    return words[2:] if words[:2] == ("avipipe", "editor") else ()


@pytest.mark.parametrize("path", sorted((PACKAGE / "editor").rglob("*.py")), ids=str)
def test_a_method_imports_what_is_common_and_never_another(path: Path) -> None:
    room, *inner = path.relative_to(PACKAGE / "editor").with_suffix("").parts
    for name in imported(path):
        there = editor_parts(name)
        if not there or there[0] == room:
            continue
        if room == "edit":
            assert there[0] == "common", f"{path} knows a method: {name}"
        elif room == "common":
            raise AssertionError(f"{path} stands below {name}")
        else:
            allowed = there[0] == "common" or there[:2] == ("edit", "method")
            assert allowed, f"{path} must not import {name}"
    if room not in ("edit", "common") and inner[:1] != ["train"]:
        trains = [name for name in imported(path) if editor_parts(name)[1:2] == ("train",)]
        assert not trains, f"{path} edits, and must not import training: {trains}"


@pytest.mark.parametrize(("package", "expected"), [("ray", RAY_FILES), ("fcntl", LOCK_FILES)])
def test_only_two_files_import(package: str, expected: set[str]) -> None:
    users = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if any(name.split(".")[0] == package for name in imported(path))
    }
    assert users == expected


def reads_media(path: Path) -> bool:
    """Whether a module opens media with PyAV to read, by itself."""
    return any(
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == "av.open"
        and not any(isinstance(each, ast.Constant) and each.value == "w" for each in node.args)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def test_media_is_opened_where_no_file_opens_another() -> None:
    """Each of these gives PyAV a list of demuxers; `ranges` one of its own, for remote files."""
    found = {str(path.relative_to(PACKAGE)) for path in modules() if reads_media(path)}
    assert found == {"media/container.py", "media/ranges.py"}


def test_files_stay_readable() -> None:
    long = [path for path in modules() if len(path.read_text().splitlines()) > 420]
    assert not long


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_no_core_command_imports_torch_or_what_only_annotators_compute_with() -> None:
    """`import scipy` loads no part of it before one is used: a command that only looks, and lays
    out the stages for that, does not wait for them."""
    code = (
        "import importlib, avipipe.cli\n"
        "for name in avipipe.cli.COMMANDS:\n"
        "    importlib.import_module('avipipe.cli.' + name.replace('-', '_'))\n"
        "from avipipe.pipeline.config import BuildConfig\n"
        "from avipipe.pipeline.graph import Graph\n"
        "Graph(BuildConfig())"
    )
    parts = {
        f"scipy.{name}" for name in ("fft", "ndimage", "optimize", "signal", "spatial", "stats")
    }
    assert not loaded_by(code) & {*TORCH_FREE, *parts}


def test_what_measures_loads_no_torch_before_a_model_is_asked_for() -> None:
    assert not loaded_by("import avipipe.evaluate.run") & {*TORCH_FREE}


def test_help_loads_next_to_nothing() -> None:
    code = "from click.testing import CliRunner\nimport avipipe.cli\n"
    code += "assert CliRunner().invoke(avipipe.cli.cli, ['--help']).exit_code == 0"
    heavy = {"numpy", "ray", "pyarrow", "cv2", "av", "pydantic", "scipy", "yaml"}
    assert not loaded_by(code) & heavy
