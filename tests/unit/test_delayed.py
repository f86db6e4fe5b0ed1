"""Many callbacks, one timer."""

from __future__ import annotations

import asyncio

from relight.actors.delayed import Delayed
from relight.testing.virtual_clock import VirtualClock

DELAY_S = 0.25


class Calls:
    """What was called back, by name."""

    def __init__(self, *, passes: int = 0) -> None:
        self.clock = VirtualClock()
        self.made: list[str] = []
        self._delayed = Delayed(self.clock, DELAY_S, passes=passes)

    def ask(self, name: str) -> None:
        self.handle = self._delayed.call(lambda: self.made.append(name), self.clock.elapsed_s())


def test_each_is_called_back_after_the_delay_and_once() -> None:
    calls = Calls()
    calls.ask("first")
    calls.clock.advance(0.1)
    calls.ask("second")

    calls.clock.advance(0.15)
    assert calls.made == ["first"]
    calls.clock.advance(0.1)
    assert calls.made == ["first", "second"]
    calls.clock.advance(1.0)

    assert calls.made == ["first", "second"]


def test_what_was_cancelled_is_not_called_back_and_the_others_are() -> None:
    calls = Calls()
    calls.ask("first")
    first = calls.handle
    calls.ask("second")
    second = calls.handle
    calls.ask("third")

    second.cancel()
    first.cancel()
    first.cancel()
    calls.clock.advance(1.0)

    assert calls.made == ["third"]


def test_when_all_are_cancelled_no_timer_is_left() -> None:
    calls = Calls()
    calls.ask("first")
    calls.handle.cancel()

    assert calls.clock.next_due_ms() is None


def test_one_that_asks_again_while_it_is_called_back_is_called_back_again() -> None:
    clock = VirtualClock()
    delayed = Delayed(clock, DELAY_S)
    times: list[float] = []

    def again() -> None:
        times.append(clock.elapsed_s())
        if len(times) < 3:
            delayed.call(again, clock.elapsed_s())

    began_s = clock.elapsed_s()
    delayed.call(again, began_s)
    clock.advance(2.0)

    assert [round(one - began_s, 3) for one in times] == [0.25, 0.5, 0.75]


async def test_what_happens_in_the_passes_after_the_delay_may_still_cancel_it() -> None:
    calls = Calls(passes=2)
    calls.ask("first")
    first = calls.handle
    calls.ask("second")

    calls.clock.advance(DELAY_S)
    assert calls.made == []
    first.cancel()
    for _ in range(3):
        await asyncio.sleep(0)

    assert calls.made == ["second"]
