"""JSON objects that hold their own sha256, so that no change of them goes unnoticed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "sha256"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object with its seal; as it will be read, with strings as keys and lists for tuples."""
    told: dict[str, Any] = json.loads(json.dumps(value))
    return {**told, SEAL: _sha256(told)}


def unsealed(content: bytes) -> dict[str, Any]:
    """What was sealed, the seal left in it; an object without one is taken as it is.

    Raises:
        ValueError: it is no JSON object, or has changed.
    """
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"no JSON object but a {type(found).__name__}")
    if SEAL in found and found[SEAL] != _sha256(found):
        raise ValueError("JSON that has changed since it was written")
    return found


def _sha256(value: Mapping[str, Any]) -> str:
    rest = {name: part for name, part in value.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
