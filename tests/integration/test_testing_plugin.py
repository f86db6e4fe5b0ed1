"""The plugin for pytest: what it costs, golden histories, and the examples of the page on testing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).parents[2]

_ASYNCIO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
_WORKFLOW = """
from relight import WorkflowContext, step, workflow

@step
async def price(cents: int) -> int:
    return cents * 2

@workflow
async def order(ctx: WorkflowContext) -> int:
    first = await price(1)
    await ctx.sleep(60)
    return first + await price(2)

async def test_order(relight_environment, relight_golden):
    async with relight_environment([order]) as env:
        run = await env.start(order, id="one")
        await run.result()
        await relight_golden(env, run)
"""


class Pytest(Protocol):
    def __call__(self, *arguments: str) -> str: ...


@pytest.fixture
def run_pytest(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Pytest:
    """Runs the tests in the temporary directory, within this process, and returns what it prints."""
    monkeypatch.chdir(tmp_path)
    # Bytecode is known by its second and its size; a file that is changed twice a second would not be seen.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    others = [f"no:{name}" for name in ("cacheprovider", "random_order", "xdist", "hypothesispytest", "timeout")]

    def run(*arguments: str) -> str:
        options = [option for name in others for option in ("-p", name)]
        made = str(tmp_path.parent)  # Also by the tests before this one, whose modules have the same names.
        for name in [name for name, one in sys.modules.items() if made in str(getattr(one, "__file__", ""))]:
            del sys.modules[name]
        capfd.readouterr()
        pytest.main(["-q", "--import-mode=importlib", *_ASYNCIO, *options, *arguments])
        return capfd.readouterr().out

    return run


def test_the_examples_of_the_page_pass(tmp_path: Path, run_pytest: Pytest) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL)
    (tmp_path / "test_page.py").write_text("\n\n".join(blocks))

    said = run_pytest("--relight-update")

    assert f"{len(blocks) - 1} passed" in said, said


def test_a_golden_history_holds_until_the_workflow_records_something_else(tmp_path: Path, run_pytest: Pytest) -> None:
    (tmp_path / "test_order.py").write_text(_WORKFLOW)
    assert "1 passed" in run_pytest("--relight-update")
    (tmp_path / "test_order.py").write_text(f"\n\n{_WORKFLOW}")
    assert "1 passed" in run_pytest()  # Lines have moved; that is no change.

    (tmp_path / "test_order.py").write_text(_WORKFLOW.replace("cents * 2", "cents * 3"))
    changed = run_pytest()
    (tmp_path / "test_order.py").write_text(_WORKFLOW.replace("price(2)", "price(5)"))
    stuck = run_pytest()

    assert [one.name for one in tmp_path.glob("golden_histories/*")] == ["test_order.test_order.one.jsonl"]
    assert re.search(r'-kind="StepCompleted" step="price#1" result=2\n', changed)
    assert re.search(r'\+kind="StepCompleted" step="price#1" result=3\n', changed)
    assert "pytest --relight-update records it anew" in changed
    assert re.search(r"NonDeterminismError.*recorded step price#2 with arguments", stuck)


def test_loading_the_plugin_loads_no_engine() -> None:
    heavy = ["relight.sdk", "relight.actors", "pydantic", "nats", "structlog"]
    code = f"""
import pytest, sys
import relight.testing.pytest_plugin
print([one for one in {heavy} if one in sys.modules])"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_without_a_golden_history_the_test_fails_and_says_how_to_record_one(tmp_path: Path, run_pytest: Pytest) -> None:
    (tmp_path / "test_order.py").write_text(_WORKFLOW)

    said = run_pytest()

    assert "1 failed" in said
    assert "there is no golden history" in said
    assert "pytest --relight-update records it" in said


_TWINS = f"""{_WORKFLOW}
import pytest

class TestCheap:
    async def test_it(self, relight_environment, relight_golden):
        await test_order(relight_environment, relight_golden)

class TestDear:
    async def test_it(self, relight_environment, relight_golden):
        await test_order(relight_environment, relight_golden)

@pytest.mark.parametrize("number", [1, 2, 3], ids=["a/b", "a b", "a-b"])
async def test_like_others(number, relight_environment, relight_golden):
    await test_order(relight_environment, relight_golden)
"""


def test_each_test_has_a_golden_history_of_its_own(tmp_path: Path, run_pytest: Pytest) -> None:
    (tmp_path / "test_order.py").write_text(_TWINS)

    assert "6 passed" in run_pytest("--relight-update")

    names = {one.name for one in tmp_path.glob("golden_histories/*")}
    assert len(names) == 6
    assert {"test_order.TestCheap.test_it.one.jsonl", "test_order.test_like_others-a-b-.one.jsonl"} <= names
    assert "6 passed" in run_pytest()


_LARGE = _WORKFLOW.replace("price(1)", "longest(70_000)").replace("first + await", "len(first) + await").replace(
    "@workflow", """@step
async def longest(length: int) -> str:
    return "x" * length

@workflow"""
)  # fmt: skip


def test_a_golden_history_has_its_large_values_in_it(tmp_path: Path, run_pytest: Pytest) -> None:
    (tmp_path / "test_order.py").write_text(_LARGE)

    assert "1 passed" in run_pytest("--relight-update")

    assert "1 passed" in run_pytest()
    (golden,) = tmp_path.glob("golden_histories/*")
    assert "x" * 70_000 in golden.read_text()


def test_environments_can_be_made_by_fixtures_of_any_scope(tmp_path: Path, run_pytest: Pytest) -> None:
    (tmp_path / "test_order.py").write_text(f"""{_WORKFLOW}
import pytest

@pytest.fixture(scope="module")
def make(relight_environment):
    return relight_environment

async def test_made(make):
    async with make([order]) as env:
        assert await (await env.start(order)).result() == 6
""")

    assert "2 passed" in run_pytest("--relight-update")
