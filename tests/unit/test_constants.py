"""A number that decides something says what it is, in which unit, and why it has this value.

Held where such numbers are: what is kept, cut, masked and measured. The weights of the decision are
fitted, and `services`, `weights`, `cli`, `pages` and `synth` decide nothing of a dataset.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "avipipe"

FOLDERS = (
    *("annotators", "stages", "media", "editor", "audio_agent"),
    *("manifests", "pipeline", "calibrate", "evaluate"),
)
"""The folders that are held to it."""

SELF_EVIDENT = (
    r"_?(\w+_)?FPS",  # frames in a second
    r"_?(\w+_)?RATE_HZ",  # samples in a second
    r"_?\w+_RGB",  # the colour of what is drawn
    r"_?(\w+_)?(TIMEOUT|POLL)_S",  # how long something is waited for
    r"_?(\w+_)?VERSION",
    r"_?(BLOCK|CHUNK)_BYTES",  # how much is read at a time
    r"GIB",
    r"WHOLE",  # the box around all
)
"""Names that say all there is to say; add none that could be asked "why this value?"."""


def unexplained(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each constant of a module with a number, but without words.

    Words are a docstring below, or a comment above it or in it. A comment above several that
    stand together, without a blank line or a docstring between, is for all of them.
    """
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    lines = {comment.start[0] for comment in comments}
    whole_lines = {comment.start[0] for comment in comments if comment.line.startswith("#")}
    end, is_told = 0, False
    for node, following in pairwise([*ast.parse(source).body, ast.Pass()]):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            goes_on = is_told and end == node.lineno - 1
            is_told = goes_on or node.lineno - 1 in whole_lines
            within = lines.intersection(range(node.lineno, (node.end_lineno or 0) + 1))
            names = [name for name in _names(node) if not _is_self_evident(name)]
            if _has_number(node.value) and not (is_told or within or _is_docstring(following)):
                yield from ((node.lineno, name) for name in names)
            end = node.end_lineno or 0


def _names(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Iterator[str]:
    if isinstance(node, ast.AugAssign):  # goes on with a constant that was told already
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        for part in ast.walk(target):
            if isinstance(part, ast.Name) and part.id.isupper():
                yield part.id


def _is_self_evident(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in SELF_EVIDENT)


def _has_number(value: ast.expr | None) -> bool:
    constants = (part for part in ast.walk(value or ast.Pass()) if isinstance(part, ast.Constant))
    return any(type(constant.value) in (int, float) for constant in constants)


def _is_docstring(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


def test_every_constant_says_what_it_is_and_why() -> None:
    silent = [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for folder in FOLDERS
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for line, name in unexplained(path.read_text(encoding="utf-8"))
    ]
    assert not silent, "add unit and reason, in a docstring below or a comment above: " + str(
        silent
    )


def test_a_silent_constant_is_found_beside_others_that_are_told() -> None:
    source = (
        "_A = 1\n_B = 2\n'''Told.'''\n_C = 3\n\n"
        "# Both of them.\n_D = 4\n_E = 5\n\n_F = 6\n_G = '# 7', 7\n"
        "_H = 8  # told\nNAME = 'nine'\n_RATE_HZ = 10\n_I, _J = 11, 12\n"
    )
    assert [name for _, name in unexplained(source)] == ["_A", "_C", "_F", "_G", "_I", "_J"]


def test_no_self_evident_pattern_is_left_over() -> None:
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    for pattern in SELF_EVIDENT:
        assert any(re.search(rf"^{pattern}\b.* = ", source, re.M) for source in sources), pattern
