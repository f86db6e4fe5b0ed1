"""A history whose records can't follow each other is one that nobody can believe; it takes no other run with it."""

from __future__ import annotations

import json
from functools import partial
from typing import cast

import msgspec
import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import RefusedError, Run, WorkflowContext, step, workflow
from relight.actors.letters import Sight
from relight.cli.choosing import Chosen, Filters, chosen, every_run
from relight.cli.difference import Entry, compared
from relight.cli.listing import newest, sights
from relight.cli.sampling import histories, sampled
from relight.cli.sighting import Sighting, summary
from relight.cli.timeline import Timeline, document_of
from relight.sdk._history import History
from relight.sdk._run import StoredRecord
from relight.subjects import records as r
from relight.subjects.codec import decode_turn, encode
from relight.subjects.messages import TimerDue
from relight.subjects.turn import Turn, hash_of

_FAILURE = r.Failure("builtins.ValueError", "no")
_HOSTILE: list[r.Record] = [
    r.StepStarted("never#1", 1),
    r.StepHeartbeat("never#1", msgspec.Raw(b"1")),
    r.StepAttemptFailed("never#1", 1, _FAILURE, 0),
    r.StepRerun("never#1"),
]
out_of_place = pytest.mark.parametrize("hostile", _HOSTILE, ids=[type(one).__name__ for one in _HOSTILE])


@step
async def one() -> None: ...


@workflow
async def hears(ctx: WorkflowContext) -> None:
    await one()
    await ctx.wait_for_signal("go", type=str)


async def hearing(site: WorkersInMemory, *ids: str) -> list[Run[None]]:
    """Runs that wait, and that no worker has in its memory."""
    worker = await site.add(hears)
    runs = [await site.result(site.client.start(hears, id=id)) for id in ids]
    for id in ids:
        await site.until(partial(waits, site, id))
    worker.kill()
    return runs


def waits(site: WorkersInMemory, run: str) -> bool:
    return bool(site.records(run, r.SignalAwaited))


def append(site: WorkersInMemory, run: str, *records: r.Record, at_ms: int | None = None) -> None:
    log = site.client.subjects.log(run)
    last = site.server.stream.last(log)
    assert last is not None
    turn = decode_turn(last.data)
    assert isinstance(turn, Turn)
    following = msgspec.structs.replace(
        turn,
        number=turn.number + 1,
        append="somebody.1",
        previous=hash_of(last.data),
        records=records,
        at_ms=turn.at_ms if at_ms is None else at_ms,
    )
    site.server.stream.publish(log, encode(following), fence=None, fence_subject=None)


@out_of_place
async def test_its_run_is_parked_as_corrupt(site: WorkersInMemory, hostile: r.Record) -> None:
    (run,) = await hearing(site, "run")
    append(site, "run", hostile)
    site.abandon("run", "nobody can believe its history: that a worker said so in it is what is tested")

    wake = encode(TimerDue(timer=0, due_ms=0))
    site.server.stream.publish(site.client.subjects.wake("default", "run"), wake, fence=None, fence_subject=None)
    await site.add(hears)
    await site.until(lambda: isinstance(site.turns("run")[-1].records[-1], r.Parked))

    described = await site.result(run.describe())
    assert described.parked == "corrupt"
    assert "'never#1'" in (described.last_error or "")


@out_of_place
async def test_it_is_listed_and_decided_about_with_the_others(site: WorkersInMemory, hostile: r.Record) -> None:
    await hearing(site, "a", "b")
    append(site, "a", hostile)
    site.abandon("a", "nobody can believe its history")

    listed = (await newest(site.client, limit=10)).runs
    seen = {one.run: sight async for one, sight in sights(site.client, listed)}
    found = [await chosen(site.client, start, Filters(workflow="hears"), b"") for start in await every_run(site.client)]

    assert isinstance(seen["a"], Sight)
    assert "'never#1'" in seen["a"].problem
    assert [isinstance(one, Chosen) for one in found] == [True, True]


@out_of_place
async def test_it_is_not_forked(site: WorkersInMemory, hostile: r.Record) -> None:
    (run,) = await hearing(site, "run")
    append(site, "run", hostile, r.StepScheduled("two#1", "digest"), r.StepCompleted("two#1"))
    site.abandon("run", "nobody can believe its history")

    with pytest.raises(RefusedError, match=r"corrupt: .*'never#1'"):
        await site.result(run.fork(after="two#1"))


@pytest.mark.parametrize("at_ms", [-(10**15), -(2**53), 10**15, 2**53], ids=["early", "first", "late", "last"])
async def test_a_time_that_there_is_not_can_be_looked_at(site: WorkersInMemory, at_ms: int) -> None:
    (run,) = await hearing(site, "run")
    append(site, "run", r.TimerArmed(9, at_ms), r.DetailsSet(msgspec.Raw(b"1")), r.Paused(), at_ms=at_ms)

    (sight,) = [sight async for _, sight in sights(site.client, (await newest(site.client, limit=10)).runs)]
    replayed = [one async for one in histories(site.client, await sampled(site.client, [hears], 10))]
    rows = [Timeline().row(one.at, "somebody", cast("StoredRecord", one).data) async for one in run.history()]

    assert isinstance(sight, Sight)
    assert [type(one) for one in replayed] == [History]
    summary(sight, now_ms=site.server.clock.now_ms())
    seen = Sighting(sight, {}, now_ms=site.server.clock.now_ms())
    assert seen.document()["status"] == "paused"
    assert seen.pairs()
    assert len(rows) == len(site.records("run"))


@pytest.mark.parametrize("data", [b"9" * 5_000, b"-1e999", b'"\xff"'], ids=["long", "large", "no UTF-8"])
async def test_a_value_that_python_does_not_read_can_be_looked_at(site: WorkersInMemory, data: bytes) -> None:
    (run,) = await hearing(site, "run")
    append(site, "run", r.SignalReceived("go", msgspec.Raw(data)), r.Suspended(9, "answer", msgspec.Raw(data)))

    (sight,) = [sight async for _, sight in sights(site.client, (await newest(site.client, limit=10)).runs)]
    records = [cast("StoredRecord", one) async for one in run.history()]
    rows = [Timeline().row(one.at, one.worker, one.data) for one in records]
    documents = [document_of(one.sequence, one.at, one.worker, one.epoch, one.data) for one in records]
    parted = compared([Entry(1, 1, records[-1].data)], [], names=("left", "right"))

    assert isinstance(sight, Sight)
    seen = Sighting(sight, {}, now_ms=site.server.clock.now_ms())
    assert seen.pairs()
    for document in (seen.document(), *documents):
        json.loads(json.dumps(document), parse_constant=pytest.fail)
    assert len(rows) == len(site.records("run"))
    assert parted.parting is not None
