"""What every door promises about messages that are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relight.config.limits import MIB
from relight.errors import FencedError, PayloadTooLargeError
from relight.subjects.grammar import RETIRED

if TYPE_CHECKING:
    from tests.conformance.conftest import Site

RUN = "order-1"


async def test_a_publish_returns_the_sequence_that_last_shows(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)

    sequence = await door.publish(log, b"one")

    last = await door.last(log)
    assert last is not None
    assert (last.subject, last.sequence, last.data, last.fence) == (log, sequence, b"one", None)
    assert abs(last.stored_at_ms - door.clock.now_ms()) < 60_000


async def test_the_fence_of_a_message_is_stored_with_it(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    first = await door.publish(log, b"one", fence=0)

    await door.publish(log, b"two", fence=first)

    assert [one.fence for one in await door.read(log, after=0, limit=10)] == [0, first]


async def test_fence_0_is_refused_when_a_message_is_stored(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    await door.publish(log, b"one", fence=0)

    with pytest.raises(FencedError):
        await door.publish(log, b"two", fence=0)

    assert await door.count(log) == 1


async def test_the_second_owner_fences_the_first(site: Site) -> None:
    first, second = await site.door("a"), await site.door("b")
    log = site.subjects.log(RUN)
    seen = await first.publish(log, b"one", fence=0)
    taken = await second.publish(log, b"claimed", fence=seen)

    with pytest.raises(FencedError):
        await first.publish(log, b"two", fence=seen)

    last = await first.last(log)
    assert last is not None
    assert last.sequence == taken


async def test_a_fence_on_one_subject_ignores_its_siblings(site: Site) -> None:
    door = await site.door("a")
    sequence = await door.publish(site.subjects.log(RUN), b"one", fence=0)
    await door.publish(site.subjects.wake("q", RUN), b"wake")

    assert await door.publish(site.subjects.log(RUN), b"two", fence=sequence) > sequence


async def test_a_wildcard_fence_makes_an_id_unique_over_all_queues(site: Site) -> None:
    door = await site.door("a")
    any_queue = site.subjects.start_any_queue(RUN)
    await door.publish(site.subjects.start("first", RUN), b"", fence=0, fence_subject=any_queue)

    with pytest.raises(FencedError):
        await door.publish(site.subjects.start("second", RUN), b"", fence=0, fence_subject=any_queue)

    assert await door.count(site.subjects.start("second", RUN)) == 0


async def test_a_wildcard_fence_leaves_other_ids_alone(site: Site) -> None:
    door = await site.door("a")
    for run in ("order-1", "order-2"):
        any_queue = site.subjects.start_any_queue(run)

        await door.publish(site.subjects.start("q", run), b"", fence=0, fence_subject=any_queue)

    assert len(await door.subjects(site.subjects.starts_of_queue("q"), limit=10)) == 2


async def test_fence_0_is_accepted_again_after_a_purge(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    first = await door.publish(log, b"one", fence=0)
    await door.purge(log)

    second = await door.publish(log, b"two", fence=0)

    assert second > first


async def test_a_message_above_the_servers_limit_is_refused_and_not_written(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)

    with pytest.raises(PayloadTooLargeError):
        await door.publish(log, b"x" * (2 * MIB))

    assert await door.last(log) is None


async def test_next_finds_the_first_message_above_a_sequence(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    first = await door.publish(log, b"one")
    await door.publish(site.subjects.wake("q", RUN), b"between")
    second = await door.publish(log, b"two")

    found = [await door.next(log, after=after) for after in (0, first, second)]

    assert [one.sequence if one is not None else None for one in found] == [first, second, None]


async def test_read_returns_messages_in_order_up_to_the_limit(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    sequences = [await door.publish(log, b"%d" % number) for number in range(5)]

    found = await door.read(log, after=sequences[1], limit=2)

    assert [(one.sequence, one.data) for one in found] == [(sequences[2], b"2"), (sequences[3], b"3")]


async def test_what_was_never_written_is_not_there(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log("nobody")

    assert await door.last(log) is None
    assert await door.next(log, after=0) is None
    assert await door.read(log, after=0, limit=10) == []
    assert await door.count(log) == 0


async def test_last_of_a_filter_is_the_newest_of_its_subjects(site: Site) -> None:
    door = await site.door("a")
    await door.publish(site.subjects.start("first", RUN), b"one")
    newest = await door.publish(site.subjects.start("second", RUN), b"two")

    last = await door.last(site.subjects.start_any_queue(RUN))

    assert last is not None
    assert last.sequence == newest


async def test_the_last_of_each_subject_is_told_or_that_there_is_none(site: Site) -> None:
    door = await site.door("a")
    wake, log = site.subjects.wake("q", RUN), site.subjects.log(RUN)
    await door.publish(wake, b"one", fence=0)
    last = await door.publish(wake, b"two")

    nothing, found = await door.last_of_each((log, wake))

    assert nothing is None
    assert found is not None
    assert (found.sequence, found.data, found.fence) == (last, b"two", None)


async def test_latest_finds_the_last_message_of_each_subject_that_a_filter_selects(site: Site) -> None:
    door = await site.door("a")
    of = site.subjects
    await door.publish(of.start("first", RUN), b"start")
    await door.publish(of.log(RUN), b"one", fence=0)
    await door.publish(of.start("second", RUN), b"start too")
    fence = (await door.read(of.log(RUN), after=0, limit=1))[0].sequence
    end = await door.publish(of.log(RUN), b"two", fence=fence)
    await door.publish(of.log("another"), b"of another run")

    found = await door.latest((of.log(RUN), of.start_any_queue(RUN), of.wake_any_queue(RUN)))

    assert [(one.subject, one.data) for one in found] == [
        (of.start("first", RUN), b"start"),
        (of.start("second", RUN), b"start too"),
        (of.log(RUN), b"two"),
    ]
    assert (found[-1].sequence, found[-1].fence) == (end, fence)
    assert await door.latest((of.log("nobody"),)) == []


async def test_the_newest_of_many_subjects_come_first_and_are_no_more_than_asked_for(site: Site) -> None:
    door = await site.door("a")
    of = site.subjects
    for number in range(5):
        await door.publish(of.start("q", f"run-{number}"), b"start")
        for _ in range(20):
            await door.publish(of.wake("q", f"run-{number}"), b"of another kind")

    three = await door.newest(of.every_start(), limit=3)
    all_of_them = await door.newest(of.every_start(), limit=10)

    assert [one.subject for one in three] == [of.start("q", f"run-{number}") for number in (4, 3, 2)]
    assert [one.subject for one in all_of_them] == [of.start("q", f"run-{number}") for number in (4, 3, 2, 1, 0)]


async def test_a_purge_below_a_sequence_keeps_the_rest(site: Site) -> None:
    door = await site.door("a")
    wake = site.subjects.wake("q", RUN)
    sequences = [await door.publish(wake, b"%d" % number) for number in range(4)]

    await door.purge(wake, below=sequences[2])

    assert [one.sequence for one in await door.read(wake, after=0, limit=10)] == sequences[2:]
    assert await door.count(wake) == 2


async def test_a_purge_of_a_filter_removes_all_its_subjects_and_no_other(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    await door.publish(log, b"one")
    for timer in ("1", "2"):
        await door.schedule(
            site.subjects.timer(RUN, timer),
            b"",
            target=site.subjects.wake("q", RUN),
            due_ms=door.clock.now_ms() + 3_600_000,
        )

    await door.purge(site.subjects.timers(RUN))

    assert await door.subjects(site.subjects.timers(RUN), limit=10) == []
    assert await door.count(log) == 1


async def test_one_message_is_removed_and_removing_it_again_is_harmless(site: Site) -> None:
    door = await site.door("a")
    wake = site.subjects.wake("q", RUN)
    sequences = [await door.publish(wake, b"%d" % number) for number in range(3)]

    for _ in range(2):
        await door.remove(wake, sequences[1])

    assert [one.sequence for one in await door.read(wake, after=0, limit=10)] == [sequences[0], sequences[2]]


async def test_subjects_lists_no_more_than_its_limit(site: Site) -> None:
    door = await site.door("a")
    expected = {site.subjects.start("q", f"run-{number}") for number in range(5)}
    for subject in expected:
        await door.publish(subject, b"")

    found = await door.subjects(site.subjects.starts_of_queue("q"), limit=3)

    assert len(set(found)) == 3
    assert expected.issuperset(found)


async def test_a_tombstone_replaces_the_journal_and_keeps_the_id_taken(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    first = await door.publish(log, b"one", fence=0)
    second = await door.publish(log, b"two", fence=first)

    await door.entomb(log, b"tombstone", fence=second, ttl_s=60)

    assert [one.data for one in await door.read(log, after=0, limit=10)] == [b"tombstone"]
    with pytest.raises(FencedError):
        await door.publish(log, b"again", fence=0)


async def test_a_stale_fence_does_not_entomb(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    first = await door.publish(log, b"one", fence=0)
    await door.publish(log, b"two", fence=first)

    with pytest.raises(FencedError):
        await door.entomb(log, b"tombstone", fence=first, ttl_s=60)

    assert await door.count(log) == 2


async def test_a_tombstone_may_stand_where_nothing_was(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)

    await door.entomb(log, b"tombstone", fence=0, ttl_s=60)

    with pytest.raises(FencedError):
        await door.entomb(log, b"another", fence=0, ttl_s=60)
    assert [one.data for one in await door.read(log, after=0, limit=10)] == [b"tombstone"]


async def test_a_tombstone_may_be_fenced_on_what_it_stands_beside(site: Site) -> None:
    door = await site.door("a")
    start, tombstone = site.subjects.start("default", RUN), site.subjects.start(RETIRED, RUN)
    every = site.subjects.start_any_queue(RUN)
    first = await door.publish(start, b"start", fence=0, fence_subject=every)

    with pytest.raises(FencedError):
        await door.entomb(tombstone, b"gone", fence=first + 1, fence_subject=every, ttl_s=60)
    second = await door.entomb(tombstone, b"gone", fence=first, fence_subject=every, ttl_s=60)
    with pytest.raises(FencedError):
        await door.entomb(tombstone, b"gone", fence=first, fence_subject=every, ttl_s=60)

    stored = [await door.last(one) for one in (start, tombstone)]
    assert [(one.sequence, one.data) for one in stored if one is not None] == [(first, b"start"), (second, b"gone")]


async def test_a_tombstone_goes_when_its_time_has_passed(site: Site) -> None:
    door = await site.door("a")
    log = site.subjects.log(RUN)
    first = await door.publish(log, b"one", fence=0)
    await door.entomb(log, b"tombstone", fence=first, ttl_s=1)

    async def gone() -> int:
        while True:
            try:
                return await door.publish(log, b"again", fence=0)
            except FencedError:
                continue

    assert await site.result(gone()) > first
