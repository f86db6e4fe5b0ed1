"""What only a later version can read is left where it is: nothing is skipped, appended behind, or called damage."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Relight, RunTerminated, WorkflowContext, workflow
from relight.errors import ProtocolError
from relight.subjects import records as r
from relight.subjects.codec import decode_start, decode_turn, encode
from relight.subjects.messages import Start
from relight.subjects.turn import VERSION, Turn, hash_of

LATER = VERSION + 1


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("go", type=str)


async def later(client: Relight, run: str) -> bytes:
    """Whole, and as this version would write the next turn, but for `v`."""
    last = await client.door.last(client.subjects.log(run))
    assert last is not None
    turn = decode_turn(last.data)
    assert isinstance(turn, Turn)
    return encode(Turn(LATER, turn.number + 1, "later.1", "later", 2, 1, turn.at_ms, "", (r.Paused(),)))


def fields_added(last: bytes) -> dict[str, object]:
    """The turn behind this one, with a field more, and one in its record."""
    turn = json.loads(last)
    changed = {"number": turn["number"] + 1, "append": "later.1", "previous": hash_of(last), "added": 7}
    return {**turn, **changed, "records": [{"kind": "Claimed", "cause": r.RESUMED, "added": [8]}]}


async def test_a_journal_of_a_later_version_is_given_back_unchanged(site: WorkersInMemory) -> None:
    await site.add(waits)
    run = await site.result(site.client.start(waits))
    await site.pass_time(60)
    log = site.client.subjects.log(run.id)
    stored = await site.result(later(site.client, run.id))
    sequence = await site.result(site.client.door.publish(log, stored))

    with capture_logs() as lines:
        await site.result(site.client.door.publish(site.client.subjects.wake("default", run.id), b'{"kind":"Retry"}'))
        await site.pass_time(120)

    last = await site.result(site.client.door.last(log))
    assert last is not None
    assert last.sequence == sequence
    site.abandon(run.id, "what wakes it, only the later version can read")
    assert "upgrade it" in next(one["error"] for one in lines if one["event"] == "delivery_postponed")


async def test_a_message_of_a_later_version_and_what_follows_it_wait_for_that(site: WorkersInMemory) -> None:
    await site.add(waits)
    run = await site.result(site.client.start(waits))
    await site.pass_time(60)
    mailbox = site.client.subjects.wake("default", run.id)

    with capture_logs() as lines:
        sequence = await site.result(site.client.door.publish(mailbox, b'{"kind":"Migrate","v":2}'))
        await site.result(run.signal("go", "on"))
        await site.pass_time(60)

    assert (await site.result(run.describe())).status == "waiting"
    assert [one["error"].endswith("upgrade it") for one in lines if one["event"] == "later_version_needed"] == [True]
    # What a later version would do with it, nobody knows here: it has consumed it.
    await site.result(site.client.door.purge(mailbox, below=sequence + 1))
    assert await site.result(run.result()) == "on"


async def test_what_came_before_a_message_of_a_later_version_does_not_wait_for_it(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(waits))
    await site.result(run.signal("go", "on"))
    await site.result(
        site.client.door.publish(site.client.subjects.wake("default", run.id), b'{"kind":"Migrate","v":2}')
    )

    await site.add(waits)

    assert await site.result(run.result()) == "on"


async def test_a_run_with_a_message_of_a_later_version_can_be_ended(site: WorkersInMemory) -> None:
    await site.add(waits)
    run = await site.result(site.client.start(waits))
    await site.pass_time(60)
    mailbox = site.client.subjects.wake("default", run.id)
    await site.result(site.client.door.publish(mailbox, b'{"kind":"Migrate","v":2}'))
    await site.result(run.signal("go", "on"))
    await site.pass_time(60)

    await site.result(run.terminate(reason="enough"))

    with pytest.raises(RunTerminated, match="enough"):
        await site.result(run.result())


async def test_a_turn_with_fields_that_this_version_does_not_know_is_read_and_stays_as_it_is(
    site: WorkersInMemory,
) -> None:
    await site.add(waits)
    run = await site.result(site.client.start(waits))
    await site.pass_time(60)
    log = site.client.subjects.log(run.id)
    last = await site.result(site.client.door.last(log))
    assert last is not None
    stored = json.dumps(fields_added(last.as_stored)).encode()
    sequence = await site.result(site.client.door.publish(log, stored))

    await site.result(run.signal("go", "on"))

    assert await site.result(run.result()) == "on"
    kept, following, *_ = await site.result(site.client.door.read(log, after=sequence - 1, limit=2))
    assert kept.data == stored
    assert json.loads(following.data)["previous"] == hash_of(stored)


async def test_a_message_of_an_unknown_kind_without_version_is_passed_over(site: WorkersInMemory) -> None:
    await site.add(waits)
    run = await site.result(site.client.start(waits))
    await site.pass_time(60)

    await site.result(site.client.door.publish(site.client.subjects.wake("default", run.id), b'{"kind":"Remark"}'))
    await site.result(run.signal("go", "on"))

    assert await site.result(run.result()) == "on"


def test_a_whole_start_or_turn_of_a_later_version_is_refused() -> None:
    start = encode(Start(LATER, r.RunStarted("waits", "default")))
    turn = encode(Turn(LATER, 1, "later.1", "later", 1, 1, 1, "", (r.Paused(),)))

    for decode, data in ((decode_start, start), (decode_turn, turn)):
        assert json.loads(data)["v"] == LATER
        with pytest.raises(ProtocolError, match=f"protocol version {LATER}; this version of Relight reads {VERSION}"):
            decode(data)
