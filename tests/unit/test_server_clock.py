"""The clock that follows the server."""

from __future__ import annotations

from relight.actors.jetstream.clock import ServerClock


def test_the_clock_follows_the_monotonic_clock_and_never_goes_back() -> None:
    now_s = 100.0
    clock = ServerClock(lambda: now_s)
    before_ms = clock.now_ms()

    now_s = 101.5
    later_ms = clock.now_ms()
    now_s = 90.0
    back_ms = clock.now_ms()

    assert abs(later_ms - before_ms - 1500) <= 1
    assert back_ms == later_ms


async def test_a_clock_that_ran_hours_ahead_goes_on_when_it_is_set_right() -> None:
    """It would stand still for as many hours else, and with it all timers of its worker."""
    clock = ServerClock(lambda: 100.0)
    clock._offset_s = 3_600.0 * 5  # pyright: ignore[reportPrivateUsage]
    ahead_ms = clock.now_ms()
    clock._offset_s = 3_600.0  # pyright: ignore[reportPrivateUsage]

    clock.set_right()

    assert clock.now_ms() == 3_700_000
    assert ahead_ms > clock.now_ms()
