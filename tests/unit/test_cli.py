"""Every command has help with an example, and stands in the README."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.table import Table

import avipipe.cli
from avipipe.cli import COMMANDS, cli, main
from avipipe.cli.output import cell, echo, echo_json

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


def test_only_one_file_prints_what_comes_from_outside() -> None:
    folder = Path(avipipe.cli.__file__).parent
    printing = re.compile(r"(?<![.\w])print\(|click\.s?echo|click\.style|sys\.stdout")
    printers = {path.name for path in folder.glob("*.py") if printing.search(path.read_text())}
    assert printers == {"output.py", "__init__.py"}


def test_a_terminal_obeys_nothing_from_outside(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "a\x1b]0;title\x07\x9b2J\rb [red]c[/] https://u:p@h/x?token=t\n\ud800"
    echo(nasty, err=True)
    echo_json({"a": nasty})
    shown = r"a\x1b]0;title\x07\x9b2J\x0db [red]c[/] https://h/x" + "\n" + r"\ud800"
    out, err = capsys.readouterr()
    assert err == f"{shown}\n"
    assert out.isascii()
    assert not {"\x1b", "\x07", "\r"} & set(out)
    table = Table(show_header=False, box=None)
    table.add_row(cell(nasty))
    Console(width=200, force_terminal=True).print(table)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == shown.splitlines()


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
