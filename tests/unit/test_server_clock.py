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
