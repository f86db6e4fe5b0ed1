"""Time that moves only when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from relight.actors.door import Clock, Handle
from relight.testing.virtual_clock import VirtualClock

T = TypeVar("T")


def test_time_stands_still_until_it_is_advanced() -> None:
    clock: Clock = VirtualClock(start_ms=1_000)
    fired: list[int] = []

    clock.call_later(0.0, lambda: fired.append(1))

    assert clock.now_ms() == 1_000
    assert fired == []


def test_the_earliest_timers_fire_together_and_in_order() -> None:
    clock = VirtualClock(start_ms=0)
    fired: list[str] = []
    for delay_s, name in ((2.0, "late"), (1.0, "first"), (1.0, "second")):
        clock.call_later(delay_s, record(fired, name))

    assert clock.next_due_ms() == 1_000
    assert clock.advance_to_next()

    assert (fired, clock.now_ms()) == (["first", "second"], 1_000)
    assert clock.advance_to_next()
    assert not clock.advance_to_next()
    assert clock.next_due_ms() is None


def test_advancing_fires_on_the_way_also_what_was_set_on_the_way() -> None:
    clock = VirtualClock(start_ms=0)
    fired_ms: list[int] = []

    def tick() -> None:
        fired_ms.append(clock.now_ms())
        clock.call_later(1.0, tick)

    clock.call_later(1.0, tick)
    clock.advance(3.5)

    assert (fired_ms, clock.now_ms()) == ([1_000, 2_000, 3_000], 3_500)


def test_a_timer_is_never_early() -> None:
    clock = VirtualClock(start_ms=0)
    clock.call_later(0.0001, lambda: None)

    assert clock.next_due_ms() == 1


def test_a_cancelled_timer_does_not_fire_even_when_one_of_its_moment_cancels_it() -> None:
    clock = VirtualClock(start_ms=0)
    fired: list[str] = []
    handles: list[Handle] = []

    def cancel() -> None:
        handles[0].cancel()

    clock.call_later(1.0, cancel)
    handles.append(clock.call_later(1.0, lambda: fired.append("cancelled")))
    clock.call_later(2.0, lambda: fired.append("kept")).cancel()

    while clock.advance_to_next():
        pass

    assert (fired, clock.now_ms()) == ([], 1_000)


def test_thousands_of_cancelled_timers_do_not_keep_the_others_from_firing() -> None:
    clock = VirtualClock(start_ms=0)
    fired: list[int] = []

    for number in range(5_000):
        clock.call_later(1.0, record(fired, number)).cancel()
        if number % 1_000 == 0:
            clock.call_later(2.0, record(fired, number))
    clock.advance(2.0)

    assert fired == [0, 1_000, 2_000, 3_000, 4_000]


def record(fired: list[T], value: T) -> Callable[[], None]:
    return lambda: fired.append(value)
