"""Random programs of concurrent tasks over futures that are resolved in random order replay exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
from hypothesis import example, given
from hypothesis import strategies as st

from relight.sdk._loop import RunLoop

FUTURES = 6

Program = tuple[str, Any]

leaves = st.one_of(
    st.tuples(st.just("await"), st.integers(0, FUTURES - 1)),
    st.tuples(st.just("yield"), st.integers(0, 3)),
    st.tuples(st.just("sleep"), st.integers(1, 5)),
    st.tuples(st.just("fail"), st.none()),
)


def grow(children: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    several = st.lists(children, min_size=1, max_size=4)
    kinds = ["sequence", "gather", "group", "race", "anyio", "timeout", "move_on", "shield", "catch", "cancel"]
    return st.tuples(st.sampled_from(kinds), several)


programs = st.recursive(leaves, grow, max_leaves=20)
schedules = st.lists(st.integers(0, 2 * FUTURES - 1), max_size=25)


class Play:
    """One run of a program."""

    def __init__(self) -> None:
        self.trace: list[str] = []
        self.timers: list[int] = []
        self.loop = RunLoop(arm=self.arm, disarm=self.disarm, callbacks_max=20_000, seed=7)
        self.futures = [self.loop.create_future() for _ in range(FUTURES)]

    def arm(self, number: int, due: float) -> None:
        self.timers.append(number)
        self.trace.append(f"arm {number} {due}")

    def disarm(self, number: int) -> None:
        self.timers.remove(number)
        self.trace.append(f"disarm {number}")

    async def run(self, program: Program, path: str) -> None:
        self.trace.append(f"{path} begins")
        try:
            await self.act(program, path)
        except BaseException as error:
            self.trace.append(f"{path} {type(error).__name__}")
            raise
        self.trace.append(f"{path} ends")

    async def act(self, program: Program, path: str) -> None:
        match program:
            case "await", int(index):
                await asyncio.shield(self.futures[index])
            case "yield", int(times):
                for _ in range(times):
                    await asyncio.sleep(0)
            case "sleep", int(seconds):
                await asyncio.sleep(seconds)
            case "fail", None:
                raise ValueError
            case str(kind), children:
                await self.act_together(kind, [(one, f"{path}.{index}") for index, one in enumerate(children)])

    async def act_together(self, kind: str, children: Sequence[tuple[Program, str]]) -> None:
        match kind:
            case "gather":
                await asyncio.gather(*(self.run(*one) for one in children))
            case "group":
                async with asyncio.TaskGroup() as group:
                    for one in children:
                        group.create_task(self.run(*one))
            case "anyio":
                async with anyio.create_task_group() as tasks:
                    for one in children:
                        tasks.start_soon(self.run, *one)
            case "race":
                await self.race(children)
            case "timeout":
                async with asyncio.timeout(3):
                    await self.in_turn(children)
            case "move_on":
                with anyio.move_on_after(2):
                    await self.in_turn(children)
            case "shield":
                with anyio.CancelScope(shield=True):
                    await self.in_turn(children)
            case "cancel":
                with anyio.CancelScope() as scope:
                    self.loop.call_soon(scope.cancel)
                    await self.in_turn(children)
            case "catch":
                try:
                    await self.in_turn(children)
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
                    self.trace.append(f"caught {type(error).__name__}")
            case _:
                await self.in_turn(children)

    async def in_turn(self, children: Sequence[tuple[Program, str]]) -> None:
        for one in children:
            await self.run(*one)

    async def race(self, children: Sequence[tuple[Program, str]]) -> None:
        tasks = [asyncio.create_task(self.run(*one)) for one in children]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.trace.extend(task.get_name() for task in done)
        for task in pending:
            self.trace.append(task.get_name())
            task.cancel()

    def feed(self, what: int) -> None:
        if what < FUTURES:
            if not self.futures[what].done():
                self.futures[what].set_result(None)
        elif self.timers:
            self.loop.fire(self.timers.pop((what - FUTURES) % len(self.timers)))

    def play(self, program: Program, schedule: Sequence[int]) -> list[str]:
        self.loop.create_task(self.run(program, "0"))
        self.loop.run_until_blocked()
        for what in schedule:
            self.feed(what)
            self.loop.run_until_blocked()
            self.loop.run_until_blocked()
            self.trace.append("blocked")
        self.loop.close()
        return self.trace


@given(programs, schedules)
def test_the_same_program_under_the_same_schedule_has_the_same_trace(program: Program, schedule: list[int]) -> None:
    live = Play().play(program, schedule)
    junk = [object() for _ in range(1_000)]

    replays = [Play().play(program, schedule) for _ in range(2)]

    assert replays == [live, live]
    del junk


# A group in a cancelled scope that waits for a child which has caught its cancellation.
_PATIENT: Program = (
    "anyio",
    [("fail", None), ("group", [("sequence", [("catch", [("await", 0)]), ("await", 0)])])],
)


@example(_PATIENT, [0], 0)
@example(_PATIENT, [1, 0], 1)
@given(programs, schedules, st.integers(0, 25))
def test_a_replay_of_the_first_part_goes_on_like_the_run_that_was_never_interrupted(
    program: Program, schedule: list[int], cut: int
) -> None:
    whole = Play().play(program, schedule)

    first = Play().play(program, schedule[:cut])

    assert whole[: len(first)] == first
