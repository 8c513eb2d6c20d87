"""What every annotator with weights shares: its record of them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from avipipe import weights
from avipipe.errors import ConfigError, WeightsError


class Weighted:
    """Base of annotators with weights: names those that it loads in `setup()`.

    `packages` are those that it imports beyond the core, as pip knows them. `gpu` says that it is
    meant for a GPU where there is one: it gets a pool of workers of its own.
    """

    needs: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]] = ()
    gpu: ClassVar[bool] = False

    @property
    def weights(self) -> Mapping[str, str]:
        """The weights by name, each with what identifies its content, for the stage key."""
        return {name: weights.sha256(name) for name in self.needs}


def needs_of(annotator: Any) -> tuple[str, ...]:
    """The names of an annotator's weights; unlike their hashes, known wherever they lie."""
    return annotator.needs if isinstance(annotator, Weighted) else ()


def packages_of(annotator: Any) -> tuple[str, ...]:
    """The packages that an annotator imports beyond the core, as pip knows them."""
    return annotator.packages if isinstance(annotator, Weighted) else ()


def weights_here(annotator: Any) -> Mapping[str, str] | None:
    """Identities of an annotator's weights; None where one is not on this machine.

    Of a served model, None means that the environment does not name it.
    """
    try:
        if any(weights.find(weights.entry(name)) is None for name in needs_of(annotator)):
            return None
        return dict(annotator.weights)
    except (WeightsError, ConfigError):
        return None


def uses_gpu(annotator: Any) -> bool:
    """Whether an annotator says that it is meant for a GPU; one without weights may, too."""
    return bool(getattr(annotator, "gpu", False))
