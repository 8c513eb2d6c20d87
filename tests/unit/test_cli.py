"""Every command has help with an example, and stands in the README."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from avipipe.cli import COMMANDS, cli, main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert re.search(rf"Examples?:\s+avipipe {name}", result.output)


@pytest.mark.parametrize("name", COMMANDS)
def test_readme_names_it(name: str) -> None:
    assert f"`{name}`" in README


def test_the_list_of_commands_says_what_they_do() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    assert all(name in output for name in COMMANDS)


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bild"])
    assert caught.value.code == 2
    assert "bild" in capsys.readouterr().err


def test_an_expected_error_is_one_message_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["status", "--out", str(tmp_path)])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert "holds no dataset" in message
    assert "Traceback" not in message
