"""What can run on this machine, and what to do about what cannot."""

import importlib
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from importlib import metadata

from avipipe import weights
from avipipe.annotators.base import Annotator
from avipipe.annotators.registry import BACKENDS, PROFILES, create
from avipipe.annotators.weighted import needs_of, packages_of
from avipipe.decision.model import shipped
from avipipe.errors import AvipipeError
from avipipe.media import ffmpeg
from avipipe.pipeline.calibration import reliability

PYTHON = (3, 11)
"""Least version; as in pyproject.toml."""
SMALL_BYTES = 50_000_000
"""Size in bytes up to which weights are loaded to see whether they load."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding on one thing that a build may need."""

    what: str
    ok: bool
    found: str
    remedy: str
    needed: bool
    """Whether the embedded profile cannot run without it."""


class RemedyStep(IntEnum):
    """Kind of remedy for a backend that cannot run, in the order in which they are applied."""

    INSTALL = 0
    PULL = 1
    MEND = 2


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Obstacle to running a backend, and the one thing to do next."""

    step: RemedyStep
    reason: str
    remedy: str


def examine() -> list[Finding]:
    """Look at Python, ffmpeg, Ray, yt-dlp, PyTorch, every backend, and the profiles as a whole."""
    return [
        _python(),
        _ffmpeg(),
        *map(_package, ("ray", "yt-dlp")),
        *_torch(),
        *_gpu(),
        *(_backend(role, name) for role, backends in BACKENDS.items() for name in backends),
        *(_profile(name, roles) for name, roles in PROFILES.items()),
    ]


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


@lru_cache(maxsize=1)
def _torch() -> tuple[Finding, ...]:
    """PyTorch and its companions, where they are installed."""
    findings = []
    for name in ("torch", "torchaudio", "torchvision"):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        trouble = _trouble_of(name)
        remedy = "pip install -c constraints.txt torch torchaudio torchvision" if trouble else ""
        findings.append(Finding(name, not trouble, trouble or found, remedy, needed=False))
    return tuple(findings)


def _trouble_of(module: str) -> str:
    """Why a module cannot be imported; empty if it can."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        # torchvision raises RuntimeError, torchaudio OSError where they do not fit torch.
        return _first_line(error)
    return ""


def _gpu() -> list[Finding]:
    """The GPU; nothing where there is no PyTorch to ask."""
    if not _torch() or not _torch()[0].ok:
        return []
    import torch

    if torch.cuda.is_available():
        return [Finding("GPU", True, torch.cuda.get_device_name(0), "", needed=False)]
    remedy = "the full profile takes many times longer without: use a machine with a CUDA GPU"
    return [Finding("GPU", False, "none that PyTorch can use", remedy, needed=False)]


def _backend(role: str, name: str) -> Finding:
    what, needed = f"{role}: {name}", PROFILES["embedded"][role] == name
    obstacle = _obstacle(role, name)
    if obstacle is not None:
        return Finding(what, False, obstacle.reason, obstacle.remedy, needed)
    return Finding(what, True, _weights_in_words(role, name), "", needed)


def _weights_in_words(role: str, name: str) -> str:
    needs = needs_of(create(role, name))
    return f"with {', '.join(needs)}" if needs else "no weights"


@lru_cache(maxsize=256)
def _obstacle(role: str, name: str) -> Obstacle | None:
    """What keeps a backend from running here, as far as can be told without loading much."""
    try:
        backend = create(role, name)
        return (
            _package_obstacle(packages_of(backend))
            or _weights_obstacle(needs_of(backend))
            or _setup_obstacle(backend)
        )
    except AvipipeError as error:
        return Obstacle(RemedyStep.MEND, "not ready", str(error))


def _package_obstacle(packages: Sequence[str]) -> Obstacle | None:
    missing = [name for name in packages if not _is_installed(name)]
    if not missing:
        return None
    extra = max(map(_extra, missing), key=("light", "full").index)
    reason = f"{', '.join(missing)} not installed"
    return Obstacle(RemedyStep.INSTALL, reason, f"pip install 'avipipe[{extra}]'")


def _extra(package: str) -> str:
    """The first extra of avipipe that brings a package."""
    pattern = re.compile(rf"{re.escape(package)}\b(?![.-]).*extra == ['\"](\w+)['\"]")
    matches = map(pattern.match, metadata.requires("avipipe") or ())
    return next((match[1] for match in matches if match is not None), "full")


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _weights_obstacle(needs: Sequence[str]) -> Obstacle | None:
    missing = [name for name in needs if weights.find(weights.entry(name)) is None]
    if missing:
        remedy = f"avipipe weights pull {' '.join(missing)}"
        return Obstacle(RemedyStep.PULL, "weights missing", remedy)
    return None


def _setup_obstacle(backend: Annotator) -> Obstacle | None:
    """Load a backend if it is small; of a large one, look at what is known of its hashes."""
    found = [weights.find(weights.entry(name)) for name in needs_of(backend)]
    here = [each for each in found if each is not None]
    try:
        for each in here:
            if each.size_bytes <= SMALL_BYTES or each.is_read:
                each.check()
        if sum(each.size_bytes for each in here) > SMALL_BYTES:
            return _torch_obstacle()
        backend.setup()
    except AvipipeError:
        raise
    except Exception as error:  # noqa: BLE001  each library has its own for what it cannot read
        return Obstacle(RemedyStep.MEND, "does not load", _first_line(error))
    return None


def _torch_obstacle() -> Obstacle | None:
    """What PyTorch and its companions say, for a model that is too large to be tried."""
    broken = next((finding for finding in _torch() if not finding.ok), None)
    if broken is None:
        return None
    return Obstacle(RemedyStep.MEND, f"{broken.what} does not load", broken.remedy)


def _profile(name: str, roles: Mapping[str, str]) -> Finding:
    obstacles = [each for pair in roles.items() if (each := _obstacle(*pair)) is not None]
    if not obstacles:
        held = reliability(shipped(name), name)
        found = f"can run as a whole; {held}" if held else "can run as a whole"
        return Finding(f"profile {name}", True, found, "", name == "embedded")
    found = f"{len(obstacles)} of {len(roles)} backends cannot run"
    remedy = _next_step(name, obstacles)
    return Finding(f"profile {name}", False, found, remedy, name == "embedded")


def _next_step(profile: str, obstacles: Iterable[Obstacle]) -> str:
    first = min(obstacles, key=lambda obstacle: obstacle.step)
    if first.step is RemedyStep.PULL:
        return f"avipipe weights pull --profile {profile}"
    return first.remedy


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
