"""What only the server in memory can do: virtual time, processes that die or stop, and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import pytest

from relight.actors.door import Delivery, Door, Silent, Stored
from relight.config.limits import LIMITS
from relight.errors import FencedError, UnavailableError
from relight.subjects.ids import WorkerId
from relight.testing.memory import Faults, MemoryDoor, MemoryServer, Operation, Outcome
from relight.testing.schedule import Schedule, Weather

ACK_WAIT_S = LIMITS.ack_wait_s
BOB = WorkerId("bob")


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


async def test_the_door_in_memory_is_a_door(server: MemoryServer) -> None:
    door: Door = server.door("a")

    assert await door.count("relight.default.log.0.run") == 0


async def test_what_is_neither_held_nor_acknowledged_comes_again_after_ack_wait(server: MemoryServer) -> None:
    door = server.door("a")
    wakes = await deliver_one(server, door)

    server.clock.advance(ACK_WAIT_S - 0.001)
    await pass_messages()
    assert len(wakes) == 1
    server.clock.advance(0.001)
    await pass_messages()

    assert [one.delivered for one in wakes] == [1, 2]


async def test_what_is_held_does_not_come_again_until_it_is_released(server: MemoryServer) -> None:
    door = server.door("a")
    wakes = await deliver_one(server, door)

    door.hold("run-1", wakes[0])
    server.clock.advance(100 * ACK_WAIT_S)
    await pass_messages()
    assert len(wakes) == 1
    assert server.clock.next_due_ms() is None
    door.release(wakes[0])
    server.clock.advance(ACK_WAIT_S)
    await pass_messages()

    assert [one.delivered for one in wakes] == [1, 2]


async def test_the_renewals_of_an_old_holder_keep_the_new_holders_delivery_alive(server: MemoryServer) -> None:
    zombie, owner = server.door("a"), server.door("b")
    old = await deliver_one(server, zombie, places=1)
    new = await pull(owner)
    zombie.nak(old[0])
    await pass_messages()
    zombie.hold("run-1", old[0])

    owner.kill()
    server.clock.advance(10 * ACK_WAIT_S)
    await pass_messages()

    assert [len(old), len(new)] == [1, 1]


async def test_what_a_killed_worker_held_comes_again_after_ack_wait(server: MemoryServer) -> None:
    victim, survivor = server.door("a"), server.door("b")
    to_victim = await deliver_one(server, victim)
    to_survivor = await pull(survivor)
    victim.hold("run-1", to_victim[0])

    victim.kill()
    await pass_messages()
    assert to_survivor == []
    server.clock.advance(ACK_WAIT_S)
    await pass_messages()

    assert [one.delivered for one in to_survivor] == [2]


@pytest.mark.parametrize("was_stopped", [False, True])
async def test_freed_leases_of_the_dead_come_again_at_once(server: MemoryServer, was_stopped: bool) -> None:
    server.frees_leases_of_the_dead = True
    victim, survivor = server.door("a"), server.door("b")
    to_victim = await deliver_one(server, victim)
    to_survivor = await pull(survivor)
    victim.hold("run-1", to_victim[0])
    if was_stopped:
        victim.stop()

    victim.kill()
    await pass_messages()

    assert [one.delivered for one in to_survivor] == [2]


async def test_a_killed_worker_has_no_effect_and_hears_nothing(server: MemoryServer) -> None:
    victim, other = server.door("a"), server.door("b")
    heard: list[object] = []
    log, notices = server.subjects.log("run-1"), server.subjects.done("client", "run-1")
    to_victim = await deliver_one(server, victim)
    await victim.watch(notices, lambda subject, data: heard.append(data))
    await victim.answer(BOB, lambda question: question)
    victim.clock.call_later(1.0, lambda: heard.append("timer"))
    publishing = asyncio.create_task(victim.publish(log, b"one"))

    victim.kill()
    victim.ack(to_victim[0])
    victim.notify(notices)
    other.notify(notices)
    server.clock.advance(ACK_WAIT_S)
    await pass_messages()

    assert heard == []
    assert await other.count(log) == 0
    assert await other.ask(BOB, b"", timeout_s=1.0) is None
    assert not publishing.done()
    publishing.cancel()
    assert [one.delivered for one in await pull(other)] == [2]


@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 1)])
async def test_a_hook_kills_before_or_after_an_effect(
    server: MemoryServer, moment: Literal["before", "after"], stored: int
) -> None:
    victim, other = server.door("a"), server.door("b")
    log = server.subjects.log("run-1")
    server.on_operation = killing(1, moment)

    publishing = asyncio.create_task(victim.publish(log, b"one", fence=0))
    await pass_messages()

    assert not publishing.done()
    publishing.cancel()
    assert await other.count(log) == stored


async def test_a_hook_sees_every_effect_in_order(server: MemoryServer) -> None:
    door = server.door("a")
    seen: list[tuple[int, str, str]] = []
    wakes = await deliver_one(server, door)
    log, timer = server.subjects.log("run-1"), server.subjects.timer("run-1", "1")
    server.on_operation = lambda door, operation, moment: seen.append((operation.number, operation.name, moment))

    sequence = await door.publish(log, b"one")
    await door.schedule(timer, b"", target=wakes[0].subject, due_ms=0)
    await door.purge(timer)
    await door.entomb(log, b"", fence=sequence, ttl_s=1)
    door.nak(wakes[0])
    door.ack(wakes[0])
    door.notify("relight.default.done.client.run-1")

    names = ["publish", "schedule", "purge", "entomb", "nak", "ack", "notify"]
    numbered = [(number, name) for number, name in enumerate(names, start=2)]
    assert seen == [(*one, moment) for one in numbered for moment in ("before", "after")]


async def test_a_stopped_worker_is_silent_and_goes_on_where_it_was(server: MemoryServer) -> None:
    stopped, other = server.door("a"), server.door("b")
    log = server.subjects.log("run-1")
    to_stopped = await deliver_one(server, stopped)
    await stopped.answer(BOB, lambda question: question)
    stopped.hold("run-1", to_stopped[0])
    backs: list[str] = []
    stopped.watch_gaps(lambda: backs.append("back"))

    stopped.stop()
    publishing = asyncio.create_task(stopped.publish(log, b"late", fence=0))
    stopped.nak(to_stopped[0])
    asking = asyncio.create_task(other.ask(BOB, b"yours?", timeout_s=1.0))
    await pass_messages()
    server.clock.advance(ACK_WAIT_S / 2)
    await pass_messages()

    assert isinstance(asking.exception(), Silent)
    assert (publishing.done(), backs) == (False, [])
    taken = await other.publish(log, b"claimed", fence=0)
    stopped.resume()
    with pytest.raises(FencedError):
        await publishing
    await pass_messages()
    assert backs == ["back"]
    assert await other.last(log) == Stored(log, taken, b"claimed", 0, server.clock.now_ms())
    assert [one.delivered for one in to_stopped] == [1, 2]


async def test_a_stopped_worker_that_wakes_in_time_keeps_its_lease(server: MemoryServer) -> None:
    stopped, other = server.door("a"), server.door("b")
    to_stopped = await deliver_one(server, stopped)
    to_other = await pull(other)
    stopped.hold("run-1", to_stopped[0])

    stopped.stop()
    server.clock.advance(ACK_WAIT_S / 2 - 0.001)
    stopped.resume()
    await pass_messages()
    server.clock.advance(10 * ACK_WAIT_S)
    await pass_messages()

    assert to_other == []


@pytest.mark.parametrize(("outcome", "at_once", "later"), [("lost", 0, 0), ("written", 1, 1), ("late", 0, 1)])
async def test_a_write_has_an_unknown_outcome(server: MemoryServer, outcome: Outcome, at_once: int, later: int) -> None:
    door = server.door("a")
    log = server.subjects.log("run-1")
    server.faults = Faults(outcome=lambda operation: outcome)

    with pytest.raises(UnavailableError):
        await door.publish(log, b"one", fence=0)

    assert await door.count(log) == at_once
    server.clock.advance(server.faults.late_s)
    assert await door.count(log) == later


async def test_a_late_write_is_fenced_by_what_came_before_it(server: MemoryServer) -> None:
    door, other = server.door("a"), server.door("b")
    log = server.subjects.log("run-1")
    server.faults = Faults(outcome=lambda operation: "late" if operation.number == 1 else "known")
    with pytest.raises(UnavailableError):
        await door.publish(log, b"late", fence=0)

    await other.publish(log, b"first", fence=0)
    server.clock.advance(server.faults.late_s)

    assert [one.data for one in await other.read(log, after=0, limit=10)] == [b"first"]


@pytest.mark.parametrize(("arrivals", "counts"), [((0.0, 0.0), [1, 2]), ((0.5,), [1]), ((), [2]), ((0.0, 3.0), [1, 2])])
async def test_deliveries_are_doubled_delayed_or_lost(
    server: MemoryServer, arrivals: Sequence[float], counts: list[int]
) -> None:
    door = server.door("a")
    wakes: list[Delivery] = []
    await door.consume("wake", "q", wakes.append, places=3)
    server.faults = Faults(arrivals=once(arrivals))

    await door.publish(server.subjects.wake("q", "run-1"), b"")
    await pass_messages()
    server.clock.advance(ACK_WAIT_S / 2 if arrivals else ACK_WAIT_S)
    await pass_messages()

    assert [one.delivered for one in wakes] == counts


async def test_a_lost_delivery_gives_its_place_back(server: MemoryServer) -> None:
    door = server.door("a")
    wakes: list[Delivery] = []
    await door.consume("wake", "q", wakes.append, places=1)
    server.faults = Faults(arrivals=once(()))
    await door.publish(server.subjects.wake("q", "run-1"), b"")

    await door.publish(server.subjects.wake("q", "run-2"), b"")
    await pass_messages()

    assert [one.subject for one in wakes] == [server.subjects.wake("q", "run-2")]


async def test_a_notice_may_arrive_twice_or_never(server: MemoryServer) -> None:
    door = server.door("a")
    seen: list[bytes] = []
    await door.watch("relight.default.done.client.*", lambda subject, data: seen.append(data))
    by_run: dict[str, Sequence[float]] = {"lost": (), "doubled": (0.0, 0.0)}
    server.faults = Faults(arrivals=lambda subject: by_run[subject.rsplit(".", 1)[1]])

    for run in by_run:
        door.notify(f"relight.default.done.client.{run}", run.encode())
    await pass_messages()

    assert seen == [b"doubled", b"doubled"]


async def test_the_same_seed_gives_the_same_schedule_and_the_same_faults() -> None:
    histories = [await seeded_history(seed) for seed in (1, 1, 2)]

    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


async def seeded_history(seed: int) -> list[tuple[str, bytes]]:
    """What two writers that race leave behind."""
    server = MemoryServer()
    schedule = Schedule(seed, Weather(reordered=0.75, unknown=0.3))
    server.hops, server.faults = schedule.hops, schedule.faults
    log = server.subjects.log("run-1")

    async def write(door: MemoryDoor) -> None:
        for number in range(20):
            try:
                await door.publish(log, f"{door.name}{number}".encode())
            except UnavailableError:
                server.clock.advance_to_next()

    await asyncio.gather(write(server.door("a")), write(server.door("b")))
    return [(one.subject, one.data) for one in server.stream.every(log)]


async def deliver_one(server: MemoryServer, door: MemoryDoor, *, places: int = 3) -> list[Delivery]:
    """Have one wake delivered to this door, which has places for more; the list grows with what comes later."""
    wakes = await pull(door, places=places)
    await door.publish(server.subjects.wake("q", "run-1"), b"")
    await pass_messages()
    assert len(wakes) == 1
    return wakes


async def pull(door: MemoryDoor, *, places: int = 3) -> list[Delivery]:
    wakes: list[Delivery] = []
    await door.consume("wake", "q", wakes.append, places=places)
    await pass_messages()
    return wakes


async def pass_messages() -> None:
    """Let everything happen that needs no time."""
    for _ in range(20):
        await asyncio.sleep(0)


def killing(
    number: int, at: Literal["before", "after"]
) -> Callable[[MemoryDoor, Operation, Literal["before", "after"]], None]:
    def hook(door: MemoryDoor, operation: Operation, moment: Literal["before", "after"]) -> None:
        if (operation.number, moment) == (number, at):
            door.kill()

    return hook


def once(arrivals: Sequence[float]) -> Callable[[str], Sequence[float]]:
    """These arrivals for the first message, and the usual one for all others."""
    left = [arrivals]
    return lambda subject: left.pop() if left else (0.0,)
