"""Which editing methods there are, and reading the settings of one."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from avipipe.annotators import registry
from avipipe.config_file import told, validated
from avipipe.editor.edit.config import EditConfig
from avipipe.editor.edit.method import Method
from avipipe.errors import ConfigError

METHODS = {"avi_edit": "avipipe.editor.avi_edit.method:AviEdit"}
"""Name -> "module:Class"; imported when it is asked for."""

_DEFAULT = EditConfig.model_fields["method"].default


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> EditConfig:
    """The settings of a method, from a YAML file and `key=value` texts.

    Raises:
        ConfigError: no such file, method or profile, an unknown key, or a wrong value.
    """
    data = told(path, overrides)
    config = validated(find_method(data.get("method", _DEFAULT)).settings, data, where=path)
    registry.profile(config.profile)
    return config


def find_method(name: object) -> type[Method]:
    """The class of a method.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in METHODS:
        raise ConfigError(f"method: expected one of {', '.join(METHODS)}, got {name!r}")
    module, _, kind = METHODS[str(name)].partition(":")
    found: type[Method] = getattr(importlib.import_module(module), kind)
    return found


def load_method(config: EditConfig) -> Method:
    """The method that a configuration is of, with its models loaded.

    Raises:
        ConfigError, WeightsError, RunError: as of `Method.load`.
    """
    return find_method(config.method).load(config)
