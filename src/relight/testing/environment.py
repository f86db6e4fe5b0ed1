"""`TestEnvironment`: workflows under test, in memory, with the real engine and virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, ParamSpec, Self, TypeVar, cast, final, overload

from typing_extensions import TypeVarTuple, Unpack

from relight.errors import RefusedError, RelightError
from relight.sdk._client import Relight
from relight.sdk._description import describe
from relight.sdk._durations import Duration, seconds
from relight.sdk._known_secrets import SecretProvider
from relight.sdk._run import Run
from relight.sdk._step import Step
from relight.sdk._workflow import Runnable, StartOptions, Workflow
from relight.testing.person import FOR_A_PERSON
from relight.testing.promises import Executions
from relight.testing.replaying import replay_history
from relight.testing.schedule import Schedule, Weather
from relight.testing.simulation import SimulationReport, simulated
from relight.testing.stage import Stage, StalledError

__all__ = ("TestEnvironment",)

_DISTURBED = Weather(reordered=0.75, doubled=0.3)

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


@final
class TestEnvironment:
    """Runs workflows in memory, without a server, with the real engine. Use it with `async with`.

    Time is virtual: it moves to the next timer when everything is idle and somebody waits for a run, so that a year of
    sleeps takes milliseconds. Steps really run unless they are faked, and time never skips over one that does: one that
    itself waits for a run that sleeps never ends, so fake it. Time-outs of the client, as in `run.result(timeout=5)`,
    are of real time.

    Args:
        workflows: What can be started.
        deps: What `step.deps()` gives.
        secrets: Returns the value of a `Secret` by its name: `{"stripe_key": "sk_test_1"}.get`, for example.
    """

    __test__: ClassVar[bool] = False

    def __init__(
        self, workflows: Sequence[Workflow[..., Any]], *, deps: object = None, secrets: SecretProvider | None = None
    ) -> None:
        self._deps = deps
        self._secrets = secrets
        self._is_simulated = False
        self._stage = Stage(workflows, deps=deps, secrets=secrets)

    @classmethod
    def _on(cls, stage: Stage) -> TestEnvironment:
        """The environment of one play: its stage is opened, and has workers, already."""
        environment = cls(stage.workflows)
        environment._stage = stage
        environment._is_simulated = True
        return environment

    async def __aenter__(self) -> Self:
        await self._stage.__aenter__()
        await self._stage.open_worker()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stage.__aexit__(*error)

    @property
    def workflows(self) -> tuple[Workflow[..., Any], ...]:
        """What can be started."""
        return self._stage.workflows

    @property
    def client(self) -> Relight:
        """The connection, for what has no short form here: `get_run`, `complete`, `runs`."""
        return self._stage.client

    @overload
    def fake(self, step: Step[P, R], /) -> Callable[[Callable[P, R | Awaitable[R]]], None]: ...
    @overload
    def fake(self, step: str, /) -> Callable[[Callable[..., Any]], None]: ...
    def fake(self, step: Step[Any, Any] | str, /) -> Callable[[Callable[..., Any]], None]:
        """Let another function run in place of a step: `env.fake(charge_card)(fn)`, or as a decorator.

        It may be async or not; it runs on the test's loop. What it returns is recorded as the step's result would be.
        A step that can't be imported, or was given its name by `ctx.step`, is named: `env.fake("charge_card")(fn)`.
        """
        name = step if isinstance(step, str) else step.name

        def put(function: Callable[..., Any]) -> None:
            self._stage.fakes[name] = function

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
            return state.end is not None or self._is_parked(run) or state.open_suspension(suspended) is not None

        try:
            await self._stage.until(is_there)
        except StalledError as stalled:
            raise StalledError(f"run {run.id!r} is never suspended as {suspended!r}: {stalled}") from None
        if observer.state(run.id).open_suspension(suspended) is None:
            described = describe(observer.sight(run.id))
            error = f": {described.last_error}" if described.last_error else ""
            raise RelightError(f"run {run.id!r} is {described.status}, not suspended as {suspended!r}{error}")

    async def skip(self, duration: Duration) -> None:
        """Let virtual time pass, and return when everything has happened that was due by then."""
        await self._stage.skip(seconds("skip", duration))

    async def sleep(self, duration: Duration) -> None:
        """Take so long, in virtual time: for a fake that is to be slow."""
        await self._stage.sleep(seconds("sleep", duration))

    def disturb(self, seed: int = 0) -> None:
        """From now on messages overtake each other, and deliveries come twice or late, as the seed says.

        Nothing is lost and no worker dies; `simulate` does that, too.
        """
        self._stage.follow(Schedule(seed, _DISTURBED))

    @overload
    async def simulate(
        self, scenario: Callable[[TestEnvironment], Awaitable[object]], /, *, seeds: int | Iterable[int] = 1000
    ) -> SimulationReport: ...
    @overload
    async def simulate(
        self, workflow: Runnable[*Ts, Any], /, *args: *Ts, seeds: int | Iterable[int] = 1000
    ) -> SimulationReport: ...
    # mypy can't compare an implementation with a TypeVarTuple overload; pyright can.
    async def simulate(  # type: ignore[misc]
        self, scenario: Any, /, *args: Any, seeds: int | Iterable[int] = 1000
    ) -> SimulationReport:
        """Play a scenario again and again while messages are lost, late, doubled and reordered, and workers die.

        Each play has an environment of its own with the workflows, dependencies and fakes of this one, which need not
        be open. A seed is a schedule: when the workers stop or die, how each message travels, which writes have an
        outcome that nobody learns. Each time the scenario must return what it returns undisturbed, its runs must end
        alike, no step may begin after its outcome was recorded, each history must replay, the chain must hold, and
        every unfinished run must have a cause that will wake it. Steps may run more than once, as after any crash; an
        `unsafe` one does so only because a person, whom the simulation plays, says so.

        Args:
            scenario: An async function of a `TestEnvironment`; or a workflow, whose result is awaited. What it counts
                belongs inside it, for it is played thousands of times; and what it does must not depend on chance or on
                how fast anything is.
            args: Of the workflow.
            seeds: How many, or which.

        Raises:
            SimulationFailure: A promise did not hold, or the scenario did something else or raised. It says the seed,
                and the shortest schedule found.
            Exception: What the scenario raises undisturbed.
        """
        play = _of_workflow(cast("Workflow[..., Any]", scenario), args) if isinstance(scenario, Workflow) else scenario
        chosen = range(seeds) if isinstance(seeds, int) else list(seeds)

        def make(executions: Executions, schedule: Schedule) -> Stage:
            stage = Stage(
                self._stage.workflows,
                deps=self._deps,
                interceptors=[executions],
                schedule=schedule,
                secrets=self._secrets,
            )
            stage.fakes.update(self._stage.fakes)
            return stage

        return await simulated(make, lambda stage: play(TestEnvironment._on(stage)), chosen)

    async def replay(self, run: Run[Any]) -> None:
        """Replay what was recorded of the run so far on today's code; no step runs.

        Raises:
            NonDeterminismError: The code asks for something else than was recorded, or ends otherwise.
            RunNotFoundError: The run is not known.
        """
        await run.describe()
        turns = self._stage.observer.turns(run.id)
        if turns:
            replay_history(self._stage.workflows, run.id, turns, self._stage.observer.values(run.id))

    def _is_parked(self, run: Run[Any]) -> bool:
        """Whether a run can't go on by itself; in a simulation somebody sees to what only a crash can bring about."""
        parked = self._stage.observer.state(run.id).parked
        return parked is not None and not (self._is_simulated and parked.reason in FOR_A_PERSON)


def _of_workflow(workflow: Workflow[..., Any], args: tuple[Any, ...]) -> Callable[[TestEnvironment], Awaitable[object]]:
    async def scenario(environment: TestEnvironment) -> object:
        run: Run[Any] = await environment.start(cast("Any", workflow), *args)
        return await run.result()

    return scenario
