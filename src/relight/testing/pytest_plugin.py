"""The plugin for pytest: fixtures `relight_environment` and `relight_golden`, option `--relight-update`.

Pytest loads it wherever Relight is installed, so it imports nothing of Relight until a fixture is used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import pytest

if TYPE_CHECKING:
    from relight.sdk._known_secrets import SecretProvider
    from relight.sdk._run import Run
    from relight.sdk._workflow import Workflow
    from relight.testing.environment import TestEnvironment

__all__ = ("GoldenCheck", "MakeEnvironment", "pytest_addoption", "relight_environment", "relight_golden")

_FOLDER = "golden_histories"


class MakeEnvironment(Protocol):
    """What the fixture `relight_environment` is: `TestEnvironment`, with a check at its end."""

    def __call__(
        self, workflows: Sequence[Workflow[..., Any]], *, deps: object = None, secrets: SecretProvider | None = None
    ) -> AbstractAsyncContextManager[TestEnvironment]: ...


GoldenCheck: TypeAlias = "Callable[[TestEnvironment, Run[Any]], Awaitable[None]]"
"""What the fixture `relight_golden` is."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("relight")
    group.addoption("--relight-update", action="store_true", help="record golden histories of workflows anew")


@pytest.fixture
def relight_environment() -> MakeEnvironment:
    """`async with relight_environment([process_order], deps=…) as env:` is a `TestEnvironment`, checked at its end.

    When the block is left without an error, the history of each run in it must replay on the code as it is.
    """
    return _checked_environment


@pytest.fixture
def relight_golden(request: pytest.FixtureRequest) -> GoldenCheck:
    """`await relight_golden(env, run)` compares what the run has recorded with the golden history of this test.

    It lies in `golden_histories/` beside the test's file, named after file, test and run, and belongs into version
    control; `pytest --relight-update` writes it. It must replay on today's code, and today's run must record the same:
    arguments, results, waits and errors in the same order. Times, places and seeds do not count.
    """
    folder = request.path.parent / _FOLDER
    test = "".join(one if one.isalnum() or one in "_-." else "-" for one in request.node.name)
    updates = bool(request.config.getoption("--relight-update"))
    return partial(_check, folder / f"{request.path.stem}.{test}", updates)


@asynccontextmanager
async def _checked_environment(
    workflows: Sequence[Workflow[..., Any]], *, deps: object = None, secrets: SecretProvider | None = None
) -> AsyncGenerator[TestEnvironment]:
    from relight.testing.environment import TestEnvironment

    async with TestEnvironment(workflows, deps=deps, secrets=secrets) as environment:
        yield environment
        async for run in environment.client.runs():
            await environment.replay(run)


async def _check(prefix: Path, updates: bool, environment: TestEnvironment, run: Run[Any]) -> None:
    from relight.sdk._history import history_of
    from relight.testing.golden import check_golden

    history = history_of([record async for record in run.history()])
    file = prefix.with_name(f"{prefix.name}.{run.id}.jsonl")
    check_golden(history, file, workflows=environment.workflows, updates=updates)
