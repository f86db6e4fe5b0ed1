"""What every door promises about messages that the server publishes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relight.config.limits import LIMITS

if TYPE_CHECKING:
    from tests.conformance.conftest import Site

    from relight.actors.door import Delivery

RUN = "order-1"
HOUR_MS = 3_600_000


@pytest.fixture
def wakes() -> list[Delivery]:
    return []


async def test_a_scheduled_message_is_delivered_when_due_and_never_earlier(site: Site, wakes: list[Delivery]) -> None:
    door = await site.door("a")
    await door.consume("wake", "q", wakes.append, places=10)
    wake, timer = site.subjects.wake("q", RUN), site.subjects.timer(RUN, "1")
    due_ms = door.clock.now_ms() + 300

    await door.schedule(timer, b"due", target=wake, due_ms=due_ms)
    await site.until(lambda: bool(wakes))

    stored = await door.last(wake)
    assert stored is not None
    assert (stored.data, stored.fence, stored.sequence) == (b"due", None, wakes[0].sequence)
    assert stored.stored_at_ms >= due_ms
    assert wakes[0].data == b"due"
    assert await door.count(timer) == 0


async def test_a_time_in_the_past_is_due_at_once(site: Site, wakes: list[Delivery]) -> None:
    door = await site.door("a")
    await door.consume("wake", "q", wakes.append, places=10)
    due_ms = door.clock.now_ms() - HOUR_MS

    await door.schedule(site.subjects.timer(RUN, "1"), b"due", target=site.subjects.wake("q", RUN), due_ms=due_ms)

    await site.until(lambda: [one.data for one in wakes] == [b"due"])


@pytest.mark.parametrize("far_ms", [LIMITS.due_ms_max, 10_000_000_000_000, 253_402_300_800_000])
async def test_a_time_that_is_far_away_is_not_due_at_once(site: Site, wakes: list[Delivery], far_ms: int) -> None:
    door = await site.door("a")
    await door.consume("wake", "q", wakes.append, places=10)
    wake, far = site.subjects.wake("q", RUN), site.subjects.timer(RUN, "1")

    await door.schedule(far, b"far", target=wake, due_ms=far_ms)
    await door.schedule(site.subjects.timer(RUN, "2"), b"near", target=wake, due_ms=door.clock.now_ms() + 300)
    await site.until(lambda: bool(wakes))

    assert [one.data for one in wakes] == [b"near"]
    assert await door.count(far) == 1


async def test_a_new_schedule_replaces_the_one_on_its_subject(site: Site, wakes: list[Delivery]) -> None:
    door = await site.door("a")
    await door.consume("wake", "q", wakes.append, places=10)
    wake, timer = site.subjects.wake("q", RUN), site.subjects.timer(RUN, "1")
    now_ms = door.clock.now_ms()
    await door.schedule(timer, b"old", target=wake, due_ms=now_ms + 1_000)

    await door.schedule(timer, b"new", target=wake, due_ms=now_ms + 1_500)

    assert await door.count(timer) == 1
    await site.until(lambda: bool(wakes))
    assert [one.data for one in await door.read(wake, after=0, limit=10)] == [b"new"]


async def test_a_purge_of_its_subject_cancels_a_schedule(site: Site, wakes: list[Delivery]) -> None:
    door = await site.door("a")
    await door.consume("wake", "q", wakes.append, places=10)
    wake = site.subjects.wake("q", RUN)
    now_ms = door.clock.now_ms()
    await door.schedule(site.subjects.timer(RUN, "1"), b"cancelled", target=wake, due_ms=now_ms + 1_000)
    await door.schedule(site.subjects.timer(RUN, "2"), b"kept", target=wake, due_ms=now_ms + 1_500)

    await door.purge(site.subjects.timer(RUN, "1"))

    await site.until(lambda: bool(wakes))
    assert [one.data for one in await door.read(wake, after=0, limit=10)] == [b"kept"]
