"""Reading a configuration: a YAML file, `key=value` overrides, and the model that both must fit."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from avipipe.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def told(path: Path | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What the user says, and nothing else.

    Args:
        path: a YAML file, or None.
        overrides: `dotted.key=value` texts, the value in YAML; they win over the file.
    Raises:
        ConfigError: an unreadable file, or something else than `key=value`.
    """
    data = {} if path is None else _read_yaml(path)
    for text in overrides:
        data = merged(data, _parse_override(text))
    return data


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, section by section; `above` wins."""
    data = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            section = data.get(key)
            value = merged(section if isinstance(section, Mapping) else {}, value)
        data[key] = value
    return data


def validated(model: type[Model], data: Mapping[str, Any], *, where: Path | None = None) -> Model:
    """The configuration that the data means.

    Args:
        where: the data comes from, for errors.
    Raises:
        ConfigError: an unknown key (with the nearest valid one), or a wrong value.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error, model, where)) from error


_MAX_VALUE_CHARS = 120


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two configurations differ, each as `key: old -> new`."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += difference(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {_told(before)} -> {_told(after)}")
    return lines


def _told(value: Any) -> str:
    """A value as far as a line has room for it: a decision model has hundreds of numbers."""
    return shorten(repr(value), width=_MAX_VALUE_CHARS, placeholder=" ...")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read this configuration: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this is not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: expected sections such as `stages:`, found {type(data).__name__}"
        )
    return data


def _parse_override(text: str) -> dict[str, Any]:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"--set {text}: expected key=value, such as stages.shots.max_clip_s=8")
    try:
        parsed: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not valid YAML: {error}") from error
    for name in reversed(dotted.split(".")):
        parsed = {name: parsed}
    assert isinstance(parsed, dict)
    return parsed


def _explain(error: ValidationError, model: type[BaseModel], path: Path | None) -> str:
    where = str(path) if path is not None else "configuration"
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key `{key}`{_nearest(model, problem['loc'])}")
        else:
            lines.append(f"{where}: `{key}`: {problem['msg']}, found {problem['input']!r}")
    return "\n".join(lines)


def _nearest(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    for part in location[:-1]:
        if isinstance(part, str):  # a number is a place in a list of sections
            model = _submodel(model.model_fields[part].annotation)
    close = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1, cutoff=0.5)
    if close:
        return f"; did you mean `{'.'.join([*map(str, location[:-1]), close[0]])}`?"
    return f"; expected one of {', '.join(sorted(model.model_fields))}"


def _submodel(annotation: Any) -> type[BaseModel]:
    """The model class in an annotation such as `Law` or `Law | None`."""
    candidates = (annotation, *get_args(annotation))
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    raise AssertionError(f"{annotation} holds no section")
