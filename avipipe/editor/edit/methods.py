"""Which editing methods there are, and reading the settings of one."""

from collections.abc import Sequence
from pathlib import Path

from avipipe import plugins
from avipipe.annotators import registry
from avipipe.config_file import told, validated
from avipipe.editor.edit.config import EditConfig
from avipipe.editor.edit.method import Method

METHODS = {"avi_edit": "avipipe.editor.avi_edit.method:AviEdit"}
"""Name -> `module:Class`; imported when it is asked for."""

_DEFAULT = EditConfig.model_fields["method"].default


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> EditConfig:
    """The settings of a method, from a YAML file and `key=value` texts.

    Raises:
        ConfigError: no such file, method or profile, an unknown key, or a wrong value.
    """
    data = told(path, overrides)
    config = validated(find_method(str(data.get("method", _DEFAULT))).settings, data, where=path)
    registry.profile(config.profile)
    return config


def find_method(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        ConfigError: there is none of that name.
    """
    found: type[Method] = plugins.load("editing method", name, METHODS)
    return found


def load_method(config: EditConfig) -> Method:
    """The method that a configuration is of, with its models loaded.

    Raises:
        ConfigError, WeightsError, RunError: as of `Method.load`.
    """
    return find_method(config.method).load(config)
