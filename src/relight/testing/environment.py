"""`TestEnvironment`: workflows under test, in memory, with the real engine and virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, ParamSpec, Self, TypeVar, final

from typing_extensions import TypeVarTuple, Unpack

from relight.errors import RefusedError, RelightError
from relight.sdk._client import Relight
from relight.sdk._description import describe
from relight.sdk._durations import Duration, seconds
from relight.sdk._run import Run
from relight.sdk._step import Step
from relight.sdk._workflow import Runnable, StartOptions, Workflow
from relight.testing.replaying import replay_history
from relight.testing.stage import Stage, StalledError

__all__ = ("TestEnvironment",)

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


@final
class TestEnvironment:
    """Runs workflows in memory, without a server, with the real engine. Use it with `async with`.

    Time is virtual: it moves to the next timer when everything is idle and somebody waits for a run, so that a year of
    sleeps takes milliseconds. Steps really run unless they are faked, and time never skips over one that does.

    Args:
        workflows: What can be started.
        deps: What `step.deps()` gives.
    """

    __test__: ClassVar[bool] = False

    def __init__(self, workflows: Sequence[Workflow[..., Any]], *, deps: object = None) -> None:
        self._stage = Stage(workflows, deps=deps)

    async def __aenter__(self) -> Self:
        await self._stage.__aenter__()
        await self._stage.open_worker()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stage.__aexit__(*error)

    @property
    def client(self) -> Relight:
        """The connection, for what has no short form here: `get_run`, `complete`, `runs`."""
        return self._stage.client

    def fake(self, step: Step[P, R], /) -> Callable[[Callable[P, R | Awaitable[R]]], None]:
        """Let another function run in place of a step: `env.fake(charge_card)(fn)`, or as a decorator.

        It may be async or not; it runs on the test's loop. What it returns is recorded as the step's result would be.
        """

        def put(function: Callable[P, R | Awaitable[R]]) -> None:
            self._stage.fakes[step.name] = function

        return put

    async def start(self, workflow: Runnable[*Ts, R], /, *args: *Ts, **options: Unpack[StartOptions]) -> Run[R]:
        """Start a run, as `Relight.start` does.

        Raises:
            RefusedError: The workflow is not one of this environment's.
        """
        known: object = workflow
        if isinstance(known, Workflow) and known not in self._stage.workflows:
            raise RefusedError(f"{workflow!r} is not in this environment; pass it to TestEnvironment([…])")
        return await self._stage.client.start(workflow, *args, **options)

    async def until(self, run: Run[Any], *, suspended: str) -> None:
        """Let time pass until the run is suspended under this name.

        Raises:
            RelightError: It ended, or waits for something else for ever.
        """
        observer = self._stage.observer

        def is_there() -> bool:
            state = observer.state(run.id)
            return state.end is not None or state.parked is not None or state.open_suspension(suspended) is not None

        try:
            await self._stage.until(is_there)
        except StalledError as stalled:
            raise StalledError(f"run {run.id!r} is never suspended as {suspended!r}: {stalled}") from None
        if observer.state(run.id).open_suspension(suspended) is None:
            described = describe(observer.sight(run.id))
            error = f": {described.last_error}" if described.last_error else ""
            raise RelightError(f"run {run.id!r} is {described.status}, not suspended as {suspended!r}{error}")

    async def sleep(self, duration: Duration) -> None:
        """Let virtual time pass: in a test, and in a fake that is to take its time."""
        await self._stage.sleep(seconds("sleep", duration))

    async def replay(self, run: Run[Any]) -> None:
        """Replay what was recorded of the run so far on today's code; no step runs.

        Raises:
            NonDeterminismError: The code asks for something else than was recorded, or ends otherwise.
            RunNotFoundError: The run is not known.
        """
        await run.describe()
        turns = self._stage.observer.turns(run.id)
        if turns:
            replay_history(self._stage.workflows, run.id, turns)
