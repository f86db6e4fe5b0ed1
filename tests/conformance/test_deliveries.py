"""What every door promises about deliveries and their acknowledgements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relight.actors.door import Delivery

if TYPE_CHECKING:
    from tests.conformance.conftest import Site

    from relight.actors.door import Door


async def test_a_start_is_delivered_as_it_was_stored(site: Site) -> None:
    door = await site.door("a")
    starts: list[Delivery] = []
    await door.consume("start", "q", starts.append, places=1)
    subject = site.subjects.start("q", "run-1")
    any_queue = site.subjects.start_any_queue("run-1")

    sequence = await door.publish(subject, b"input", fence=0, fence_subject=any_queue)
    await site.until(lambda: bool(starts))

    start = starts[0]
    assert (start.subject, start.sequence, start.data, start.fence) == (subject, sequence, b"input", None)
    assert start.delivered == 1


async def test_what_was_stored_before_the_first_worker_came_is_delivered_in_order(site: Site) -> None:
    client, worker = await site.door("client"), await site.door("worker")
    sequences = [await client.publish(site.subjects.start("q", f"run-{number}"), b"") for number in range(5)]
    starts: list[Delivery] = []

    await worker.consume("start", "q", starts.append, places=5)
    await site.until(lambda: len(starts) == 5)

    assert sorted(one.sequence for one in starts) == sequences


async def test_starts_and_wakes_of_each_queue_are_delivered_apart(site: Site) -> None:
    door = await site.door("a")
    starts: list[Delivery] = []
    wakes: list[Delivery] = []
    await door.consume("start", "q", starts.append, places=10)
    await door.consume("wake", "q", wakes.append, places=10)

    await door.publish(site.subjects.start("other", "run-1"), b"")
    start = await door.publish(site.subjects.start("q", "run-1"), b"")
    wake = await door.publish(site.subjects.wake("q", "run-1"), b"")
    await site.until(lambda: bool(starts and wakes))
    await pass_messages(door)

    assert [one.sequence for one in starts] == [start]
    assert [one.sequence for one in wakes] == [wake]


async def test_no_more_is_delivered_than_there_are_places(site: Site) -> None:
    door = await site.door("a")
    starts: list[Delivery] = []
    consumption = await door.consume("start", "q", starts.append, places=2)
    for number in range(6):
        await door.publish(site.subjects.start("q", f"run-{number}"), b"")
    await site.until(lambda: len(starts) >= 2)
    for delivery in starts:
        door.ack(delivery)
    await pass_messages(door)
    assert len(starts) == 2

    consumption.add_places(3)

    await site.until(lambda: len(starts) >= 5)
    await pass_messages(door)
    assert len(starts) == 5


async def test_without_places_nothing_is_delivered(site: Site) -> None:
    door = await site.door("a")
    starts: list[Delivery] = []
    consumption = await door.consume("start", "q", starts.append, places=0)
    await door.publish(site.subjects.start("q", "run-1"), b"")
    await pass_messages(door)
    assert starts == []

    consumption.add_places(1)

    await site.until(lambda: len(starts) == 1)


async def test_each_message_goes_to_one_worker(site: Site) -> None:
    first, second = await site.door("a"), await site.door("b")
    to_first: list[Delivery] = []
    to_second: list[Delivery] = []
    await first.consume("start", "q", to_first.append, places=3)
    await second.consume("start", "q", to_second.append, places=3)

    expected = {await first.publish(site.subjects.start("q", f"run-{number}"), b"") for number in range(6)}
    await site.until(lambda: len(to_first) + len(to_second) == 6)

    assert {one.sequence for one in to_first + to_second} == expected
    assert len(to_first) == 3


async def test_a_closed_consumption_leaves_the_rest_to_others(site: Site) -> None:
    first, second = await site.door("a"), await site.door("b")
    to_first: list[Delivery] = []
    to_second: list[Delivery] = []
    consumption = await first.consume("start", "q", to_first.append, places=5)
    await first.publish(site.subjects.start("q", "run-1"), b"")
    await site.until(lambda: len(to_first) == 1)
    first.hold("run-1", to_first[0])  # Else who begins to consume would free it.

    await consumption.close()
    await second.consume("start", "q", to_second.append, places=5)
    await second.publish(site.subjects.start("q", "run-2"), b"")

    await site.until(lambda: len(to_second) == 1)
    assert len(to_first) == 1


async def test_a_nak_has_the_message_delivered_again_and_counted(site: Site) -> None:
    first, second = await site.door("a"), await site.door("b")
    to_first: list[Delivery] = []
    to_second: list[Delivery] = []
    await first.consume("wake", "q", to_first.append, places=1)
    sequence = await first.publish(site.subjects.wake("q", "run-1"), b"")
    await site.until(lambda: len(to_first) == 1)
    await second.consume("wake", "q", to_second.append, places=1)

    first.nak(to_first[0])

    await site.until(lambda: len(to_second) == 1)
    assert (to_second[0].sequence, to_second[0].delivered) == (sequence, 2)


async def test_a_nak_with_a_delay_has_it_delivered_no_earlier(site: Site) -> None:
    door = await site.door("a")
    wakes: list[Delivery] = []
    at_ms: list[int] = []

    def receive(delivery: Delivery) -> None:
        wakes.append(delivery)
        at_ms.append(door.clock.now_ms())

    await door.consume("wake", "q", receive, places=2)
    await door.publish(site.subjects.wake("q", "run-1"), b"")
    await site.until(lambda: len(wakes) == 1)

    door.nak(wakes[0], delay_s=0.5)
    await site.until(lambda: len(wakes) == 2)

    assert wakes[1].delivered == 2
    # The two machines' clocks are compared, each rounded to a millisecond.
    assert at_ms[1] - at_ms[0] >= 480


async def test_an_acknowledged_message_does_not_come_again(site: Site) -> None:
    first, second = await site.door("a"), await site.door("b")
    to_first: list[Delivery] = []
    to_second: list[Delivery] = []
    await first.consume("wake", "q", to_first.append, places=1)
    await first.publish(site.subjects.wake("q", "run-1"), b"")
    await site.until(lambda: len(to_first) == 1)

    first.ack(to_first[0])
    first.nak(to_first[0])
    await first.publish(site.subjects.wake("q", "run-2"), b"")
    # Only now: who begins frees what the server still counts as pending when its holder has said that it lets it go.
    await second.consume("wake", "q", to_second.append, places=5)

    await site.until(lambda: bool(to_second))
    await pass_messages(second)
    assert [one.subject for one in to_second] == [site.subjects.wake("q", "run-2")]


async def test_the_token_of_an_old_holder_still_acks_the_new_holders_message(site: Site) -> None:
    first, second = await site.door("a"), await site.door("b")
    to_first: list[Delivery] = []
    to_second: list[Delivery] = []
    await first.consume("wake", "q", to_first.append, places=1)
    await first.publish(site.subjects.wake("q", "run-1"), b"")
    await site.until(lambda: len(to_first) == 1)
    first.nak(to_first[0])
    await second.consume("wake", "q", to_second.append, places=3)
    await site.until(lambda: len(to_second) == 1)

    first.ack(to_first[0])
    await pass_messages(first)
    second.nak(to_second[0])
    await second.publish(site.subjects.wake("q", "run-2"), b"")

    await site.until(lambda: len(to_second) == 2)
    await pass_messages(second)
    assert [one.delivered for one in to_second] == [1 + 1, 1]


async def test_a_token_alone_is_enough_to_take_a_delivery_over(site: Site) -> None:
    owner, other = await site.door("a"), await site.door("b")
    wakes: list[Delivery] = []
    await other.consume("wake", "q", wakes.append, places=3)
    subject = site.subjects.wake("q", "run-1")
    sequence = await owner.publish(subject, b"")
    await site.until(lambda: len(wakes) == 1)

    taken = Delivery(subject, sequence, b"", None, wakes[0].token, 1)
    owner.hold("run-1", taken)
    owner.ack(taken)
    await pass_messages(owner)
    other.nak(wakes[0])
    await owner.publish(site.subjects.wake("q", "run-2"), b"")

    await site.until(lambda: len(wakes) == 2)
    assert wakes[1].subject == site.subjects.wake("q", "run-2")


async def test_a_purged_message_is_not_delivered_again(site: Site) -> None:
    door = await site.door("a")
    wakes: list[Delivery] = []
    await door.consume("wake", "q", wakes.append, places=5)
    subject = site.subjects.wake("q", "run-1")
    await door.publish(subject, b"")
    await site.until(lambda: len(wakes) == 1)

    await door.purge(subject)
    door.nak(wakes[0])
    await door.publish(site.subjects.wake("q", "run-2"), b"")

    await site.until(lambda: len(wakes) == 2)
    await pass_messages(door)
    assert [one.subject for one in wakes] == [subject, site.subjects.wake("q", "run-2")]


async def pass_messages(door: Door) -> None:
    """Give what is under way to this door the time to arrive: what the server sent earlier comes earlier."""
    for _ in range(20):
        await door.last("relight.nobody.log.0.nothing")
