"""Names that stand for classes: what is loaded, and what is said of a name that is wrong."""

import re
import subprocess
import sys
from fractions import Fraction

import pytest

from avipipe import plugins
from avipipe.annotators.registry import BACKENDS
from avipipe.audio_agent.choose import CHAT_MODELS, TOOLS
from avipipe.errors import ConfigError

TABLE = {"fraction": "fractions:Fraction", "fractal": "nowhere:Fractal"}
TABLES = {**BACKENDS, **{f"agent {role}": table for role, table in TOOLS.items()}}


@pytest.mark.parametrize("name", ["fraction", "fractions:Fraction"])
def test_a_name_or_an_import_string_gives_the_class(name: str) -> None:
    assert plugins.load("number", name, TABLE) is Fraction


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fractio", "no number 'fractio'; did you mean 'fraction' or 'fractal'? (known: fraction,"),
        ("zzz", "no number 'zzz' (known: fraction, fractal; one of your own is given as"),
        ("nowhere:Fractal", "cannot load the number 'nowhere:Fractal': No module named 'nowhere'"),
        ("fractions:Not", "cannot load the number 'fractions:Not'"),
        (":Fraction", "cannot load the number ':Fraction'"),
        ("fractions:", "cannot load the number 'fractions:'"),
    ],
)
def test_a_wrong_name_says_what_to_write(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        plugins.load("number", name, TABLE)


def test_a_package_that_a_name_needs_is_missing_under_its_own_name() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        plugins.load("number", "fractal", TABLE)


@pytest.mark.parametrize("role", [*TABLES, "chat_model"])
def test_every_name_of_every_table_loads(role: str) -> None:
    table = {**TABLES, "chat_model": CHAT_MODELS}[role]
    for name in table:
        assert isinstance(plugins.load(role, name, table), type)


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, avipipe.annotators.registry, avipipe.audio_agent.choose\n"
        "print([m for m in sys.modules if {'light', 'full', 'backends'} & set(m.split('.'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
