"""A run can be thrown away at any moment: its code does not run, nothing is printed, the memory is free."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest

from relight.sdk._loop import RunLoop
from relight.sdk._loop_drop import is_quiet_drop_possible

Code = Callable[[asyncio.Future[Any], list[str]], Coroutine[Any, Any, Any]]


class Big:
    """Something whose memory one can ask after."""


@contextlib.contextmanager
def managed(seen: list[str]) -> Generator[None]:
    try:
        yield
    finally:
        seen.append("context manager")


@contextlib.asynccontextmanager
async def managed_async(seen: list[str]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        seen.append("asynchronous context manager")


async def numbers(future: asyncio.Future[Any], seen: list[str]) -> AsyncIterator[int]:
    try:
        yield 1
        await future
    finally:
        seen.append("generator")


async def careful(future: asyncio.Future[Any], seen: list[str]) -> None:
    try:
        await future
    except BaseException:
        seen.append("except")
        raise
    finally:
        seen.append("finally")
        await asyncio.sleep(0)


async def nested(future: asyncio.Future[Any], seen: list[str]) -> None:
    with managed(seen), contextlib.ExitStack() as stack:
        stack.enter_context(managed(seen))
        async with managed_async(seen), contextlib.AsyncExitStack() as later:
            later.push_async_callback(careful, future, seen)
            await careful(future, seen)


async def gathered(future: asyncio.Future[Any], seen: list[str]) -> None:
    try:
        await asyncio.gather(careful(future, seen), asyncio.shield(careful(future, seen)))
    finally:
        seen.append("gather")


async def grouped(future: asyncio.Future[Any], seen: list[str]) -> None:
    async with asyncio.TaskGroup() as group, asyncio.timeout(9):
        group.create_task(careful(future, seen))
        await careful(future, seen)


async def grouped_by_anyio(future: asyncio.Future[Any], seen: list[str]) -> None:
    with anyio.move_on_after(9):
        async with anyio.create_task_group() as group:
            group.start_soon(careful, future, seen)
            with anyio.CancelScope(shield=True):
                await careful(future, seen)


async def iterated(future: asyncio.Future[Any], seen: list[str]) -> None:
    async for _ in numbers(future, seen):
        pass


async def not_awaited_yet(future: asyncio.Future[Any], seen: list[str]) -> None:
    later = [careful(future, seen), careful(future, seen)]
    await future
    await asyncio.gather(*later)


async def waiting_for_nothing_reachable(future: asyncio.Future[Any], seen: list[str]) -> None:
    del future
    await careful(asyncio.get_running_loop().create_future(), seen)


async def caught(future: asyncio.Future[Any], seen: list[str]) -> None:
    try:
        raise ValueError("first")
    except ValueError:
        await careful(future, seen)


async def closed_late(future: asyncio.Future[Any], seen: list[str]) -> AsyncGenerator[int]:
    try:
        yield 1
    finally:
        await careful(future, seen)


async def closing(future: asyncio.Future[Any], seen: list[str]) -> None:
    async with contextlib.aclosing(closed_late(future, seen)) as rows:
        async for _ in rows:
            break


async def beside_many_rows(future: asyncio.Future[Any], seen: list[str]) -> None:
    async def outer() -> None:
        await nested(future, seen)

    rows = [{"id": number} for number in range(20_000)]
    await outer()
    del rows


ALL: list[Code] = [
    careful,
    nested,
    gathered,
    grouped,
    grouped_by_anyio,
    iterated,
    not_awaited_yet,
    waiting_for_nothing_reachable,
    caught,
    closing,
    beside_many_rows,
]


def new_loop() -> RunLoop:
    def report(number: int, due: float = 0.0) -> None:
        del number, due

    return RunLoop(arm=report, disarm=report, callbacks_max=1_000)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("code", ALL)
def test_a_closed_run_runs_no_code_prints_nothing_and_frees_its_memory(
    code: Code, started: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    assert is_quiet_drop_possible()
    loop, seen, big = new_loop(), list[str](), Big()
    unraisable: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    held = weakref.ref(big)

    async def workflow(future: asyncio.Future[Any], mine: Big) -> None:
        await code(future, seen)
        del mine

    future = loop.create_future()
    loop.create_task(workflow(future, big))
    if started:
        loop.run_until_blocked()
    del big
    loop.close()
    future.cancel()
    del future, loop
    gc.collect()
    sys.unraisablehook = before

    assert seen == []
    assert held() is None
    assert unraisable == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("code", [careful, nested, iterated, caught])
def test_a_run_of_one_task_is_freed_by_reference_counting_alone(code: Code) -> None:
    loop, seen, big = new_loop(), list[str](), Big()
    held = weakref.ref(big)

    async def workflow(future: asyncio.Future[Any], mine: Big) -> None:
        await code(future, seen)
        del mine

    future = loop.create_future()
    loop.create_task(workflow(future, big))
    loop.run_until_blocked()
    gc.collect()
    gc.disable()
    try:
        del big
        loop.close()
        del future, loop

        assert held() is None
        assert seen == []
    finally:
        gc.enable()


def test_a_task_that_waits_for_nothing_reachable_is_kept_until_the_run_is_closed() -> None:
    loop, seen = new_loop(), list[str]()

    loop.create_task(waiting_for_nothing_reachable(loop.create_future(), seen))
    loop.run_until_blocked()
    gc.collect()

    assert seen == []
    assert loop.unhandled == ()
    loop.close()


def test_a_closed_loop_takes_late_results_and_does_nothing() -> None:
    loop, seen = new_loop(), list[str]()
    future = loop.create_future()
    loop.create_task(careful(future, seen))
    loop.run_until_blocked()

    loop.close()
    loop.close()
    future.add_done_callback(lambda _: seen.append("called"))
    future.set_result(None)
    loop.fire(1)
    loop.run_until_blocked()

    assert loop.is_closed()
    assert seen == []
