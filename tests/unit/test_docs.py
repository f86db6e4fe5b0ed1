"""The pages beside the protocol name what exists: lines, tests, words, packages."""

from __future__ import annotations

import re
import tomllib
import typing
from pathlib import Path

import msgspec
import pytest
from tests.sabotage import ROOT, Row, rows, sabotaged

from relight.subjects import messages, records

PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def has_test(id: str) -> bool:
    """Whether `folder/file.py::name`, or `folder/file.py`, exists below `tests`."""
    file, _, name = id.partition("::")
    path = ROOT / "tests" / file
    return path.is_file() and (not name or f"def {name}(" in path.read_text())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.guarantee)
def test_a_guarantee_names_a_line_that_stands_once_and_a_test_that_exists(row: Row) -> None:
    source = (ROOT / "src/relight" / row.file).read_text()

    compile(sabotaged(row, source), row.file, "exec")

    assert has_test(row.test)


def test_a_line_that_spans_a_break_is_replaced_with_its_indentation() -> None:
    row = Row("", "", "b = 1⏎return b", "b = 2⏎return b", "")

    assert sabotaged(row, "def a():\n    b = 1\n    return b\n") == "def a():\n    b = 2\n    return b\n"


def test_a_line_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 times"):
        sabotaged(Row("", "", "pass", "return", ""), "pass\npass\n")


def test_the_architecture_names_tests_that_exist() -> None:
    named = re.findall(r"`((?:tests/\w+/)?test_\w+\.py(?:::\w+)?)`", page("architecture.md"))

    missing = [id for id in named if not has_test(id.removeprefix("tests/") if "/" in id else f"crash/{id}")]

    assert named
    assert missing == []


def test_the_architecture_names_functions_that_exist() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src/relight").rglob("*.py"))
    named = re.findall(r"`([A-Z]\w+)\.(\w+)`", page("architecture.md"))

    missing = [
        f"{kind}.{name}"
        for kind, name in named
        if not re.search(rf"class {kind}\b", source) or f"def {name}(" not in source
    ]

    assert named
    assert missing == []


def test_the_glossary_has_the_words_of_the_protocol() -> None:
    words = " ".join(re.findall(r"\w+", page("glossary.md").lower()))
    kinds: tuple[type[msgspec.Struct], ...] = (
        *typing.get_args(records.Record),
        *typing.get_args(messages.Wake),
        messages.Start,
    )
    nouns = {re.findall(r"[A-Z][a-z]+", kind.__name__)[0].lower() for kind in kinds}

    assert sorted(noun for noun in nouns if noun[:6] not in words) == []


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [one for extra in project["project"]["optional-dependencies"].values() for one in extra]
    dependencies = [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"]]
    names = {re.split(r"[^\w-]", one)[0] for one in dependencies}

    assert set(re.findall(r"^\| `([\w-]+)` \|", page("dependencies.md"), re.MULTILINE)) == names


def test_every_folder_of_tests_has_its_line_and_no_other() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    named = re.findall(r"^\| `tests/(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)

    assert sorted(named) == sorted(folders)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_link_leads_to_a_page(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []
