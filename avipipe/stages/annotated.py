"""A stage that asks annotators: which ones stands in its key, and in the evidence they give."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from avipipe.annotators.base import Annotator
from avipipe.annotators.weighted import needs_of, uses_gpu, weights_here
from avipipe.stages.base import Stage

Identity = Mapping[str, Any]
"""What identifies a backend: `name`, `version`, and `weights` (name -> sha256)."""


class AnnotatedStage(Stage):
    """Owns its annotators by role; they are set up once in each worker."""

    def __init__(self, config: BaseModel, backends: Mapping[str, Annotator]) -> None:
        self._config = config
        self._backends = dict(backends)
        self.adopted: dict[str, Identity] = {}
        self.uses_gpu = any(uses_gpu(backend) for backend in backends.values())

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of the weights of all its annotators."""
        return tuple(name for backend in self._backends.values() for name in needs_of(backend))

    def settings(self) -> Mapping[str, Any]:
        """See `Stage.settings`. Raises as `identities` does."""
        return {**self._config.model_dump(mode="json"), "backends": self.identities}

    @cached_property
    def identities(self) -> dict[str, Identity]:
        """Role -> what identifies its backend: as it is here, or as a build used it (`adopt`).

        Raises:
            WeightsError: a weight is missing, and nothing says what it would be.
            ConfigError: a backend that asks a server does not know which.
        """
        return {
            role: self.adopted.get(role) or _identity(backend)
            for role, backend in self._backends.items()
        }

    def own_identities(self) -> dict[str, Identity]:
        """Identities of the backends on this machine, whatever was adopted."""
        return {role: _identity(backend) for role, backend in self._backends.items()}

    def adopt(self, used: Mapping[str, Identity], *, only_missing: bool = False) -> list[str]:
        """Let the weights that a build used stand for those of this machine in the stage key.

        Args:
            used: role -> backend; one of another name or version than this stage's is passed by.
            only_missing: let the weights that are here stand for themselves.
        Returns:
            the names of weights that are here and are not those of the build.
        """
        changed: set[str] = set()
        for role, backend in self._backends.items():
            its = used.get(role)
            if its is None or (its["name"], its["version"]) != (backend.name, backend.version):
                continue
            here = weights_here(backend)
            if here is None or not only_missing:
                self.adopted[role] = its
            for name, identity in (here or {}).items():
                if identity != its["weights"].get(name):
                    changed.add(name)
        self.__dict__.pop("identities", None)
        return sorted(changed)

    def setup(self) -> None:
        for backend in self._backends.values():
            backend.setup()

    def backend_names(self) -> dict[str, str]:
        """Role -> `name@version`, for the record."""
        return {
            role: f"{backend.name}@{backend.version}" for role, backend in self._backends.items()
        }


def _identity(backend: Annotator) -> Identity:
    return {"name": backend.name, "version": backend.version, "weights": dict(backend.weights)}
