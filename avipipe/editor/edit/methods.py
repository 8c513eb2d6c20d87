"""Which editing methods there are, and reading the settings of one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from avipipe import plugins
from avipipe.annotators import registry
from avipipe.config_file import told, validated
from avipipe.editor.edit.config import EditConfig
from avipipe.editor.edit.method import Method
from avipipe.errors import ConfigError

METHODS = {
    "avi_edit": "avipipe.editor.avi_edit.method:AviEdit",
    "flow_anchor": "avipipe.editor.flow_anchor.method:FlowAnchor",
    "audio_scenic": "avipipe.editor.audio_scenic.method:AudioScenic",
    "aved": "avipipe.editor.aved.method:Aved",
}
"""Name -> `module:Class`; imported when it is asked for."""

_DEFAULT = EditConfig.model_fields["method"].default


def load_config(
    path: Path | None,
    overrides: Sequence[str] = (),
    options: Mapping[str, str | None] = MappingProxyType({}),
) -> EditConfig:
    """The settings of a method, from a YAML file, `key=value` texts, and options.

    Args:
        options: name of an option of `avipipe edit` -> its value, if it is given; the settings of
            the method say which key each stands for.
    Raises:
        ConfigError: no such file, method or profile, an unknown key, or a wrong value.
    """
    data = told(path, overrides)
    name = str(data.get("method", _DEFAULT))
    settings = find_method(name).settings
    given = {option: value for option, value in options.items() if value is not None}
    for option in given.keys() - settings.options.keys():
        raise ConfigError(f"{option}: the method {name} has no such setting; leave it out")
    keys = [f"{settings.options[option]}={value}" for option, value in given.items()]
    config = validated(settings, told(path, [*overrides, *keys]), where=path)
    registry.profile(config.profile)
    return config


def find_method(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        ConfigError: there is none of that name.
    """
    found = plugins.load("editing method", name, METHODS)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ConfigError(f"method: expected a class of methods, got {name!r}; see edit/method.py")
    return found


def load_method(config: EditConfig) -> Method:
    """The method that a configuration is of, with its models loaded.

    Raises:
        ConfigError, WeightsError, RunError: as of `Method.load`.
    """
    return find_method(config.method).load(config)
