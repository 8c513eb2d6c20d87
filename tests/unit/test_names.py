"""One name for one thing: no two public classes of avipipe share a name."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "avipipe"


def homes() -> dict[str, list[str]]:
    """Public class -> the files that define one of this name."""
    found = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(PACKAGE)))
    return found


def test_no_two_public_classes_share_a_name() -> None:
    assert {name: files for name, files in homes().items() if len(files) > 1} == {}
