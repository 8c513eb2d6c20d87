"""What the documents say of the code is true: rooms, imports, links."""

import re
from pathlib import Path

import pytest

from tests.unit.test_imports import BELOW

ROOT = Path(__file__).parents[2]
ROOMS = sorted(
    path.name for path in (ROOT / "avipipe").iterdir() if path.is_dir() and any(path.rglob("*.py"))
)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/**/*.md")])


def rooms_told(text: str) -> list[str]:
    """The folders that the tree of `avipipe/` in a document shows."""
    tree = text.split("```\navipipe/\n")[1].split("```")[0]
    return re.findall(r"^  (\w+)/", tree, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md"])
def test_the_tree_shows_every_room(name: str) -> None:
    assert sorted(rooms_told((ROOT / name).read_text())) == ROOMS


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_import_rule_names_every_part(name: str) -> None:
    rule = next(part for part in (ROOT / name).read_text().split("```") if "text <-" in part)
    assert set(re.findall(r"\w+", rule)) == set(BELOW)
    levels = [set(re.findall(r"\w+", level)) for level in rule.split("audio_agent")[0].split("<-")]
    for number, level in enumerate(levels):
        for part in level & BELOW.keys():
            above = set().union(*levels[number + 1 :])
            assert not BELOW[part] & above, f"{part} may import what the rule has above it"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_recipes_name_files_that_are_there() -> None:
    recipes = (ROOT / "CONTRIBUTING.md").read_text().split("## Recipes")[1].split("\n## ")[0]
    named = re.findall(
        r"`((?:tests|avipipe|bench)/[\w/]+\.py|[a-z_]+/[a-z_/]+\.(?:py|yaml))`", recipes
    )
    assert len(named) >= 10
    for name in named:
        assert (ROOT / name).is_file() or (ROOT / "avipipe" / name).is_file(), name
