"""The loop of a workflow: what is ready runs, timers are reported, nothing reaches outside, nothing is printed."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from relight.sdk._loop import EndlessTurnError, RunLoop


class Stage:
    """A loop with the timers that it reported."""

    def __init__(self, callbacks_max: int = 10_000) -> None:
        self.armed: list[tuple[int, float]] = []
        self.disarmed: list[int] = []
        self.loop = RunLoop(
            arm=lambda number, due: self.armed.append((number, due)),
            disarm=self.disarmed.append,
            callbacks_max=callbacks_max,
        )
        self.loop.set_time(1_000.0)

    def play(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(coroutine)
        self.loop.run_until_blocked()
        return task

    def resolve(self, future: asyncio.Future[Any], value: object = None) -> None:
        future.set_result(value)
        self.loop.run_until_blocked()

    def fire(self, number: int) -> None:
        self.loop.fire(number)
        self.loop.run_until_blocked()


async def wait_for(future: asyncio.Future[Any]) -> Any:
    return await future


def test_a_task_runs_until_it_waits_and_goes_on_when_its_future_is_resolved() -> None:
    stage = Stage()
    future = stage.loop.create_future()

    task = stage.play(wait_for(future))
    assert not task.done()
    stage.resolve(future, 7)

    assert task.result() == 7


def test_a_task_of_another_loop_goes_on_undisturbed_around_a_turn() -> None:
    async def inner() -> list[object]:
        return [asyncio.get_running_loop(), asyncio.current_task()]

    async def outer() -> None:
        stage = Stage()
        mine = asyncio.current_task()
        task = stage.play(inner())
        assert task.result() == [stage.loop, task]
        assert asyncio.current_task() is mine
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is not stage.loop

    asyncio.run(outer())


def test_a_loop_that_stays_entered_leaves_all_as_it_was() -> None:
    async def outer() -> None:
        stage = Stage()
        future = stage.loop.create_future()
        mine = asyncio.current_task()
        hooks = sys.get_asyncgen_hooks()

        stage.loop.enter()
        task = stage.play(wait_for(future))
        stage.resolve(future, 7)
        stage.loop.leave()

        assert task.result() == 7
        assert asyncio.current_task() is mine
        assert asyncio.get_running_loop() is not stage.loop
        assert sys.get_asyncgen_hooks() == hooks

    asyncio.run(outer())


def test_no_loop_runs_in_the_thread_after_a_turn() -> None:
    stage = Stage()
    future = stage.loop.create_future()

    thread = threading.Thread(target=stage.play, args=(wait_for(future),))
    thread.start()
    thread.join()
    stage.resolve(future)

    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_callbacks_run_in_their_own_context() -> None:
    stage = Stage()
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    async def tell(who: str) -> None:
        name.set(who)
        await asyncio.sleep(0)
        seen.append(name.get())

    async def both() -> None:
        await asyncio.gather(tell("first"), tell("second"))
        seen.append(name.get())

    stage.play(both())

    assert seen == ["first", "second", "nobody"]


def test_names_of_tasks_are_numbers_of_the_run() -> None:
    async def name() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    async def names() -> list[str]:
        return list(await asyncio.gather(name(), name()))

    assert [Stage().play(names()).result() for _ in range(2)] == [["Task-2", "Task-3"]] * 2


# Time.


def test_sleep_is_a_timer_that_is_armed_when_the_loop_blocks_and_wakes_the_task_when_it_fires() -> None:
    stage = Stage()

    task = stage.play(asyncio.sleep(5, "slept"))
    assert stage.armed == [(1, 1_005.0)]
    stage.fire(1)

    assert task.result() == "slept"
    assert stage.disarmed == []
    assert stage.loop.time() == 1_005.0


def test_a_timer_that_is_cancelled_before_the_loop_blocks_costs_nothing_but_its_number() -> None:
    stage = Stage()

    async def no_wait() -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        await asyncio.sleep(3)

    stage.play(no_wait())

    assert stage.armed == [(2, 1_003.0)]
    assert stage.disarmed == []


def test_an_armed_timer_that_is_cancelled_is_disarmed_and_firing_it_does_nothing() -> None:
    stage = Stage()
    future = stage.loop.create_future()

    task = stage.play(asyncio.wait_for(future, 5))
    stage.resolve(future, "in time")
    stage.fire(1)

    assert (stage.armed, stage.disarmed) == ([(1, 1_005.0)], [1])
    assert task.result() == "in time"


def test_a_timeout_that_fires_cancels_what_it_surrounds() -> None:
    stage = Stage()
    future = stage.loop.create_future()

    task = stage.play(asyncio.wait_for(future, 5))
    stage.fire(1)

    assert isinstance(task.exception(), TimeoutError)
    assert future.cancelled()


@pytest.mark.parametrize("delay", [0.0, -1.0])
def test_a_timer_for_now_or_the_past_is_ready_at_once(delay: float) -> None:
    stage = Stage()
    seen: list[str] = []

    stage.loop.call_later(delay, seen.append, "first")
    stage.loop.call_later(delay, seen.append, "never").cancel()
    stage.loop.call_soon(seen.append, "second")
    stage.loop.run_until_blocked()

    assert seen == ["first", "second"]
    assert stage.armed == []


def test_sleeping_for_ever_arms_nothing() -> None:
    stage = Stage()

    task = stage.play(anyio.sleep_forever())
    task.cancel()
    stage.loop.run_until_blocked()

    assert task.cancelled()
    assert stage.armed == []


def test_a_timer_for_no_time_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Stage().loop.call_at(math.nan, print)


def test_time_never_goes_back() -> None:
    stage = Stage()

    stage.loop.set_time(10.0)

    assert stage.loop.time() == 1_000.0


def test_anyio_deadlines_are_timers_and_end_when_they_fire_even_by_a_rounded_clock() -> None:
    stage = Stage()

    async def bounded() -> str:
        with anyio.move_on_after(2.0004) as scope:
            await anyio.sleep_forever()
        return f"cancelled {scope.cancelled_caught}"

    task = stage.play(bounded())
    stage.loop.set_time(1_002.0)
    stage.fire(1)

    assert task.result() == "cancelled True"
    assert [number for number, _ in stage.armed] == [1]


# Turns that do not end.


async def spin() -> None:
    while True:  # This is the mistake that the test is about.
        await asyncio.sleep(0)


async def refuse_to_be_cancelled() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        while True:
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                continue


async def call_spin() -> None:
    await spin()


def test_code_that_never_blocks_is_an_endless_turn_with_its_stack() -> None:
    stage = Stage(callbacks_max=500)

    with pytest.raises(EndlessTurnError) as caught:
        stage.play(call_spin())

    assert "in spin" in caught.value.stack
    assert caught.value.callbacks > 500
    stage.loop.close()


def test_code_that_waits_again_whenever_a_scope_cancels_it_waits() -> None:
    stage = Stage(callbacks_max=500)

    task = stage.play(refuse_to_be_cancelled())

    assert not task.done()
    stage.loop.close()


# Errors.


def test_exceptions_that_nobody_retrieves_are_kept_and_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    stage = Stage()

    async def fail() -> None:
        raise ValueError("lost")

    async def leave_it() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])

    def fail_in_a_callback() -> None:
        raise ValueError("in a callback")

    stage.loop.call_soon(fail_in_a_callback)
    stage.play(leave_it())
    stage.loop._prune_tasks()  # pyright: ignore[reportPrivateUsage]
    gc.collect()

    assert [str(context["exception"]) for context in stage.loop.unhandled] == ["in a callback", "lost"]
    assert capfd.readouterr() == ("", "")


def test_sys_exit_in_a_workflow_ends_its_task_not_the_worker() -> None:
    stage = Stage()

    async def leave() -> None:
        raise SystemExit(3)

    task = stage.play(leave())

    assert isinstance(task.exception(), SystemExit)


def test_what_is_not_a_coroutine_makes_no_task() -> None:
    stage = Stage()
    future: Awaitable[None] = stage.loop.create_future()

    with pytest.raises(TypeError, match="coroutine"):
        stage.loop.create_task(future)


def test_an_abandoned_asynchronous_generator_is_freed_without_running_and_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stage = Stage()
    seen: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            seen.append("finally")
            await asyncio.sleep(0)

    async def take_one() -> int:
        async for number in numbers():
            return number
        return 0

    task = stage.play(take_one())

    assert task.result() == 1
    assert seen == []
    assert capfd.readouterr() == ("", "")


def test_the_hooks_for_asynchronous_generators_of_the_thread_are_as_before() -> None:
    async def outer() -> None:
        before = sys.get_asyncgen_hooks()
        Stage().play(asyncio.sleep(0))
        assert sys.get_asyncgen_hooks() == before

    asyncio.run(outer())


def test_a_checkpoint_lets_the_others_run_first() -> None:
    stage = Stage()
    seen: list[str] = []

    async def visit(name: str) -> None:
        for turn in range(2):
            seen.append(f"{name}{turn}")
            await anyio.lowlevel.checkpoint()

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(visit, "a")
            group.start_soon(visit, "b")

    task = stage.play(both())

    assert task.done()
    assert seen == ["a0", "b0", "a1", "b1"]


def test_the_handle_of_a_callback_is_itself_only_and_knows_its_context() -> None:
    loop = Stage().loop

    handles: list[Any] = [loop.call_soon(print, "once", context=contextvars.copy_context()) for _ in range(2)]

    assert len(set(handles)) == 2
    assert handles[0] != handles[1]
    assert list(handles[0].get_context()) == list(contextvars.copy_context())
    handles[0].cancel()
    assert [one.cancelled() for one in handles] == [True, False]
