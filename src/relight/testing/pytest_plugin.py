"""The plugin for pytest: fixtures `relight_environment` and `relight_golden`, option `--relight-update`.

Pytest loads it wherever Relight is installed, so it imports nothing of Relight until a fixture is used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from hashlib import sha256
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


@pytest.fixture(scope="session")
def relight_environment() -> MakeEnvironment:
    """`async with relight_environment([process_order], deps=…) as env:` is a `TestEnvironment`, checked at its end.

    When the block is left without an error, the history of each run in it must replay on the code as it is.
    """
    return _checked_environment


@pytest.fixture
def relight_golden(request: pytest.FixtureRequest) -> GoldenCheck:
    """`await relight_golden(env, run)` compares what the run has recorded with the golden history of this test.

    It lies in `golden_histories/` beside the test's file, named after file, test and run (with a short digest if the
    test's parameters have characters that do not go into a file's name), and belongs into version control;
    `pytest --relight-update` writes it. It must replay on today's code, and today's run must record the same:
    arguments, results, waits and errors in the same order. Times, places and seeds do not count.
    """
    folder = request.path.parent / _FOLDER
    classes = [one.name for one in request.node.listchain() if isinstance(one, pytest.Class)]
    updates = bool(request.config.getoption("--relight-update"))
    return partial(_check, folder / f"{request.path.stem}.{_named('.'.join([*classes, request.node.name]))}", updates)


def _named(test: str) -> str:
    """A name for each test: what parametrization puts between brackets may be anything."""
    function, bracket, parameters = test.partition("[")
    parameters = parameters.removesuffix("]")
    plain = "".join(one if one.isalnum() or one in "_-." else "-" for one in parameters)
    digest = "" if plain == parameters else sha256(test.encode()).hexdigest()[:8]
    return f"{function}-{plain}-{digest}" if bracket else function


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
    from relight.testing.replaying import with_values

    values = environment._stage.observer.values(run.id)  # pyright: ignore[reportPrivateUsage]  # ours
    history = with_values(history_of([record async for record in run.history()]), values)
    file = prefix.with_name(f"{prefix.name}.{run.id}.jsonl")
    check_golden(history, file, workflows=environment.workflows, updates=updates)
