"""What can run on this machine, and what to do about what cannot."""

import platform
import sys
from dataclasses import dataclass
from importlib import metadata

from avipipe.annotators.registry import BACKENDS, PROFILES, create
from avipipe.errors import AvipipeError
from avipipe.media import ffmpeg

PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a build may need."""

    what: str
    ok: bool
    found: str
    remedy: str
    needed: bool
    """Whether the embedded profile cannot run without it."""


def examine() -> list[Finding]:
    """Look at Python, ffmpeg, Ray, yt-dlp, and every backend of every role."""
    return [_python(), _ffmpeg(), *map(_package, ("ray", "yt-dlp")), *_backends()]


def _python() -> Finding:
    found = platform.python_version()
    ok = sys.version_info[:2] >= PYTHON
    return Finding("Python", ok, found, "" if ok else "install CPython 3.11", needed=True)


def _ffmpeg() -> Finding:
    try:
        found = f"{ffmpeg.versions()['ffmpeg']} at {ffmpeg.ffmpeg_path()}"
    except (AvipipeError, OSError) as error:
        remedy = "pip install imageio-ffmpeg, or put ffmpeg with libx264 on PATH"
        return Finding("ffmpeg", False, str(error), remedy, needed=True)
    return Finding("ffmpeg", True, found, "", needed=True)


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, metadata.version(name), "", needed=True)
    except metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", f"pip install {name}", needed=True)


def _backends() -> list[Finding]:
    findings = []
    for role, backends in BACKENDS.items():
        for name in backends:
            needed = PROFILES["embedded"][role] == name
            findings.append(_backend(role, name, needed))
    return findings


def _backend(role: str, name: str, needed: bool) -> Finding:
    what = f"{role}: {name}"
    try:
        backend = create(role, name)
        backend.setup()
    except (AvipipeError, ImportError, OSError, RuntimeError) as error:
        # torchvision raises RuntimeError, torchaudio OSError where they do not fit torch.
        return Finding(what, False, type(error).__name__, str(error), needed)
    weights = ", ".join(backend.weights) or "no weights"
    return Finding(what, True, f"version {backend.version}, {weights}", "", needed)
