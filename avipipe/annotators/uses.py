"""Which backend needs which weights."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from avipipe.annotators.registry import BACKENDS, PROFILES, create, profile
from avipipe.annotators.weighted import needs_of


@dataclass(frozen=True, slots=True)
class WeightUse:
    """A backend that needs a weight, and the profiles that choose this backend."""

    role: str
    backend: str
    profiles: tuple[str, ...]


def weight_users() -> Mapping[str, list[WeightUse]]:
    """The backends that need each weight, over all that are registered."""
    found = defaultdict(list)
    for role, backends in BACKENDS.items():
        for name in backends:
            profiles = tuple(key for key, roles in PROFILES.items() if roles.get(role) == name)
            for weight in needs_of(create(role, name)):
                found[weight].append(WeightUse(role, name, profiles))
    return found


def profile_weights(name: str) -> list[str]:
    """The weights that a profile needs, each once.

    Raises:
        ConfigError: there is no such profile.
    """
    needs = (needs_of(create(role, backend)) for role, backend in profile(name).items())
    return sorted({weight for names in needs for weight in names})
