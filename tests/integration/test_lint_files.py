"""The linter on files: the project's own examples, the command, and the function for tests."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.integration.cli_process import Terminal

from relight.errors import RefusedError
from relight.lint import lint_sources
from relight.testing import Finding, lint

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    *sorted(ROOT.glob("examples/*.py")),
    ROOT / "examples/demo/shop.py",
    ROOT / "tests/crash/workflows.py",
    ROOT / "tests/integration/cli_app.py",
]

WRONG = """
from prices import total
from relight import WorkflowContext, workflow


@workflow
async def order(ctx: WorkflowContext, cents: int) -> float:
    return total(cents)
"""
PRICES = "import random\n\n\ndef total(cents):\n    return cents + random.random()\n"
RIGHT = WRONG.replace("total(cents)", "cents + ctx.random.random()").replace("from prices import total\n", "")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    tmp_path.joinpath("app.py").write_text(WRONG)
    tmp_path.joinpath("prices.py").write_text(PRICES)
    tmp_path.joinpath("right.py").write_text(RIGHT)
    return tmp_path / "app.py"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_have_workflows_in_which_nothing_is_found(path: Path) -> None:
    report = lint_sources([str(path)])

    assert report.workflows
    assert report.findings == ()


def test_the_function_for_tests_takes_paths_and_modules(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(app.parent)

    found = lint("app.py")

    assert found == lint(app) == lint("app") == lint("right.py", app)
    assert [(one.path, one.line, one.rule) for one in found] == [("prices.py", 5, "random")]
    assert isinstance(found[0], Finding)
    assert lint("right.py") == ()


def test_a_module_that_was_imported_is_linted_by_its_file() -> None:
    module = importlib.import_module("tests.crash.workflows")

    assert lint(module) == ()
    with pytest.raises(RefusedError, match="has no file"):
        lint(ModuleType("made"))


def test_the_code_is_not_run(tmp_path: Path) -> None:
    tmp_path.joinpath("ends.py").write_text(f"import sys\n\nsys.exit(1)\n{RIGHT}")

    assert lint(tmp_path / "ends.py") == ()
    assert "ends" not in sys.modules


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("missing.py", None, "is no file"),
        ("missing", None, "no file or module 'missing'"),
        ("empty.py", "x = 1", "no workflow"),
        ("broken.py", "x =\n", r"broken\.py:1: invalid syntax"),
        ("binary.py", "# coding: no-such\n", "can't be read as Python"),
    ],
)
def test_what_can_not_be_looked_through_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if code is not None:
        tmp_path.joinpath(name).write_text(code)

    with pytest.raises(RefusedError, match=said):
        lint(name)


def test_imports_are_found_from_the_root_of_the_project(tmp_path: Path) -> None:
    package = tmp_path / "src/company/shop"
    package.mkdir(parents=True)
    tmp_path.joinpath("pyproject.toml").touch()
    package.joinpath("app.py").write_text(WRONG.replace("prices", "company.shop.prices"))
    package.joinpath("prices.py").write_text(PRICES)

    (found,) = lint(package / "app.py")

    assert found.rule == "random"
    assert found.path.endswith("src/company/shop/prices.py")


def test_what_lies_above_a_directory_without_a_project_is_outside(tmp_path: Path) -> None:
    tmp_path.joinpath("apps").mkdir()
    tmp_path.joinpath("apps/app.py").write_text(WRONG)
    tmp_path.joinpath("prices.py").write_text(PRICES)

    assert lint(tmp_path / "apps/app.py") == ()


async def test_the_command_names_place_remedy_and_way_and_ends_with_1(app: Path) -> None:
    answer = await Terminal(app.parent, {}).run("lint", "app.py")

    assert answer.code == 1
    assert answer.err == "1 finding; 1 workflow looked through\n"
    assert answer.out.splitlines() == [
        "prices.py:5:20: random: random.random() gives something else in each replay",
        "    → use ctx.random; make secrets in a @step",
        "    in order (app.py:8) → total",
    ]


async def test_the_command_gives_findings_as_json(app: Path) -> None:
    answer = await Terminal(app.parent, {}).run("lint", "app", "right.py", "--json")

    assert answer.code == 1
    assert json.loads(answer.out) == {
        "path": "prices.py",
        "line": 5,
        "column": 20,
        "rule": "random",
        "message": "random.random() gives something else in each replay",
        "remedy": "use ctx.random; make secrets in a @step",
        "function": "total",
        "callers": [{"function": "order", "path": "app.py", "line": 8}],
    }
    assert answer.err == "1 finding; 2 workflows looked through\n"


async def test_the_command_says_that_nothing_was_found(app: Path) -> None:
    terminal = Terminal(app.parent, {})

    person = await terminal.run("lint", "right.py")
    machine = await terminal.run("lint", "right.py", "--json")

    assert (person.code, person.out, person.err) == (0, "ok: nothing found; 1 workflow looked through\n", "")
    assert (machine.code, machine.out, machine.err) == (0, "", "")


@pytest.mark.parametrize(("words", "code"), [(("missing.py",), 1), (("prices.py",), 1), ((), 2)])
async def test_the_command_refuses_what_it_can_not_look_through(app: Path, words: tuple[str, ...], code: int) -> None:
    answer = await Terminal(app.parent, {}).run("lint", *words)

    assert answer.code == code
    assert answer.out == ""
    assert "Traceback" not in answer.err
