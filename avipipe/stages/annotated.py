"""A stage that asks annotators: which ones stands in its key, and in the evidence they give."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from avipipe.annotators.base import Annotator
from avipipe.annotators.weighted import needs_of, uses_gpu
from avipipe.stages.base import Stage


class AnnotatedStage(Stage):
    """Owns its annotators by role; they are set up once in each worker."""

    def __init__(self, config: BaseModel, backends: Mapping[str, Annotator]) -> None:
        self._config = config
        self._backends = dict(backends)
        self.uses_gpu = any(uses_gpu(backend) for backend in backends.values())

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Of all its annotators."""
        return tuple(name for backend in self._backends.values() for name in needs_of(backend))

    def settings(self) -> Mapping[str, Any]:
        """See `Stage.settings`.

        Raises:
            WeightsError: a weight is missing, and nothing says what it would be.
        """
        return {**self._config.model_dump(mode="json"), "backends": self._identities}

    @cached_property
    def _identities(self) -> dict[str, dict[str, Any]]:
        return {
            role: {
                "name": backend.name,
                "version": backend.version,
                "weights": dict(backend.weights),
            }
            for role, backend in self._backends.items()
        }

    def setup(self) -> None:
        for backend in self._backends.values():
            backend.setup()

    def backend_names(self) -> dict[str, str]:
        """Role -> `name@version`, for the record."""
        return {
            role: f"{backend.name}@{backend.version}" for role, backend in self._backends.items()
        }
