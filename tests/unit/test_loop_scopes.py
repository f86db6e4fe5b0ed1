"""anyio's cancel scopes deliver as on any loop, and do not keep a turn going for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio._backends._asyncio import CancelScope as BackendScope

from relight.sdk._loop import RunLoop


class Stage:
    """A loop, the futures that the outside resolves, and a trace."""

    def __init__(self) -> None:
        self.armed: list[int] = []
        self.loop = RunLoop(arm=lambda number, _: self.armed.append(number), disarm=lambda _: None, callbacks_max=1_000)
        self.futures = [self.loop.create_future() for _ in range(4)]
        self.seen: list[str] = []

    def play(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(coroutine)
        self.loop.run_until_blocked()
        return task

    def resolve(self, index: int) -> None:
        self.futures[index].set_result(index)
        self.loop.run_until_blocked()

    async def clean_up(self, name: str, index: int) -> None:
        """Wait for ever; when cancelled, wait for a future in a shield."""
        try:
            await anyio.sleep_forever()
        finally:
            self.seen.append(f"{name} stops")
            with anyio.CancelScope(shield=True):
                await self.futures[index]
            self.seen.append(f"{name} stopped")


def test_a_scope_over_a_future_that_ends_at_once_is_left_at_once() -> None:
    stage = Stage()

    async def workflow() -> bool:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            await stage.futures[0]
        return scope.cancelled_caught

    assert stage.play(workflow()).result() is True
    assert stage.futures[0].cancelled()


def test_a_shielded_clean_up_is_awaited_without_keeping_the_loop_busy() -> None:
    stage = Stage()
    passes: list[int] = []

    async def workflow() -> bool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await stage.clean_up("a", 0)
        return scope.cancelled_caught

    def count_passes(scope: anyio.CancelScope, origin: anyio.CancelScope) -> bool:
        passes.append(1)
        return bool(original(scope, origin))

    kind: Any = BackendScope
    original = kind._deliver_cancellation
    with pytest.MonkeyPatch.context() as patch:
        count_passes.__name__ = "_deliver_cancellation"
        patch.setattr(kind, "_deliver_cancellation", count_passes)
        task = stage.play(workflow())
        counted = len(passes)
        for _ in range(100):
            stage.loop.run_until_blocked()

        assert not task.done()
        assert counted < 10
        assert len(passes) == counted
        stage.resolve(0)

    assert task.result() is True
    assert stage.seen == ["a stops", "a stopped"]


class SlowToStop(asyncio.Future[str]):
    """A future that takes note of its cancellation and ends later."""

    told = 0

    def cancel(self, msg: object = None) -> bool:
        self.told += 1
        return not self.done()


def test_a_scope_over_a_future_that_is_slow_to_stop_does_not_keep_the_loop_busy() -> None:
    stage = Stage()
    slow = SlowToStop(loop=stage.loop)

    async def workflow() -> str:
        with anyio.CancelScope() as scope:
            scope.cancel()
            return await slow
        return "cancelled"

    task = stage.play(workflow())
    told = slow.told
    for _ in range(100):
        stage.loop.run_until_blocked()
    assert 0 < told < 5
    assert slow.told == told
    slow.set_result("stopped")
    stage.loop.run_until_blocked()

    assert task.result() == "stopped"


def test_a_task_that_begins_to_wait_later_in_the_turn_is_cancelled_in_that_turn() -> None:
    stage = Stage()

    async def late() -> None:
        with anyio.CancelScope(shield=True):
            await stage.futures[0]
            for _ in range(5):
                await asyncio.sleep(0)
        stage.seen.append("waits")
        await stage.futures[1]

    async def workflow() -> bool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await late()
        return scope.cancelled_caught

    task = stage.play(workflow())
    assert not task.done()
    stage.resolve(0)

    assert task.result() is True
    assert stage.seen == ["waits"]
    assert stage.futures[1].cancelled()


def test_a_checkpoint_in_a_cancelled_scope_raises_before_anything_else_is_done() -> None:
    stage = Stage()

    async def workflow() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            stage.seen.append("went on")

    stage.play(workflow())

    assert stage.seen == []


def test_an_inner_scope_that_is_cancelled_leaves_the_outer_one_alone() -> None:
    stage = Stage()

    async def workflow() -> tuple[bool, bool]:
        inner = anyio.CancelScope()
        with anyio.CancelScope() as outer:
            with inner:
                inner.cancel()
                await stage.clean_up("inner", 0)
            stage.seen.append("between")
            await stage.futures[1]
        return outer.cancelled_caught, inner.cancelled_caught

    task = stage.play(workflow())
    stage.resolve(0)
    stage.resolve(1)

    assert task.result() == (False, True)
    assert stage.seen == ["inner stops", "inner stopped", "between"]


def test_an_outer_scope_that_is_cancelled_ends_the_inner_ones_too() -> None:
    stage = Stage()

    async def workflow() -> tuple[bool, bool]:
        inner = anyio.CancelScope()
        with anyio.CancelScope() as outer:
            with inner:
                outer.cancel()
                await stage.clean_up("inner", 0)
            stage.seen.append("never")
        return outer.cancelled_caught, inner.cancelled_caught

    task = stage.play(workflow())
    stage.resolve(0)

    assert task.result() == (True, False)
    assert stage.seen == ["inner stops", "inner stopped"]


def test_a_deadline_that_fires_while_a_shielded_inner_scope_waits_takes_effect_after_it() -> None:
    stage = Stage()

    async def workflow() -> bool:
        with anyio.move_on_after(5) as scope:
            with anyio.CancelScope(shield=True):
                await stage.futures[0]
            stage.seen.append("after the shield")
            await stage.futures[1]
            stage.seen.append("never")
        return scope.cancelled_caught

    task = stage.play(workflow())
    stage.loop.fire(1)
    stage.loop.run_until_blocked()
    assert not task.done()
    stage.resolve(0)

    assert task.result() is True
    assert stage.seen == ["after the shield"]


def test_a_scope_around_a_task_group_waits_for_the_clean_up_of_its_three_tasks() -> None:
    stage = Stage()

    async def workflow() -> bool:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                for index, name in enumerate("abc"):
                    group.start_soon(stage.clean_up, name, index)
                await stage.futures[3]
                scope.cancel()
        return scope.cancelled_caught

    task = stage.play(workflow())
    for index in (3, 1, 0, 2):
        stage.resolve(index)

    assert task.result() is True
    assert stage.seen == ["a stops", "b stops", "c stops", "b stopped", "a stopped", "c stopped"]


def test_tasks_of_a_group_are_cancelled_in_the_order_of_their_creation() -> None:
    stage = Stage()

    async def stop(index: int) -> None:
        with anyio.CancelScope():
            try:
                await anyio.sleep_forever()
            finally:
                stage.seen.append(str(index))

    async def workflow() -> None:
        async with anyio.create_task_group() as group:
            for index in range(20):
                group.start_soon(stop, index)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    stage.play(workflow())

    assert stage.seen == [str(index) for index in range(20)]


def test_a_callback_of_the_user_that_cancels_a_scope_is_not_idle() -> None:
    stage = Stage()

    async def workflow() -> None:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            await anyio.sleep_forever()

    assert stage.play(workflow()).done()


def test_a_clean_up_that_is_not_shielded_is_cancelled_again_and_the_turn_ends() -> None:
    stage = Stage()

    async def workflow() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            for index in range(3):
                try:
                    await stage.futures[index]
                except asyncio.CancelledError:
                    stage.seen.append(f"again {index}")
            await asyncio.shield(stage.futures[3])

    task = stage.play(workflow())

    assert task.done()
    assert stage.seen == ["again 0", "again 1", "again 2"]
    assert not stage.futures[3].done()
